# ./dev lint [--fix] [--tidy]. Sourced by ./dev.

cxx_sources() { git ls-files --cached --others --exclude-standard -- '*.h' '*.cc' '*.cu' '*.cuh'; }

# Format and the rules of the tree; prints one line a problem.
lint_tree() {
  local verdict=0
  if command -v clang-format-14 > /dev/null; then
    if ! cxx_sources | xargs -r clang-format-14 --dry-run -Werror 2> build/format.log; then
      verdict=1
      grep 'clang-format' build/format.log | cut -d: -f1 | sort -u | sed 's/$/:1: not formatted as .clang-format says/'
      complain "./dev lint --fix formats"
    fi
  else
    say "      clang-format-14 is not installed: format not checked"
  fi
  python3 scripts/check_tree.py || verdict=1
  return $verdict
}

# clang-tidy over the sources whose path matches the pattern, all by default.
tidy() { # [PATTERN]
  local runner
  runner=$(command -v run-clang-tidy-14) || fail "there is no run-clang-tidy-14: install clang-tidy-14"
  mkdir -p build/tidy
  # Its own configuration: clang cannot read g++'s precompiled headers.
  cmake --preset release -B build/tidy "-DPINION_PYTHON=$python" -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON \
    > build/tidy/configure.log 2>&1 || { cat build/tidy/configure.log >&2; return 1; }
  local pattern=${1:-"$PWD/(pinion|tests|bench)/"}
  "$runner" -p build/tidy -quiet -j "$(parallel_jobs)" -extra-arg=-Wno-unknown-warning-option "$pattern" \
    > build/tidy/tidy.log 2>&1 && return 0
  grep -E '(error|warning): ' build/tidy/tidy.log | sort -u
  return 1
}

run_lint() {
  local fix=0 with_tidy=0 option verdict=0
  for option in "$@"; do
    case $option in
      --fix) fix=1 ;;
      --tidy) with_tidy=1 ;;
      *) fail_usage "./dev lint has no option '$option'" ;;
    esac
  done
  mkdir -p build
  stage_count $((2 + 2 * with_tidy))
  set_up_packages tests
  if [ $with_tidy = 1 ]; then set_up_python; fi
  stage "Format, include rules, docs"
  if [ $fix = 1 ]; then cxx_sources | xargs -r clang-format-14 -i; fi
  lint_tree || verdict=1
  if [ $with_tidy = 1 ]; then
    stage "clang-tidy"
    tidy || verdict=1
  fi
  finish_stages
  [ $verdict = 0 ] || fail "lint found problems"
}
