#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# One JSON object for each run in this folder (of series.sh).
set -eu
figure() { awk -v name="$1" '$1 == name { print $2 }' "$2"; }

for out in *.out; do
    name=${out%.out}
    IFS=- read -r network method setting seed <<<"$name"
    epochs=$(figure epochs "$out")
    [ -n "$epochs" ] || continue
    first=$network-dense-first-$seed.out
    [ "$method-$setting" = dense-first ] || epochs=$((epochs + $(figure epochs "$first")))
    bytes_f32=1724320
    [ "$network" = lenet ] || bytes_f32=2599464
    if [ "$method" = dense ]; then
        bytes=$bytes_f32 accuracy=$(figure accuracy "$out") retrained=null
    else
        bytes=$(figure bytes.file "$out") retrained=$(figure accuracy.retrained "$out")
        accuracy=$(figure accuracy.file "$name.eval")
    fi
    printf '{"network": "%s", "method": "%s", "setting": "%s", "seed": %d, "epochs": %d, ' \
        "$network" "$method" "$setting" "$seed" "$epochs"
    printf '"bytes_f32": %d, "bytes_file": %d, "accuracy_dense": %s, ' "$bytes_f32" \
        "$bytes" "$(figure accuracy "$first")"
    printf '"accuracy_retrained": %s, "accuracy": %s}\n' "$retrained" "$accuracy"
done
