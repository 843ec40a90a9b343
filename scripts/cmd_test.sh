# ./dev test [--quick]. Sourced by ./dev.
#
# Every part runs even if one before it failed; the last line counts them all.

passed=0
failed=0

count() { # ok|failed NAME
  if [ "$1" = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); stage_failed "$2"; fi
}

# Runs ctest in a build folder and adds its verdicts. Arguments after the preset go to ctest.
run_ctest() { # PRESET [ARGS...]
  local preset=$1 log=build/$1/ctest.log verdicts=$PWD/build/$1/ctest.xml total good status
  shift
  rm -f "$verdicts"
  ctest --test-dir "build/$preset" --output-on-failure -j "$(parallel_jobs)" --output-junit "$verdicts" "$@" 2>&1 |
    tee "$log" && status=0 || status=$?
  # ctest's own words change between its versions; its JUnit file does not.
  if [ ! -f "$verdicts" ]; then
    count failed "$preset tests: ctest did not finish"
    return
  fi
  total=$(grep -c '<testcase ' "$verdicts" || true)
  good=$(grep -c '<testcase .*status="run"' "$verdicts" || true)
  passed=$((passed + good))
  failed=$((failed + total - good))
  [ "$good" = "$total" ] || stage_failed "$((total - good)) of $total $preset tests (build/$preset/ctest.log)"
  [ "$status" = 0 ] || [ "$good" != "$total" ] || count failed "$preset tests: ctest ended with $status"
}

build_and_ctest() { # PRESET TARGETS [CTEST ARGS...]
  stage "Building $1"
  if build "$1" $2; then
    stage "Tests, $1"
    run_ctest "$1" "${@:3}"
  else
    stage "Tests, $1: not run, the build failed"
    count failed "$1 build"
  fi
}

fuzz_briefly() {
  local target
  stage "Building fuzz"
  if ! build fuzz fuzzers; then
    stage "Fuzz targets: not run, the build failed"
    count failed "fuzz build"
    return
  fi
  stage "Fuzz targets, 5 s each"
  for target in $(fuzz_targets); do
    if fuzz_one "$target" 5; then count ok; else count failed "$target"; fi
  done
}

run_test() {
  local quick=0
  case ${1:-} in
    '') ;;
    --quick) quick=1 ;;
    *) fail_usage "./dev test has no option '$1'" ;;
  esac
  source scripts/cmd_lint.sh
  source scripts/cmd_fuzz.sh
  mkdir -p build
  stage_count $((quick ? 5 : 11))
  set_up_packages tests
  set_up_python
  stage "Lint: format, include rules, docs"
  if lint_tree; then count ok; else count failed lint; fi
  build_and_ctest release all
  if [ $quick = 0 ]; then
    build_and_ctest asan-ubsan pinion_tests
    fuzz_briefly
    build_and_ctest tsan threaded_tests -L '^(transport|client|worker|faults)$'
  fi
  finish_stages
  if [ ${#stage_failures[@]} != 0 ]; then
    complain "what failed:"
    printf '  %s\n' "${stage_failures[@]}" >&2
  fi
  printf '%d passed, %d failed\n' $passed $failed
  [ $failed = 0 ]
}
