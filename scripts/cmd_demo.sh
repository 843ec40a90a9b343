# ./dev demo. Sourced by ./dev. Builds the program and hands over to scripts/demo.sh.

run_demo() {
  stage_count 4
  set_up_packages build
  set_up_python
  stage "Building Pinion"
  build release pinion || fail "the build failed"
  stage "Demo"
  scripts/demo.sh build/release/pinion/cli/pinion "$python" "$@" || fail "the demo failed"
  finish_stages
}
