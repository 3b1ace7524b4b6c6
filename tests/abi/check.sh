#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Compare the interface of a shared library with the recorded one (libabigail).
#
#   tests/abi/check.sh LIBMSW.SO            fails when something was removed or changed
#   tests/abi/check.sh --record LIBMSW.SO   record it
#
# Additions pass: a symbol more, or a field more at the end of a struct that has a size
# (libmsw.abignore). Needs a library with debugging information, for x86-64.
set -eu
directory=$(dirname "$0")
recorded=$directory/x86_64-linux-gnu.abi
ignored=$directory/libmsw.abignore

if [ "$1" = --record ]; then
    exec abidw --exported-interfaces-only --no-corpus-path --no-comp-dir-path \
        --no-elf-needed --no-show-locs --no-parameter-names --type-id-style hash \
        --out-file "$recorded" "$2"
fi
# Exit bits of abidiff: 1 and 2 errors, 4 changes, 8 changes that break programs.
report=$(abidiff --suppressions "$ignored" --exported-interfaces-only --no-added-syms \
    --no-show-locs "$recorded" "$1") && exit 0
status=$?
printf '%s\n' "$report"
[ "$status" -eq 4 ] || exit "$status"

# abidiff cannot let growth at the end pass and nothing else: read its report.
printf '%s\n' "$report" | awk '
    /^$/ || /summary: / || /some indirect sub-type change/ { next }
    /has sub-type changes:$/ || /in pointed to type / || /underlying type .*:$/ { next }
    /type size changed from [0-9]+ to [0-9]+ \(in bits\)$/ { old = $5; next }
    /[0-9]+ data member insertions?:$/ { next }
    /, at offset [0-9]+ \(in bits\)$/ && $(NF - 2) >= old { next }
    { print "not an addition: " $0; wrong = 1 }
    END { exit wrong }'
