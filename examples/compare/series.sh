#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# All runs of the comparison, then results.jsonl. Goes on where it was stopped.
#
#   PROGRAM=build/compare CLASSIFY=../libtorch/build/vgg-classify \
#   EVALUATE=../../build/demo/examples/fashion/fashion-evaluate ./series.sh
#
# DEVICE=cuda trains on a GPU, JOBS=16 so many at once.
set -eu
cd "$(dirname "$0")"
: "${PROGRAM:=build/compare}" "${WORK:=build/series}" "${DEVICE:=cpu}" "${JOBS:=1}"
: "${SEEDS:=1 2 3}" "${FOLDER:=/usr/share/datasets/fashion-mnist}"
PROGRAM=$(realpath "$PROGRAM")
mkdir -p "$WORK"
here=$PWD

# run NAME OPTION...: unless it has been done.
run() {
    local name=$1
    shift
    grep -q '^epochs' "$name.out" 2>/dev/null && return
    echo "$name" >&2
    "$PROGRAM" --folder "$FOLDER" --device "$DEVICE" --save "$name" "$@" \
        >"$name.out" 2>"$name.log" || tail -n 1 "$name.log" >&2
}
export -f run
export PROGRAM FOLDER DEVICE

blocks() { # CONV1 CONV FC1 FC2 CONV_NAME...
    printf -- '--blocks conv1=%s --blocks fc1=%s --blocks fc2=%s' "$1" "$3" "$4"
    local conv=$2
    shift 4
    printf -- ' --blocks %s='"$conv" "$@"
}

compressed() { # NETWORK SEED BYTES_F32 SIZE
    local network=$1 seed=$2 name
    local common="--load $1-dense-first-$2 --network $1 --seed $2 --bytes $(($3 / $4)) \
--admm-rate 0.04 --retraining-rate 0.04 --decay 1e-4 --admm 12 --retraining 8"
    local same choice single
    if [ "$network" = lenet ]; then
        same=$(blocks 4x5 1x4:.1 2x4:.1 1x4:.1 conv2)
        single=$(blocks 4x5 1x1:.1 1x1:.1 1x1:.1 conv2)
        choice=$(blocks 4x5 1x4:.1,2x4,4x4,1x8,2x2 2x4:.1,4x8,4x4,8x8,2x8 \
            1x4:.1,1x8,2x4 conv2)
    else
        same=$(blocks 1x9 1x8:.1 2x4:.1 1x4:.1 conv2 conv3 conv4)
        single=$(blocks 1x9 1x1:.1 1x1:.1 1x1:.1 conv2 conv3 conv4)
        choice=$(blocks 1x9 1x8:.1,1x4 2x4:.1,4x8,4x4,2x8 1x4:.1,1x8 conv2 conv3 conv4)
    fi
    name() { echo "$network-$1-$size-$seed"; }
    local size=$4
    echo "$(name budget) $common $choice"
    echo "$(name latent) $common $choice --method latent --admm 18 --retraining 2"
    echo "$(name joint) $common $same --fixed 1"
    echo "$(name first) $common $same --fixed 1 --method first"
    echo "$(name oneshot) $common $same --fixed 1 --method oneshot"
    echo "$(name prune) $common $same --fixed 1 --method oneshot --exclude unify"
    echo "$(name element) $common $single --fixed 1 --exclude unify"
    if [ "$network" = lenet ] && [ "$size" -le 20 ]; then
        echo "$(name unify) $common $(blocks 4x5 2x4:.1 4x8:.1 1x4:.1 conv2) --fixed 1" \
            "--method oneshot --exclude prune"
    fi
}

all() { xargs -P "$JOBS" -d '\n' -I{} bash -c 'run {}'; }

cd "$WORK"
for seed in $SEEDS; do
    echo "lenet-dense-first-$seed --seed $seed --epochs 10"
    echo "vgg-dense-first-$seed --network vgg --seed $seed --epochs 12"
done | all
for seed in $SEEDS; do
    echo "lenet-dense-more-$seed --load lenet-dense-first-$seed --seed $seed" \
        "--method dense --epochs 20 --rate 0.04"
    echo "vgg-dense-more-$seed --load vgg-dense-first-$seed --network vgg --seed $seed" \
        "--method dense --epochs 20 --rate 0.05"
    for size in 10 30 60 100; do
        compressed lenet "$seed" 1724320 $size
    done
    compressed lenet "$seed" 1724320 20 | grep unify
    for size in 40 80; do
        compressed vgg "$seed" 2599464 $size
    done
done | all

# From the file, on the CPU: accuracy of what was saved.
for file in *.msw; do
    name=${file%.msw}
    [ -s "$name.eval" ] && continue
    case $name in
    lenet*) "$EVALUATE" --file "$file" --dense lenet-dense-first-1.f32 --rounds 0 ;;
    *) "$CLASSIFY" "$name" ;;
    esac >"$name.eval"
done
"$here/results.sh" >"$here/results.jsonl"
