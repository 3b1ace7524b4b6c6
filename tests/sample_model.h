/* SPDX-License-Identifier: BSD-2-Clause */
/* A small model for tests of files: every kind of weights, class, option and entry.
 * Nothing here asserts. */
#ifndef MSW_TESTS_SAMPLE_MODEL_H
#define MSW_TESTS_SAMPLE_MODEL_H

#include <msw/msw.h>

/* One tensor of the model. */
typedef struct sample_layer {
    const char *name;
    size_t shape[4];
    uint32_t rank, weights, reduction, block_rows, block_columns, groups;
    uint32_t permuted;   /* 1: rows, 2: columns */
    double prune, unify;
    uint32_t magnitudes, free_weights;
    uint32_t seed;       /* of the values */
    const msw_store_options *store; /* instead of the two above; NULL: plain */
    uint32_t levels;     /* of merged blocks: `prune` is then the price of a bit */
} sample_layer;

#define SAMPLE_PLAIN UINT32_MAX /* as weights: a plain tensor */

extern const sample_layer sample_layers[];
extern const size_t sample_layer_count;

/* Floats between -1 and 1, the same everywhere. */
void sample_values(float *out, size_t count, uint32_t seed);
/* The tensor of a layer, filled; the unified weights made from it. NULL on failure. */
msw_tensor *sample_tensor(msw_context *ctx, const sample_layer *layer);
msw_unified *sample_unified(msw_context *ctx, const sample_layer *layer);

/* Add one layer, or all of them and some metadata. */
msw_status sample_add(msw_writer *w, msw_context *ctx, const sample_layer *layer);
msw_status sample_add_all(msw_writer *w, msw_context *ctx);

/* The whole model as a file in memory, from malloc(); NULL on failure. */
uint8_t *sample_file(size_t *size, msw_context *ctx);
/* The same layers in the transport form, as these options for layer @p i have them. */
uint8_t *sample_transport_file(size_t *size, msw_context *ctx);
void sample_transport_options(msw_store_options *o, size_t i);
/* Only the first @p layers layers, and no metadata. */
uint8_t *sample_small_file(size_t *size, msw_context *ctx, size_t layers);

/* Add everything that a reader has: the same file once more. */
msw_status sample_copy(msw_writer *w, msw_reader *r);

/* Load every entry and all metadata: the first failure, or MSW_OK. */
msw_status sample_load_all(msw_reader *r);
/* Open a buffer and load everything. */
msw_status sample_open_and_load(msw_context *ctx, const void *data, size_t size);

#endif /* MSW_TESTS_SAMPLE_MODEL_H */
