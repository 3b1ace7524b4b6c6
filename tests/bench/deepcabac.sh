#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Build deepcabac, the rival of file_bench.py, from a clone of the codec's sources.
#
#   git clone https://github.com/fraunhoferhhi/nncodec
#   tests/bench/deepcabac.sh nncodec build/deepcabac
set -eu
[ $# -eq 2 ] || { sed -n '3,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
library=$1/extensions/deepCABAC/source/Lib
[ -d "$library" ] || { echo "$0: no $library" >&2; exit 1; }
stub=$(mktemp -d)
trap 'rm -rf "$stub"' EXIT
# Of its binding to Python, which the headers ask for, the encoder uses nothing.
mkdir "$stub/pybind11"
echo 'namespace pybind11 { namespace literals { } }' >"$stub/pybind11/pybind11.h"
"${CXX:-g++}" -O2 -w -I"$stub" -I"$library" "$(dirname "$0")/deepcabac.cpp" \
    "$library"/EncLib/*.cpp "$library"/CommonLib/*.cpp -o "$2"
