#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Build the fuzz targets with clang and run each for so many seconds (60).
#
#   tests/fuzz/run.sh [SECONDS [TARGET...]]
#
# What is found goes on in build/fuzz/TARGET and is used by the next run; a crashing input
# is left in build/fuzz/. The exit status is 0 when there is none.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- checkpoint container container_repaired foreign options packed roundtrip \
    transport wisdom
build=build/fuzz

if ! command -v clang >/dev/null; then
    echo "$0: clang is missing (Debian: clang), with its libFuzzer and sanitizers" >&2
    exit 1
fi
if [ ! -f "$build/build.ninja" ]; then
    CC=clang meson setup "$build" -Dfuzz=true -Dtests=enabled -Dexamples=disabled \
        -Dopenmp=disabled -Dblas=none -Dsimd=false -Db_sanitize=address,undefined -Db_lundef=false \
        -Dc_args=-fno-sanitize-recover=undefined
fi
# Freed memory is kept from reuse for a while only: the runs are short.
export ASAN_OPTIONS="${ASAN_OPTIONS:-quarantine_size_mb=16}"
status=0
for target; do
    if [ -z "$(ninja -C "$build" -t query "tests/fuzz/fuzz_$target" 2>/dev/null)" ]; then
        echo "$0: $build has no target $target" >&2
        [ "$target" != foreign ] ||
            echo "foreign needs what the program msw is built with (Debian: libjansson-dev" \
                "libzip-dev libmd-dev libpng-dev); remove $build after installing it" >&2
        status=1
        continue
    fi
    ninja -C "$build" "tests/fuzz/fuzz_$target"
    mkdir -p "$build/$target"
    "$build/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -max_len=4096 -timeout=60 \
        -rss_limit_mb=1024 -artifact_prefix="$build/crash-$target-" -print_final_stats=1 \
        "$build/$target" "tests/fuzz/corpus/${target%_repaired}" || status=1
done
exit $status
