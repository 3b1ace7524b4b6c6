# SPDX-License-Identifier: BSD-2-Clause
# The figures of examples/demo.sh as a table for people.
{
    value = $0
    sub(/^[^ ]* /, "", value)
    gsub(/"/, "", value)
    f[$1] = value
}
END {
    print ""
    print "LeNet 20-50-500 on Fashion-MNIST, seed " f["seed"]
    print ""
    print "test accuracy, %"
    row("dense", f["accuracy.dense"])
    row("after the hard projection", f["accuracy.projected"])
    row("after masked retraining", f["accuracy.retrained"])
    row("from the file", f["accuracy.file"],
        sprintf("(%d of %d predictions changed by saving)",
                f["predictions.changed_by_saving"], f["predictions.images"]))
    print ""
    print "bytes"
    size("weights as 32-bit floats", f["bytes.f32"])
    size("  the same, gzip -9", f["bytes.f32_gzip"])
    size("compressed weights as floats, gzip -9", f["bytes.pruned_gzip"])
    size("libmsw file", f["bytes.file"], sprintf(", %.2f bits per weight", f["bits_per_weight"]))
    print ""
    print "layer    weights   block   pruned  unified     free"
    layer("conv1")
    layer("conv2")
    layer("fc1")
    layer("fc2")
    print ""
    printf "microseconds per image, 1 thread (%s; libmsw %s)\n", f["machine.dense"], f["machine.isa"]
    print "                     dense    libmsw"
    speed(1)
    speed(64)
    print ""
    printf "All in %d s.\n", f["seconds"]
}
function row(name, number, note) {
    printf "  %-40s %8.2f  %s\n", name, number, note
}
function size(name, bytes, note) {
    printf "  %-40s %8d  1/%.1f%s\n", name, bytes, f["bytes.f32"] / bytes, note
}
function percent(share) {
    return sprintf("%7.1f %%", 100 * share)
}
function layer(name,    p) {
    p = "layers." name "."
    printf "%-6s %9d %7s%s%s%s\n", name, f[p "weights"], f[p "block"],
        percent(f[p "pruned"]), percent(f[p "unified"]), percent(f[p "free"])
}
function speed(batch,    dense, msw) {
    dense = f["us_per_image.dense.batch" batch]
    msw = f["us_per_image.msw.batch" batch]
    printf "  batch %-2d        %9.1f %9.1f  %.2f times as fast\n", batch, dense, msw, dense / msw
}
