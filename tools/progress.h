/* SPDX-License-Identifier: BSD-2-Clause */
/* What long work is doing, on the standard error: a bar on a terminal, else lines. */
#ifndef MSW_TOOLS_PROGRESS_H
#define MSW_TOOLS_PROGRESS_H

#include "tool.h"

struct progress {
    uint64_t done, total; /* bytes, or whatever the work is counted in */
    bool quiet, terminal, shown;
};

void progress_start(struct progress *g, uint64_t total, bool quiet);
/* Work of this size on something of this name is done. */
void progress_step(struct progress *g, uint64_t size, const char *name);
/* Takes the bar away. */
void progress_end(struct progress *g);

#endif /* MSW_TOOLS_PROGRESS_H */
