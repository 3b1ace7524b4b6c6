# SPDX-License-Identifier: BSD-2-Clause
# For awk programs that read results.jsonl: the value of a key in this line, and the
# standard deviation of a sample from its sum and sum of squares.
function value(key,    text) {
    if (!match($0, "\"" key "\": *(\"[^\"]*\"|[^,}]*)"))
        return ""
    text = substr($0, RSTART, RLENGTH)
    sub(/^[^:]*: */, "", text)
    gsub(/"/, "", text)
    return text
}
function deviation(sum, squares, count) {
    if (count < 2)
        return 0
    squares = (squares - sum * sum / count) / (count - 1)
    return squares > 0 ? sqrt(squares) : 0
}
