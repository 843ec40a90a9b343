# Configure and compile. Sourced by ./dev.

# The torch files want up to 3 GiB each, so the memory bounds the jobs as well as the cores do.
parallel_jobs() {
  if [ -n "$jobs" ]; then echo "$jobs"; return; fi
  local cores memory_kib limit=1
  cores=$(nproc)
  memory_kib=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo 2> /dev/null)
  if [ "${memory_kib:-0}" -ge $((3 * 1048576)) ]; then limit=$((memory_kib / (3 * 1048576))); fi
  echo $((cores < limit ? cores : limit))
}

# The sanitizer and fuzz presets leave libtorch out (it is not instrumented), so they need no Python.
needs_torch() { case $1 in release | debug) true ;; *) false ;; esac; }

configure() { # PRESET
  local preset=$1 options=()
  local cache=build/$preset/CMakeCache.txt
  if needs_torch "$preset"; then options+=("-DPINION_PYTHON=$python"); fi
  if [ "$preset" = fuzz ]; then options+=("-DCMAKE_CXX_COMPILER=$(fuzz_compiler)"); fi
  if [ -f "build/$preset/build.ninja" ]; then
    if ! needs_torch "$preset" || grep -qFx "PINION_PYTHON:FILEPATH=$python" "$cache"; then return 0; fi
    rm -f "$cache"  # another Python: libtorch has moved
  fi
  check_cmake
  mkdir -p "build/$preset"
  local log=build/$preset/configure.log
  if ! cmake --preset "$preset" ${options[@]+"${options[@]}"} > "$log" 2>&1; then
    cat "$log" >&2
    rm -f "build/$preset/build.ninja"
    return 1
  fi
  say "      configured build/$preset ($(sed -n 's/^-- The CXX compiler identification is //p' "$log"))"
}

check_cmake() {
  local version
  version=$(cmake --version | sed -n '1s/.* //p')
  [ "$(printf '3.24\n%s\n' "$version" | sort -V | head -n 1)" = 3.24 ] ||
    fail "cmake $version is too old: Pinion needs 3.24 or newer (Debian 12 and Ubuntu 24.04 have it)"
}

# libFuzzer comes with clang; the newest installed one is taken.
fuzz_compiler() {
  local name
  for name in clang++-14 clang++-18 clang++; do
    if command -v "$name" > /dev/null; then echo "$name"; return; fi
  done
  fail "the fuzz preset needs clang: install clang-14 or newer"
}

# Configures and compiles; ninja shows how far it is.
build() { # PRESET [TARGET...]
  local preset=$1
  shift
  configure "$preset" || return 1
  local targets=()
  [ $# = 0 ] || targets=(--target "$@")
  NINJA_STATUS='      [%f/%t] ' cmake --build "build/$preset" -j "$(parallel_jobs)" ${targets[@]+"${targets[@]}"}
}
