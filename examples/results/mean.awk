# SPDX-License-Identifier: BSD-2-Clause
# results.jsonl to one line for each method and setting, separated by tabs: method,
# setting, runs, epochs, bytes of f32, bytes of the file, accuracy, its standard
# deviation, loss of accuracy against dense, its standard deviation, times in
# microseconds dense and compressed (0: not taken). After lines.awk.
{
    id = value("method") "\t" value("setting")
    loss = value("accuracy_dense") - value("accuracy")
    runs[id]++
    epochs[id] = value("epochs")
    f32[id] = value("bytes_f32")
    bytes[id] += value("bytes_file")
    accuracy[id] += value("accuracy")
    accuracy2[id] += value("accuracy") ^ 2
    losses[id] += loss
    losses2[id] += loss ^ 2
    dense_time[id] += value("us_per_image_dense")
    time[id] += value("us_per_image")
}
END {
    for (id in runs)
        printf "%s\t%d\t%d\t%d\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%.1f\n", id, runs[id],
            epochs[id], f32[id], bytes[id] / runs[id], accuracy[id] / runs[id],
            deviation(accuracy[id], accuracy2[id], runs[id]), losses[id] / runs[id],
            deviation(losses[id], losses2[id], runs[id]), dense_time[id] / runs[id],
            time[id] / runs[id]
}
