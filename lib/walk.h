/* SPDX-License-Identifier: BSD-2-Clause */
/* Walk over the blocks of a tensor, in panels and in parallel. */
#ifndef MSW_LIB_WALK_H
#define MSW_LIB_WALK_H

#include "internal.h"
#include "project.h"

#include <string.h>

/* One block on the way. */
typedef struct msw__cell {
    const msw_unified *u;  /* NULL: a walk without */
    float *v;              /* its weights, ld elements between their rows */
    size_t ld;
    const float *h;        /* their importance, normalised; NULL: none */
    size_t ld_h;
    size_t rows, columns;
    size_t row, column;    /* place in the GEMM view */
    size_t block;
    msw_class label;       /* in u, or of the walk's classes */
    size_t magnitude, sign, free; /* where its shares of the arrays of u begin */
} msw__cell;

#define MSW__READ 1u  /* v has the tensor's elements */
#define MSW__WRITE 2u /* what visit left in v goes to the tensor */

typedef struct msw__walk {
    const msw_plan *plan;
    const msw_unified *u;              /* NULL: a plan without structure */
    const uint8_t *classes;            /* of a plan without structure; NULL: FREE */
    const msw_tensor *tensor;
    const msw__importance *importance; /* NULL: none */
    unsigned access;
    void (*visit)(const msw__cell *cell, void *arg);
    void *arg;
    size_t *columns; /* memory for one size_t per column of the plan; NULL: allocated */
    size_t *importance_columns; /* the same for the importance */
    bool serial;     /* on the caller's thread */
} msw__walk;

/* Visit every block once. Visits run in parallel, but those of blocks whose signs share
 * a byte run one after another: they may write their own bits. MSW_E_INVAL: a tensor
 * does not have the plan's shape. A serial walk with memory and tensors that fit cannot
 * fail. */
msw_status msw__walk_blocks(const msw__walk *walk) MSW_NODISCARD;

/* The weights of a block, row by row. */
static inline void msw__cell_copy(float *to, const msw__cell *cell)
{
    for (size_t r = 0; r < cell->rows; r++)
        memcpy(to + r * cell->columns, cell->v + r * cell->ld, cell->columns * sizeof *to);
}

/* Up to 64 signs from number @p at on, the first in the lowest bit, and back; storing
 * expects them to be 0 so far. No byte outside those of these signs is touched. */
static inline uint64_t msw__signs_load(const uint8_t *signs, size_t at, size_t count)
{
    const unsigned shift = at & 7;
    const size_t bytes = (shift + count + 7) >> 3;
    const uint8_t *from = signs + (at >> 3);
    uint64_t word = 0;

    for (size_t k = 0; k < bytes && k < 8; k++)
        word |= (uint64_t)from[k] << 8 * k;
    word >>= shift;
    if (bytes > 8)
        word |= (uint64_t)from[8] << (64 - shift);
    return count < 64 ? word & ((UINT64_C(1) << count) - 1) : word;
}

static inline void msw__signs_store(uint8_t *signs, size_t at, size_t count, uint64_t word)
{
    const unsigned shift = at & 7;
    const size_t bytes = (shift + count + 7) >> 3;
    uint8_t *to = signs + (at >> 3);

    to[0] = (uint8_t)(to[0] | word << shift);
    word >>= 8 - shift;
    for (size_t k = 1; k < bytes; k++, word >>= 8)
        to[k] = (uint8_t)(to[k] | word);
}

#endif /* MSW_LIB_WALK_H */
