#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# check.sh [--tool MSW] MAP BASE_HEADER PAGE...: every exported symbol, status and option
# has its place in a page, and mandoc has no complaint.
set -eu
export LC_ALL=C
tool=
if [ "$1" = --tool ]; then
    tool=$2
    shift 2
fi
map=$1 header=$2
shift 2
failed=0

# missing WHAT WHERE...: the words on standard input that no page has as a macro's argument.
missing() {
    what=$1
    shift
    while read -r word; do
        if ! grep -Eqh -e "^\.[A-Z][a-z]( .*)? $word( |\$)" "$@"; then
            echo "$what $word is in no page of: $*"
            failed=1
        fi
    done
    return $failed
}

sed -n 's/^ *\(msw_[a-z0-9_]*\);.*/\1/p' "$map" | missing symbol "$@" || failed=1
sed -n 's/^ *X(\(E_[A-Z]*\),.*/MSW_\1/p' "$header" | missing status "$@" || failed=1
if [ -n "$tool" ]; then
    commands=$("$tool" --help | sed -n 's/^  \([a-z]*\) .*/\1/p')
    for command in $commands; do
        echo "$command"
        "$tool" "$command" --help | grep -oE -- '--[a-z0-9]+' | sed 's/^-\(-.*\)/\1/' | sort -u
    done | missing 'command or option' "$@" || failed=1
fi

if command -v mandoc >/dev/null; then
    # Together, for they refer to each other.
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cp "$@" "$work"
    (cd "$work" && mandoc -Tlint -- *) || failed=1
else
    echo "mandoc is not there: not linted"
fi
exit $failed
