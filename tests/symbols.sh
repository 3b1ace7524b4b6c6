#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# symbols.sh MAP SHARED STATIC: the library exports what its map names, no more and no
# less; it never ends the process, prints or reads the environment; and all memory comes
# from alloc.c.
set -eu
export LC_ALL=C
map=$1 shared=$2 static=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

sed -n 's/^ *\(msw_[a-z0-9_]*\);.*/\1/p' "$map" >"$work/map"
sort -u "$work/map" >"$work/named"
if ! cmp -s "$work/map" "$work/named"; then
    echo "$map: not sorted, or a name twice"
    failed=1
fi
nm -D --defined-only "$shared" | awk '$2 ~ /[TDBRWVi]/ { sub(/@.*/, "", $3); print $3 }' |
    sort -u >"$work/exported"
if ! diff "$work/named" "$work/exported" >"$work/diff"; then
    echo "named in the map (<) or exported (>), but not both:"
    grep '^[<>]' "$work/diff"
    failed=1
fi

nm -D --undefined-only "$shared" | awk '{ sub(/@.*/, "", $2); print $2 }' >"$work/used"
for name in abort exit _exit _Exit quick_exit raise printf fprintf vprintf vfprintf puts \
    putchar fputs perror __printf_chk __fprintf_chk __vfprintf_chk getenv secure_getenv \
    setenv setlocale signal sigaction fork system rand srand strtok setjmp longjmp; do
    if grep -qx "$name" "$work/used"; then
        echo "$shared uses $name"
        failed=1
    fi
done

nm -A --undefined-only "$static" 2>/dev/null |
    grep -E ' (malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|free|strdup|strndup|asprintf|getline)$' |
    grep -v 'alloc\.c\.o:' >"$work/memory" || true
if [ -s "$work/memory" ]; then
    echo "memory that does not come from alloc.c:"
    cat "$work/memory"
    failed=1
fi
exit $failed
