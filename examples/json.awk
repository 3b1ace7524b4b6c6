# SPDX-License-Identifier: BSD-2-Clause
# Lines "a.b.c value", sorted by name, to one JSON object of objects.
{
    depth = split($1, path, ".")
    common = 0
    while (common < depth - 1 && common < open && path[common + 1] == opened[common + 1])
        common++
    text = NR == 1 ? "{" : ""
    for (; open > common; open--)
        text = text "\n" indent(open) "}"
    if (NR > 1)
        text = text ","
    for (; open < depth - 1; open++) {
        opened[open + 1] = path[open + 1]
        text = text "\n" indent(open + 1) "\"" path[open + 1] "\": {"
    }
    value = $0
    sub(/^[^ ]* /, "", value)
    printf "%s\n%s\"%s\": %s", text, indent(depth), path[depth], value
}
END {
    for (; open > 0; open--)
        printf "\n%s}", indent(open)
    print NR == 0 ? "{}" : "\n}"
}
function indent(levels) {
    return sprintf("%" 4 * levels "s", "")
}
