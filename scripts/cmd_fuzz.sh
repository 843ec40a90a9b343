# ./dev fuzz [SECONDS] [TARGET]. Sourced by ./dev.

fuzz_targets() { find build/fuzz/fuzzers -maxdepth 1 -name '*_fuzz' -type f -perm -u+x -printf '%f\n' | sort; }

# Runs one target from its committed corpus; what it finds anew is kept in build/fuzz/corpus/TARGET.
fuzz_one() { # TARGET SECONDS
  local target=$1 seconds=$2 found=build/fuzz/corpus/$1 log=build/fuzz/$1.log
  mkdir -p "$found" build/fuzz/crashes
  if "build/fuzz/fuzzers/$target" "-max_total_time=$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    "-artifact_prefix=build/fuzz/crashes/$target-" "$found" "tests/fuzz/corpus/$target" > "$log" 2>&1; then
    say "      $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, no fault"
  else
    tail -n 40 "$log" >&2
    complain "$target found a fault: build/fuzz/crashes/, log in $log"
    return 1
  fi
}

run_fuzz() {
  local seconds=60 only='' target verdict=0 ran=0
  if [[ ${1:-} =~ ^[0-9]+$ ]]; then seconds=$1; shift; fi
  only=${1:-}
  stage_count 3
  set_up_packages tests
  stage "Building the fuzz targets"
  build fuzz fuzzers || fail "the build failed"
  stage "Fuzzing, $seconds s each"
  for target in $(fuzz_targets); do
    if [ -z "$only" ] || [ "$only" = "$target" ]; then
      ran=$((ran + 1))
      fuzz_one "$target" "$seconds" || verdict=1
    fi
  done
  [ $ran != 0 ] || fail_usage "there is no fuzz target '$only': $(fuzz_targets | tr '\n' ' ')"
  finish_stages
  return $verdict
}
