/* SPDX-License-Identifier: BSD-2-Clause */
/* What `msw compress` was asked for, and what becomes of each tensor. */
#ifndef MSW_TOOLS_COMPRESS_H
#define MSW_TOOLS_COMPRESS_H

#include "model.h"
#include "options.h"

struct compress_options {
    const char *input, *output;
    uint32_t block_rows, block_columns;
    double prune, unify;
    struct rules layers, except, kinds, groups;
    uint32_t threads;
    bool f16, force, quiet;
};

int compress_options_read(struct compress_options *o, int argc, char **argv,
                          struct problem *p);
void compress_options_free(struct compress_options *o);

/* Whether the tensor is cut into blocks, and how. */
bool compress_selects(msw_plan_options *plan, struct compress_options *o,
                      const struct item *item);

/* For the report. */
struct outcome {
    bool unified, kept;
    double error;      /* ||stored - given|| / ||given|| */
    uint64_t bytes;    /* of its payload */
    msw_unified_info info;
};

void compress_report(const struct model *m, const struct outcome *outcomes,
                     uint64_t written);

#endif /* MSW_TOOLS_COMPRESS_H */
