#!/usr/bin/env bash
# Make a virtual environment with edgecnn, editable, and everything that its commands and tests use.
# usage: PYTHON=python3 tools/install.sh .venv
set -euo pipefail
venv=$1
python=${PYTHON:-python3}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }
if ! new_enough "$python"; then
  for candidate in python3.13 python3.12 python3.11 python3.10; do
    if command -v "$candidate" >/dev/null && new_enough "$candidate"; then python=$candidate; break; fi
  done
fi
if ! new_enough "$python"; then
  echo "error: Python 3.10 or newer is wanted, found $("$python" --version 2>&1 || echo none)" >&2
  echo "  install one and name it: make PYTHON=/path/to/python3" >&2
  exit 3
fi

# An environment of another Python, or a half-made one, is made anew.
if [ ! -x "$venv/bin/python" ] || ! new_enough "$venv/bin/python"; then rm -rf "$venv"; fi
echo "installing into $venv with $("$python" --version): about 6.5 GB, most of it torch's"
if command -v uv >/dev/null; then
  [ -d "$venv" ] || uv venv --quiet --python "$python" "$venv"
  uv pip install --python "$venv/bin/python" --constraint constraints.txt --editable '.[dev]'
else
  if [ ! -d "$venv" ] && ! "$python" -m venv "$venv"; then
    rm -rf "$venv"
    echo "error: $python cannot make virtual environments; on Debian and Ubuntu: sudo apt-get install python3-venv" >&2
    exit 3
  fi
  # An environment that uv made has no pip.
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip --upgrade >/dev/null
  "$venv/bin/python" -m pip install --progress-bar on --constraint constraints.txt --editable '.[dev]'
fi

# The stubs of TensorRT, for the type checker. Beside the packages they would pass for TensorRT itself.
stubs=(--no-deps --target "$venv/stubs" tensorrt-stubs==10.13.0.35.1)
rm -rf "$venv/stubs"
if command -v uv >/dev/null; then
  uv pip install --quiet --python "$venv/bin/python" "${stubs[@]}"
else
  "$venv/bin/python" -m pip install --quiet "${stubs[@]}"
fi

# opencv-python wants the system's GL; a machine without a screen often has none, and then the headless build serves.
if ! "$venv/bin/python" -c 'import cv2' 2>/dev/null; then
  version=$(sed -n 's/^opencv-python==\([^ ;]*\).*/\1/p' constraints.txt)
  echo "no libGL here: opencv-python-headless $version takes the place of opencv-python"
  if command -v uv >/dev/null; then
    uv pip uninstall --python "$venv/bin/python" opencv-python
    uv pip install --python "$venv/bin/python" --no-deps "opencv-python-headless==$version"
  else
    "$venv/bin/python" -m pip uninstall --yes opencv-python
    "$venv/bin/python" -m pip install --no-deps "opencv-python-headless==$version"
  fi
  "$venv/bin/python" -c 'import cv2'
fi
touch "$venv/.installed"
