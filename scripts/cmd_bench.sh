# ./dev bench [NAME] [-- ARGS]. Sourced by ./dev.

run_bench() {
  local name='' program ran=0
  case ${1:-} in '' | -*) ;; *) name=$1; shift ;; esac
  stage_count 4
  set_up_packages tests
  set_up_python
  stage "Building release"
  build release || fail "the build failed"
  stage "Benchmarks"
  while IFS= read -r program; do
    ran=$((ran + 1))
    say "      $program"
    "$program" "$@" || fail "$program failed"
  done < <(find build/release/bench -maxdepth 1 -type f -perm -u+x -name "*$name*" ! -name '*.so*' | sort)
  [ $ran != 0 ] || fail_usage "no benchmark's name contains '$name'"
  finish_stages
}
