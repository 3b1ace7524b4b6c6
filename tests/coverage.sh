#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Line and branch coverage of lib/ by the tests, with gcov.
#
#   tests/coverage.sh [FILE...]     of all of lib/, or with the lines and branches that
#                                   are missing in these, e.g. lib/reader.c
#
# Branches that only an exception of C++ could take are left out. BUILD says where
# (build/coverage).
set -eu
cd "$(dirname "$0")/.."
. tools/deps.sh
: "${BUILD:=build/coverage}"

need_packages gcc g++ meson ninja-build pkg-config libcmocka-dev libopenblas-dev zlib1g-dev \
    gcovr
[ -f "$BUILD/build.ninja" ] ||
    meson setup "$BUILD" -Db_coverage=true -Dbuildtype=debug -Doptimization=1 -Dtests=enabled \
        -Dexamples=disabled -Dtools=disabled
ninja -C "$BUILD"
find "$BUILD" -name '*.gcda' -delete
meson test -C "$BUILD" --no-rebuild --timeout-multiplier 8 --suite quick >"$BUILD/tests.log" ||
    { tail -n 30 "$BUILD/tests.log"; exit 1; }
if [ $# -eq 0 ]; then
    # The kernels' inline functions have branches that each use of them decides.
    gcovr --root . --filter lib/ --exclude lib/x86/ --exclude-throw-branches --branches \
        "$BUILD"
    for kind in "" --branches; do
        gcovr --root . --filter lib/ --exclude lib/x86/ --exclude-throw-branches $kind \
            "$BUILD" | sed -n "s/^TOTAL/TOTAL $kind/p"
    done
else
    for file; do
        gcovr --root . --filter "$file" --exclude-throw-branches "$BUILD" | grep "$file"
        gcovr --root . --filter "$file" --exclude-throw-branches --branches "$BUILD" |
            grep "$file"
    done
fi
