#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Build libmsw with its tests and run them. Installs what is missing when it can.
#
#   tests/run.sh                        all tests, in build/tests
#   tests/run.sh --suite quick          some of them
#   BUILD=build/asan tests/run.sh -Db_sanitize=address,undefined -Db_lundef=false
#
# Arguments -D... go to `meson setup`, all others to `meson test`. The last line is
# "N passed, N failed"; the exit status is 0 when nothing failed.
set -u
cd "$(dirname "$0")/.." || exit 1
. tools/deps.sh
: "${BUILD:=build/tests}"

give_up() {
    echo "$1" >&2
    echo "0 passed, 1 failed"
    exit 1
}

# The summary that meson leaves at the end of its log.
count_results() {
    awk '/^Ok:/ || /^Expected Fail:/ { passed += $NF }
         /^Fail:/ || /^Unexpected Pass:/ || /^Timeout:/ { failed += $NF }
         /^Skipped:/ { skipped += $NF }
         END { if (skipped) print skipped " skipped"
               print passed + 0 " passed, " failed + 0 " failed" }' "$1"
}

need_packages gcc g++ meson ninja-build pkg-config libcmocka-dev libopenblas-dev \
    zlib1g-dev libjansson-dev libmd-dev libpng-dev libzip-dev mandoc \
    python3-numpy || give_up "Packages are missing."

# shellcheck disable=SC2046 # words on purpose
setup_args=$(for arg; do case $arg in -D*) printf '%s ' "$arg" ;; esac; done)
for arg; do
    shift
    case $arg in -D*) ;; *) set -- "$@" "$arg" ;; esac
done

if [ ! -f "$BUILD/build.ninja" ]; then
    # shellcheck disable=SC2086
    meson setup "$BUILD" -Dtests=enabled $setup_args || give_up "Could not configure $BUILD."
fi
ninja -C "$BUILD" || give_up "Could not build $BUILD."
log=$BUILD/meson-logs/testlog.txt
rm -f "$log"
meson test -C "$BUILD" --no-rebuild --print-errorlogs --timeout-multiplier 4 "$@" </dev/null
status=$?
[ -f "$log" ] || give_up "meson ran no test."
count_results "$log"
exit $status
