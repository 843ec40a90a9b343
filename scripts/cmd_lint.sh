# ./dev lint [--fix] [--tidy]. Sourced by ./dev.

tracked_sources() { git ls-files --cached --others --exclude-standard -- '*.h' '*.cc' '*.cu' '*.cuh'; }

# Format and tree rules; prints one line a problem.
lint_tree() {
  local verdict=0
  if command -v clang-format-14 > /dev/null; then
    tracked_sources | xargs -r clang-format-14 --dry-run -Werror || verdict=1
    [ $verdict = 0 ] || complain "not formatted as .clang-format says: ./dev lint --fix mends it"
  else
    say "      clang-format-14 is not installed: format not checked"
  fi
  return $verdict
}

run_lint() {
  stage_count 2
  set_up_packages tests
  stage "Format, include rules, docs"
  lint_tree || fail "lint found problems"
}
