/* SPDX-License-Identifier: BSD-2-Clause */
/* Random weights in unified-block form, and the same matrix densely. */
#ifndef MSW_TEST_WEIGHTS_H
#define MSW_TEST_WEIGHTS_H

#include "internal.h"

typedef struct weights_spec {
    size_t rows, columns;
    uint32_t block_rows, block_columns;
    uint32_t pruned, unified; /* per cent of the blocks; the rest is free */
    bool permuted;            /* rows and columns */
    bool powers;              /* powers of two: products and their sums are exact */
    uint32_t seed;
} weights_spec;

typedef struct weights {
    msw_unified *u;
    float *dense; /* rows x columns, without the permutations: what Y = W X means */
    size_t rows, columns;
} weights;

uint32_t random_next(uint32_t *state);   /* state != 0 */
float random_float(uint32_t *state);     /* in [-1, 1) */
float random_power(uint32_t *state);     /* +- 2^-3 ... 2^3 */
uint32_t random_below(uint32_t *state, uint32_t limit);

/* Exits on failure: only for memory. */
void weights_make(weights *out, msw_context *ctx, const weights_spec *spec);
void weights_free(weights *w);

#endif /* MSW_TEST_WEIGHTS_H */
