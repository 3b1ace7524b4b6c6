/* SPDX-License-Identifier: BSD-2-Clause */
/* A file that is written beside its place and put there when it is complete. */
#ifndef MSW_TOOLS_OUTPUT_H
#define MSW_TOOLS_OUTPUT_H

#include "tool.h"

#include <stdio.h>

struct output {
    const char *path;
    char *temporary; /* its name until then */
    FILE *file;
    bool force;
};

/* Without force a file that exists is a problem, now or when it turns up later. What is
 * not a regular file is never replaced. */
int output_open(struct output *o, const char *path, bool force, struct problem *p);
int output_write(struct output *o, const void *data, size_t size, struct problem *p);
/* Somebody else has replaced the temporary file by name. */
int output_reopen(struct output *o, struct problem *p);
/* To the disk, and in place. */
int output_commit(struct output *o, struct problem *p);
/* Open, written by the writer, committed, closed. */
int save_model(msw_writer *writer, const char *path, bool force, struct problem *p);
/* After a commit, or instead of it: nothing is left behind. */
void output_close(struct output *o);

#endif /* MSW_TOOLS_OUTPUT_H */
