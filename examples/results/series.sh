#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Accuracy against size: every line of settings.txt for each seed, one JSON object per
# run, appended to results.jsonl. Goes on where it stopped, so that a series of hours
# can be made in parts.
#
#   examples/results/series.sh            train, compress, save, classify from the file
#   examples/results/series.sh --times    then, on a quiet machine: time all files
#   examples/results/report.sh            table and picture
#
# All of it anew, elsewhere:
#   RESULTS=/tmp/new.jsonl WORK=/tmp/new examples/results/series.sh
set -eu
cd "$(dirname "$0")/../.."
. tools/deps.sh
: "${RESULTS:=examples/results/results.jsonl}" "${SETTINGS:=examples/results/settings.txt}"
: "${WORK:=build/results}" "${SEEDS:=1 2 3}" "${BUILD:=build/demo}"

need_packages gcc meson ninja-build pkg-config libopenblas-dev zlib1g-dev \
    dataset-fashion-mnist
if [ ! -f "$BUILD/build.ninja" ]; then
    meson setup "$BUILD" --buildtype=release -Dexamples=enabled -Dtests=disabled \
        -Ddoc=disabled
fi
ninja -C "$BUILD" --quiet
programs=$BUILD/examples/fashion
# Both make OpenBLAS slower than it is.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export OMP_WAIT_POLICY=passive # waiting threads leave a busy machine to others

version=$(sed -n "s/.*version: '\([0-9.]*\)'.*/\1/p" meson.build | head -n 1)
machine=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
mkdir -p "$WORK"
touch "$RESULTS"

# Value of "name value" in a file of figures.
figure() {
    awk -v name="$1" '$1 == name { sub(/^[^ ]* /, ""); print }' "$2"
}

# figures_of NAME COMMAND...: what the command printed, complete or not there.
figures_of() {
    figures=$WORK/$1.figures
    shift
    [ -f "$figures" ] || { "$@" >"$figures.part" && mv "$figures.part" "$figures"; }
}

train() {
    "$programs/fashion-train" --save "$WORK/$name.f32" "$@"
}

compress() {
    "$programs/fashion-compress" --seed "$seed" --load "$WORK/$from.f32" \
        --save "$WORK/$name.msw" --save-dense "$WORK/$name.f32" "$@" &&
        "$programs/fashion-evaluate" --file "$WORK/$name.msw" --dense "$WORK/$name.f32" \
            --rounds 0
}

has_result() {
    grep -q "\"method\": \"$method\", \"setting\": \"$setting\", \"seed\": $seed," "$RESULTS"
}

# The number, or null.
number() {
    figure "$1" "$figures" | grep . || echo null
}

# One line; the times are null until the last pass.
add_result() {
    file=$WORK/$name.f32 accuracy=$(number accuracy.dense)
    if [ "$method" != dense ]; then
        file=$WORK/$name.msw accuracy=$(number accuracy.file)
    fi
    # shellcheck disable=SC2086 # words on purpose
    epochs=$(cat $history "$figures" | awk '/^epochs/ { sum += $2 } END { print sum }')
    printf '{"network": "lenet-20-50-500", "method": "%s", "setting": "%s", "seed": %d, ' \
        "$method" "$setting" "$seed"
    printf '"epochs": %d, "bytes_f32": %d, "bytes_file": %d, ' "$epochs" \
        "$(wc -c <"$WORK/$name.f32")" "$(wc -c <"$file")"
    printf '"accuracy_dense": %s, "accuracy_projected": %s, "accuracy_retrained": %s, ' \
        "$dense_accuracy" "$(number accuracy.projected)" "$(number accuracy.retrained)"
    printf '"accuracy": %s, "us_per_image_dense": null, "us_per_image": null, ' "$accuracy"
    printf '"machine": "%s", "isa": null, "threads": 1, "version": "%s"}\n' \
        "$machine" "$version"
}

# run_setting METHOD SETTING OPTIONS...: unless it has been done.
run_setting() {
    method=$1 setting=$2
    shift 2
    name=$method-$setting-$seed from=$dense history=$WORK/$dense.figures
    has_result && return
    echo "seed $seed, $method, $setting" >&2
    case $method in
    dense) figures_of "$name" train --load "$WORK/$from.f32" --seed $((seed + 1000)) "$@" ;;
    coarse)
        from=joint-$setting-$seed
        history="$history $WORK/$from.figures"
        figures_of "$name" compress --admm-epochs 0 --retrain-epochs 0 "$@"
        ;;
    *) figures_of "$name" compress "$@" ;;
    esac
    add_result >>"$RESULTS"
}

run_seed() {
    dense=dense-first-$seed
    method=dense setting=first name=$dense history=
    figures_of "$name" train --seed "$seed"
    dense_accuracy=$(number accuracy.dense)
    has_result || add_result >>"$RESULTS"
    while read -r words; do
        # shellcheck disable=SC2086 # words on purpose
        case $words in
        '#'* | '') ;;
        *) run_setting $words </dev/null ;;
        esac
    done <"$SETTINGS"
}

# replace KEY VALUE: in $line.
replace() {
    line=$(echo "$line" | sed "s|\(\"$1\": \)[^,}]*|\1$2|")
}

# Replaces the nulls, or the times of another pass, in one line of results.
add_times() {
    name=$(echo "$line" | sed 's/.*"method": "\([^"]*\)", "setting": "\([^"]*\)", "seed": \([0-9]*\),.*/\1-\2-\3/')
    if [ -f "$WORK/$name.msw" ]; then
        echo "timing $name" >&2
        "$programs/fashion-evaluate" --file "$WORK/$name.msw" --dense "$WORK/$name.f32" \
            >"$WORK/times"
        replace us_per_image_dense "$(figure us_per_image.dense.batch64 "$WORK/times")"
        replace us_per_image "$(figure us_per_image.msw.batch64 "$WORK/times")"
        replace isa "$(figure machine.isa "$WORK/times")"
        replace machine "\"$machine\""
    fi
    echo "$line"
}

if [ "${1:-}" = --times ]; then
    while read -r line; do
        add_times </dev/null
    done <"$RESULTS" >"$RESULTS.part"
    mv "$RESULTS.part" "$RESULTS"
else
    for seed in $SEEDS; do
        run_seed
    done
fi
