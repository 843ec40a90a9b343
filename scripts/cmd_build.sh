# ./dev build [PRESET] [TARGET]. Sourced by ./dev.

run_build() {
  local preset=${1:-release}
  case $preset in
    release | debug | asan-ubsan | tsan | fuzz) ;;
    *) fail_usage "there is no preset '$preset': release, debug, asan-ubsan, tsan, fuzz" ;;
  esac
  if needs_torch "$preset"; then stage_count 3; else stage_count 2; fi
  set_up_packages tests
  if needs_torch "$preset"; then set_up_python; fi
  stage "Building $preset"
  build "$preset" "${@:2}" || fail "the build failed"
  end_stage
  say "done: build/$preset (${SECONDS} s)"
}
