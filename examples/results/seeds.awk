# SPDX-License-Identifier: BSD-2-Clause
# Mean and standard deviation over the seeds of examples/seeds.sh. After lines.awk.
function add(name, number) {
    if (!(name in count))
        order[++names] = name
    count[name]++
    sum[name] += number
    squares[name] += number ^ 2
}
value("method") != "dense" {
    add("accuracy, dense", value("accuracy_dense"))
    add("accuracy, hard projection", value("accuracy_projected"))
    add("accuracy, masked retraining", value("accuracy_retrained"))
    add("accuracy, from the file", value("accuracy"))
    add("loss in points", value("accuracy_dense") - value("accuracy"))
    add("bytes of the file", value("bytes_file"))
    add("f32 bytes / file bytes", value("bytes_f32") / value("bytes_file"))
}
value("method") == "dense" && value("setting") != "first" {
    add("accuracy, dense, " value("epochs") " epochs", value("accuracy"))
}
END {
    for (i = 1; i <= names; i++) {
        name = order[i]
        printf "%-32s %10.2f ± %.2f   (%d seeds)\n", name, sum[name] / count[name],
            deviation(sum[name], squares[name], count[name]), count[name]
    }
}
