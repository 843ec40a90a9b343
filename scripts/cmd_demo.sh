# ./dev demo. Sourced by ./dev. Builds the program and hands over to scripts/demo.sh.

run_demo() {
  [ $# -le 1 ] || fail_usage "./dev demo takes at most a folder for its pictures"
  stage_count 4
  set_up_packages build
  set_up_python
  "$python" -c 'import PIL' 2> /dev/null ||
    fail "the demo's contact sheet needs pillow: $python -m pip install pillow"
  stage "Building Pinion"
  build release pinion || fail "the build failed"
  stage "Demo"
  local device=cpu
  if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then device=cuda:0; fi
  scripts/demo.sh build/release/pinion/cli/pinion "$python" "${1:-out/demo}" $device || fail "the demo failed"
  finish_stages
}
