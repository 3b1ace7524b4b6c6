/* SPDX-License-Identifier: BSD-2-Clause */
#define _POSIX_C_SOURCE 200809L
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR = 30, NAME = 40 };
#define CLEAR_LINE "\r\033[K"

void progress_start(struct progress *g, uint64_t total, bool quiet)
{
    memset(g, 0, sizeof *g);
    g->total = total;
    g->quiet = quiet;
    g->terminal = isatty(STDERR_FILENO);
}

void progress_step(struct progress *g, uint64_t size, const char *name)
{
    double share;
    int filled;

    g->done += size;
    if (g->quiet)
        return;
    share = g->total ? (double)g->done / (double)g->total : 1;
    if (!g->terminal) {
        fprintf(stderr, "%3.0f %% %s\n", 100 * share, name);
        return;
    }
    filled = (int)(share * BAR);
    g->shown = true;
    fprintf(stderr, CLEAR_LINE "[%.*s%*s] %3.0f %% %.*s", filled,
            "##############################", BAR - filled, "", 100 * share, NAME, name);
}

void progress_end(struct progress *g)
{
    if (g->shown)
        fputs(CLEAR_LINE, stderr);
    g->shown = false;
}
