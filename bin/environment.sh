# The virtual environment that bin/test and bin/demo run in, made where it is missing.
# Sourced by them, with `program` set to what they are called.
#
#   PYTHON     the interpreter to use   (the newest that nvoi supports)
#   NVOI_VENV  the virtual environment
# shellcheck shell=bash
set -euo pipefail

# What is imported is compiled then, and kept: the tests start nvoi a thousand times.
unset PYTHONDONTWRITEBYTECODE

say() { printf '\n== %s\n' "$*"; }

fail() {
  printf '%s: %s\n' "${program:?}" "$*" >&2
  exit 1
}

# enter_checkout DEFAULT: go to the checkout's root; its environment is NVOI_VENV, which counts
# from the folder that the command was started in, else DEFAULT in the root.
enter_checkout() {
  venv=${NVOI_VENV:-}
  case $venv in '' | /*) ;; *) venv=$PWD/$venv ;; esac
  cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
  root=$(pwd -P)
  venv=${venv:-$root/$1}
}

# install_packages PACKAGE...: quietly, with all output shown where it fails.
install_packages() {
  local -a as_root=()
  command -v apt-get >/dev/null || return 1
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || return 1
    as_root=(sudo -n)
  fi
  say "apt-get install $*"
  local log status=0
  log=$(mktemp)
  {
    "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=120 update -qq &&
      "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 \
        install -y -qq --no-install-recommends "$@"
  } </dev/null >"$log" 2>&1 || status=$?
  [ "$status" -eq 0 ] || cat -- "$log" >&2
  rm -f -- "$log"
  return "$status"
}

# is_supported PYTHON: it runs (a pyenv shim may not), and is new enough.
is_supported() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 </dev/null
}

# find_python: the newest interpreter that nvoi is tested with, else any that may do.
find_python() {
  local name
  for name in python3.13 python3.12 python3.11 python3 python; do
    if is_supported "$name"; then
      command -v "$name"
      return
    fi
  done
  return 1
}

ensure_python() {
  if [ -n "${PYTHON:-}" ]; then
    is_supported "$PYTHON" || fail "PYTHON=$PYTHON is no Python 3.11 or newer"
    python=$PYTHON
    return
  fi
  python=$(find_python) || {
    install_packages python3 python3-venv || true
    python=$(find_python)
  } || fail "needs Python 3.11 or newer: apt-get install python3, or set PYTHON"
}

# Debian ships venv and ensurepip in a package apart from Python's own.
ensure_venv_module() {
  "$python" -c 'import ensurepip, venv' 2>/dev/null && return
  local package
  package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  install_packages "$package" || install_packages python3-venv || true
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "needs Python's venv module: apt-get install $package"
}

# describe_venv EXTRA: what the environment is made from; another checkout, interpreter or
# setup makes a new one.
describe_venv() {
  printf '%s [%s]\n' "$root" "$1"
  "$python" -c 'import sys; print(sys.base_prefix, sys.version)'
  cksum setup.cfg pyproject.toml
}

# ensure_venv EXTRA: the environment has this checkout with the extra, and comes first in PATH.
ensure_venv() {
  local stamp=$venv/nvoi-installed wanted
  wanted=$(describe_venv "$1")
  if [ "$(cat -- "$stamp" 2>/dev/null)" != "$wanted" ] || ! is_supported "$venv/bin/python"; then
    make_venv "$1"
    printf '%s\n' "$wanted" >"$stamp"
  fi
  export PATH="$venv/bin:$PATH"
  export VIRTUAL_ENV=$venv
}

# find_bundled_pip: the program in the wheel that ensurepip would install.
find_bundled_pip() {
  "$python" - <<'PROGRAM'
import ensurepip, pathlib, sysconfig

bundled = pathlib.Path(ensurepip.__file__).with_name("_bundled")
# Distributions have it elsewhere, as CPython's configure lets them.
folders = [pathlib.Path(sysconfig.get_config_var("WHEEL_PKG_DIR") or bundled), bundled]
wheels = [wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl"))]
print(wheels[0] / "pip")
PROGRAM
}

make_venv() {
  if [ -e "$venv" ] && ! [ -e "$venv/pyvenv.cfg" ] && [ -n "$(ls -A -- "$venv")" ]; then
    fail "$venv is in the way: it is no virtual environment"
  fi
  ensure_venv_module
  say "pip install -e .[$1] into $venv"
  "$python" -m venv --clear --without-pip -- "$venv" || fail "$python cannot make $venv"
  # The pip that Python brings along takes half as long again: it installs a newer one, from within
  # its archive.
  local pip
  pip=$(find_bundled_pip) || fail "$python has no pip for $venv"
  "$venv/bin/python" "$pip" install -qq --no-compile --disable-pip-version-check pip </dev/null ||
    fail "pip could not be had (is PyPI reachable?)"
  "$venv/bin/python" -m pip install -qq --no-compile --disable-pip-version-check -e ".[$1]" \
    </dev/null || fail "pip could not install nvoi and its packages (is PyPI reachable?)"
}
