#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# snippets.sh DOCUMENT SOURCE_ROOT: each fenced block of C that a line <!-- FILE -->
# precedes stands in that file, but for its indentation.
set -eu
awk -v root="$2" '
    function bare(line) { sub(/^[ \t]+/, "", line); return line }
    /^<!-- .* -->$/ { file = $2; next }
    /^```c$/ && file != "" { taking = 1; text = ""; next }
    /^```$/ && taking {
        source = "\n"
        while ((got = (getline line < (root "/" file))) > 0)
            source = source bare(line) "\n"
        close(root "/" file)
        if (got < 0 || !index(source, "\n" text)) {
            print FILENAME ":" FNR ": not in " file ":\n" text
            failed = 1
        }
        count++; taking = 0; file = ""
    }
    taking { text = text bare($0) "\n" }
    END { print count + 0 " snippets"; exit failed || !count }
' "$1"
