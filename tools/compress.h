/* SPDX-License-Identifier: BSD-2-Clause */
/* What `msw compress` was asked for, and what becomes of each tensor. */
#ifndef MSW_TOOLS_COMPRESS_H
#define MSW_TOOLS_COMPRESS_H

#include "model.h"
#include "options.h"
#include "progress.h"

struct compress_options {
    const char *input, *output;
    uint32_t block_rows, block_columns;
    double prune, unify;
    struct rules layers, except, kinds, groups;
    uint64_t bytes;   /* of the file; 0: the shares above */
    double ratio;     /* of the input's tensors to the file; 0: the same */
    uint32_t levels;  /* up to which blocks may be merged */
    uint32_t threads;
    uint32_t bits;    /* of a magnitude or a free weight; 0: floats */
    bool shares, transport, f16, permute, force, quiet; /* shares: one of them was given */
};

int compress_options_read(struct compress_options *o, int argc, char **argv,
                          struct problem *p);
void compress_options_free(struct compress_options *o);

/* Whether the tensor is cut into blocks, and how. */
bool compress_selects(msw_plan_options *plan, struct compress_options *o,
                      const struct item *item);

/* What became of it, for the report. */
struct outcome {
    bool unified, kept;
    double error;      /* ||projected - given|| / ||given|| */
    double rounding;   /* what storing in fewer bits changes besides, in the same way */
    uint64_t bytes;    /* of its payload */
    msw_unified_info info;
};

struct job {
    struct compress_options options;
    struct problem *p;
    msw_context *ctx;
    struct model model;
    uint64_t input_bytes; /* of its tensors */
    msw_plan **orders;    /* of each item, NULL: none yet; NULL unless asked for */
    msw_budget *budget;   /* a layer for each selected tensor; NULL without a target */
    uint32_t layer;       /* the next of them */
    msw_writer *writer;
    struct outcome *outcomes;
    struct progress progress;
};

int compress_problem(struct job *j, msw_status status, const struct item *item);
int compress_plan(msw_plan **out, struct job *j, const struct item *item,
                  const msw_plan_options *how);
/* The plan with an order of rows and columns that suits the weights, if one was asked for,
 * takes the place of *plan. On failure *plan stays. */
int compress_order(msw_plan **plan, struct job *j, const struct item *item,
                   msw_tensor *weights);
void compress_orders_free(struct job *j);
/* How its values are stored. Gives the bits of one, before any coding. */
uint32_t compress_store(msw_store_options *out, const struct job *j,
                        const struct item *item, bool unified);
int compress_item(struct job *j, size_t index);
/* Classes for the target and all that is encoded with them, in job.writer. */
int compress_to_target(struct job *j);
/* Everything into a new writer. */
int compress_all(struct job *j);
void compress_report(const struct model *m, const struct outcome *outcomes,
                     uint64_t written);

#endif /* MSW_TOOLS_COMPRESS_H */
