#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The unit tests and the replays of the fuzz corpora under valgrind: memory and what is
# certainly leaked. Without OpenMP, whose threads keep memory to the end, and without a
# BLAS; where valgrind knows no AVX-512 (3.19 does not) the kernels are those for AVX2.
#
#   tests/valgrind.sh                 all
#   tests/valgrind.sh gemm conv       these
#
# Logs are in build/valgrind/log. The last line is "N passed, N failed".
set -eu
cd "$(dirname "$0")/.."
. tools/deps.sh
need_packages valgrind libcmocka-dev meson ninja-build pkg-config
build=build/valgrind
[ -f "$build/build.ninja" ] ||
    meson setup "$build" -Dtests=enabled -Dopenmp=disabled -Dblas=none -Dexamples=disabled \
        -Ddoc=disabled -Dbuildtype=debugoptimized
mkdir -p "$build/log"
ninja -C "$build" >"$build/log/build" 2>&1 || { cat "$build/log/build"; exit 1; }

# Under valgrind a program may print what it likes: the exit status counts.
passed=0 failed=0
check() {
    name=$1
    shift
    if valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
        --num-callers=20 "$@" >"$build/log/$name" 2>&1 </dev/null; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$name: failed, see $build/log/$name"
    fi
}

for program in "$build"/tests/test_* "$build"/tests/fuzz/replay_*; do
    name=${program##*/}
    [ -x "$program" ] && [ ! -d "$program" ] || continue
    [ $# -eq 0 ] || case " $* " in *" ${name#*_} "*) ;; *) continue ;; esac
    case $name in
    test_resume) ;; # is killed and starts programs
    replay_*) check "$name" "$program" "tests/fuzz/corpus/${name#replay_}" ;;
    *) check "$name" "$program" ;;
    esac
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
