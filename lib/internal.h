/* SPDX-License-Identifier: BSD-2-Clause */
/* Structures and small helpers that more than one file of lib/ uses. */
#ifndef MSW_LIB_INTERNAL_H
#define MSW_LIB_INTERNAL_H

#include <msw/msw.h>

#include "alloc.h"
#include "cpu.h"
#include "parallel.h"

#include <stdatomic.h>
#include <stdbool.h>

typedef _Atomic uint32_t msw__refs;

static inline void msw__refs_take(msw__refs *refs)
{
    atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);
}

/* True for the last reference: the caller destroys the object. */
static inline bool msw__refs_drop(msw__refs *refs)
{
    return atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

/* Options structs (options.c): the size rule of doc/abi.md.
 * An input struct: copy what the caller gave to dst, our version of it. */
msw_status msw__take_options(void *dst, size_t ours, size_t oldest,
                             const void *src) MSW_NODISCARD;
/* An output struct: copy what the caller has room for. */
msw_status msw__give_output(void *dst, const void *src, size_t ours,
                            size_t oldest) MSW_NODISCARD;

/* context.c */

struct msw_context {
    msw__refs refs;
    msw_context_options options; /* allocator filled in */
    _Atomic uint64_t memory;     /* bytes held now */
    uint32_t cpu;                /* MSW_CPU_* levels in use */
    uint32_t threads;            /* size of the OpenMP team */
    bool blas;                   /* the linked BLAS is usable */
};

/* One line to the host's log callback, if there is one. */
#ifdef __GNUC__
__attribute__((format(printf, 3, 4)))
#endif
void msw__log(const msw_context *ctx, int level, const char *format, ...);
uint64_t msw__clock_now(const msw_context *ctx); /* nanoseconds */

void *msw__default_alloc(size_t size, size_t align, void *user);
void msw__default_free(void *ptr, size_t size, void *user);

/* tensor.c */

struct msw_tensor {
    msw__refs refs;
    msw_context *ctx;
    float *data;
    size_t count;
    size_t shape[MSW_MAX_RANK];   /* unused entries 1, */
    size_t stride[MSW_MAX_RANK];  /* with stride 0 */
    uint32_t rank;
    bool owned;
};

bool msw__tensor_same_shape(const msw_tensor *a, const msw_tensor *b);
bool msw__tensor_contiguous(const msw_tensor *t);
bool msw__tensor_finite(const msw_tensor *t);
/* The runs of a tensor in the order of its dimensions: call for outer = 0 ...
 * count / shape[rank - 1] - 1. Returns the first element of the run; its elements are
 * stride[rank - 1] apart. */
float *msw__tensor_run(const msw_tensor *t, size_t outer);

/* plan.c */

struct msw_plan {
    msw__refs refs;
    msw_context *ctx;
    size_t shape[MSW_MAX_RANK];
    uint32_t rank, weights, reduction;
    uint32_t block_rows, block_columns;  /* R, C */
    uint32_t groups;
    size_t rows, columns;                /* of the GEMM view */
    size_t group_rows;                   /* rows / groups */
    size_t group_block_rows;             /* block rows in a group */
    size_t block_row_count, block_column_count, block_count;
    uint32_t *row_permutation, *column_permutation; /* NULL: none */
};

bool msw__plan_fits(const msw_plan *plan, const msw_tensor *t);

/* First view row of block row i, and how many rows it has. */
static inline size_t msw__plan_row(const msw_plan *p, size_t i)
{
    return i / p->group_block_rows * p->group_rows +
           i % p->group_block_rows * p->block_rows;
}

static inline size_t msw__plan_rows(const msw_plan *p, size_t i)
{
    const size_t left = p->group_rows - i % p->group_block_rows * p->block_rows;

    return left < p->block_rows ? left : p->block_rows;
}

/* How many columns block column j has; its first is j * block_columns. */
static inline size_t msw__plan_columns(const msw_plan *p, size_t j)
{
    const size_t left = p->columns - j * p->block_columns;

    return left < p->block_columns ? left : p->block_columns;
}

/* unified.c */

/* Blocks are stored in the plan's order; within a block, weights run row by row. For
 * each block row the *_start arrays say where its share begins, and one entry more
 * says where it all ends. */
struct msw_unified {
    msw__refs refs;
    msw_plan *plan;
    uint8_t *classes;          /* msw_class per block */
    uint8_t *levels;           /* of each block's node (merge.h); NULL: none are merged */
    uint32_t *leaders;         /* of each unified block's node the first one, both by the
                                  number of their magnitudes; NULL: none are merged */
    unsigned most_level;
    float *magnitudes;         /* one per unified block, finite, >= 0, and the same in all
                                  of a node */
    uint8_t *signs;            /* a bit per weight of unified blocks; bit i is bit i % 8
                                  of byte i / 8, 1: negative. The unused bits at the end
                                  are 0 */
    float *free_weights;       /* weights of free blocks */
    size_t *magnitude_start;   /* block_row_count + 1 entries each */
    size_t *sign_start;
    size_t *free_start;
};

/* A handle with its arrays allocated for these classes and levels (checked; levels NULL:
 * none are merged) and the starts filled in; magnitudes, signs and free weights are all
 * zero. */
msw_status msw__unified_alloc(msw_unified **out, msw_plan *plan, const uint8_t *classes,
                              const uint8_t *levels) MSW_NODISCARD;
/* The nodes of a handle that is being made and has classes and starts; nothing where none
 * has more than one block. MSW_E_INVAL: these are none. */
msw_status msw__unified_merge(msw_unified *u, const uint8_t *levels) MSW_NODISCARD;

static inline bool msw__sign_get(const uint8_t *signs, size_t i)
{
    return signs[i >> 3] >> (i & 7) & 1;
}

static inline void msw__sign_set(uint8_t *signs, size_t i) /* to negative */
{
    signs[i >> 3] = (uint8_t)(signs[i >> 3] | 1u << (i & 7));
}

#endif /* MSW_LIB_INTERNAL_H */
