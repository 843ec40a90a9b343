# What a bare machine needs: system packages and a Python environment that brings libtorch. Sourced by ./dev.

# Sets `packages` for `build` (what ./dev demo needs) or `tests` (clang tools as well).
list_packages() {
  local boost=libboost-dev clang=clang
  case ${ID:-}-${VERSION_ID:-} in
    debian-12) boost=libboost1.81-dev clang=clang-14 ;;
    ubuntu-24.04) clang=clang-18 ;;
  esac
  packages=(g++ cmake ninja-build ccache pkg-config git ca-certificates python3 python3-venv
    libssl-dev "$boost" libfmt-dev libspdlog-dev nlohmann-json3-dev libcli11-dev libzstd-dev libpng-dev
    libpcre2-dev libutf8proc-dev libx265-dev libde265-dev libgtest-dev libgmock-dev libbenchmark-dev)
  if [ "$1" = tests ]; then
    packages+=("$clang" "libclang-rt-${clang#clang-}-dev" clang-format-14 clang-tidy-14)
  fi
}

set_up_packages() { # build|tests
  stage "System packages"
  if [ $check_packages = 0 ]; then say "      not looked at (--no-packages)"; return; fi
  if ! command -v dpkg-query > /dev/null || [ ! -r /etc/os-release ]; then
    say "      not a Debian or Ubuntu system: install the libraries of cmake/PinionDependencies.cmake yourself"
    return
  fi
  local ID VERSION_ID packages missing=() package
  ID=$(. /etc/os-release && echo "${ID:-}")
  VERSION_ID=$(. /etc/os-release && echo "${VERSION_ID:-}")
  list_packages "$1"
  local installed
  installed=" $(dpkg-query -W -f '${db:Status-Status}/${Package} ' "${packages[@]}" 2> /dev/null || true)"
  for package in "${packages[@]}"; do
    [[ $installed == *" installed/$package "* ]] || missing+=("$package")
  done
  if [ ${#missing[@]} = 0 ]; then say "      all ${#packages[@]} are installed"; return; fi
  say "      missing: ${missing[*]}"
  local install="apt-get install -y --no-install-recommends ${missing[*]}"
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    if command -v sudo > /dev/null && { sudo -n true 2> /dev/null || [ -t 0 ]; }; then
      as_root=(sudo)
      say "      installing them with sudo"
    else
      complain "these packages are missing, and only root can install them. Run this, then ./dev again:"
      say "sudo apt-get update && sudo $install"
      exit 2
    fi
  fi
  ${as_root[@]+"${as_root[@]}"} apt-get update -q
  ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive $install
}

torch_version=2.13.0

# Sets `python` to an interpreter whose torch package is 2.11 or newer.
set_up_python() {
  stage "Python environment with libtorch"
  if [ -n "$python" ]; then
    local given=$python
    python=$(command -v "$given") || fail "--python: there is no program $given"
    local found
    found=$("$python" -c 'import importlib.metadata as m; print(m.version("torch"))' 2> /dev/null) ||
      fail "$python has no torch package: install torch 2.11 or newer into that environment, or leave --python out"
    [ "$(printf '2.11\n%s\n' "${found%%+*}" | sort -V | head -n 1)" = 2.11 ] ||
      fail "$python has torch $found, and Pinion needs 2.11 or newer"
    say "      torch $found of $python"
    return
  fi
  python=$PWD/.venv/bin/python
  if [ -f .venv/pinion-stamp ] && [ "$(cat .venv/pinion-stamp)" = "torch $torch_version, pillow" ]; then
    say "      torch $torch_version in .venv"
    return
  fi
  say "      making .venv and installing torch $torch_version with pip (once; up to 3 GB where pip picks the CUDA build)"
  command -v python3 > /dev/null || fail "there is no python3: install it (./dev setup lists the packages)"
  python3 -m venv .venv || fail "python3 -m venv failed: is python3-venv installed?"
  .venv/bin/pip install --disable-pip-version-check --progress-bar on "torch==$torch_version" numpy pillow ||
    fail "pip could not install torch $torch_version: see above, or use --python PATH"
  echo "torch $torch_version, pillow" > .venv/pinion-stamp
}
