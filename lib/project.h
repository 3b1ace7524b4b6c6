/* SPDX-License-Identifier: BSD-2-Clause */
/* The mathematics of pruning and unifying blocks: what it costs, and which blocks of
 * a layer to take. Plain functions of arrays: nothing here allocates or fails. */
#ifndef MSW_LIB_PROJECT_H
#define MSW_LIB_PROJECT_H

#include "internal.h"

/* Projection of one block; the mathematics is in msw/unified.h. */
typedef struct msw__block_costs {
    double prune;     /* a = sum h v^2 */
    double unify;     /* c = sum h (|v| - m)^2, 0 <= c <= a */
    double magnitude; /* m */
    double weight;    /* sum h */
} msw__block_costs;

/* Of the rows x columns weights of a block, with ld elements between its rows. @p h is
 * their importance, > 0, or NULL for none. The order of summation depends on the
 * block's size alone. */
msw__block_costs msw__block_cost(const float *v, size_t ld, const float *h, size_t ld_h,
                                 size_t rows, size_t columns);
/* Sums over a block. */
typedef struct msw__block_sum {
    double sum, weight; /* of h |v|, of h */
} msw__block_sum;

msw__block_sum msw__block_sum_of(const float *v, size_t ld, const float *h, size_t ld_h,
                                 size_t rows, size_t columns);
/* m alone. Of a block already unified it is its magnitude, exactly. */
float msw__block_magnitude(const float *v, size_t ld, const float *h, size_t ld_h,
                           size_t rows, size_t columns);

/* sign(v): -1 for v < 0, +1 otherwise and so for both zeros. */
static inline bool msw__negative(float v)
{
    return v < 0;
}

/* A block of a layer as the joint projection sees it: 12 bytes. It holds the roots of
 * the costs because costs as floats would vanish or overflow where weights do not;
 * their squares are exact in double. */
typedef struct msw__candidate {
    float prune, unify; /* sqrt(a), sqrt(c) */
    uint32_t block;
} msw__candidate;

msw__candidate msw__candidate_of(uint32_t block, const msw__block_costs *costs);

/* The exact joint projection: exactly @p prune of the @p count blocks PRUNED and
 * @p unify UNIFIED, the rest FREE, at the least sum of costs; ties to the lower block
 * numbers. The candidates carry the numbers 0 ... count - 1 in any order and are the
 * scratch: their contents are lost. prune + unify <= count <= UINT32_MAX. Serial; a few
 * selections among all candidates, then among ever fewer that are not settled. */
void msw__project_classes(uint8_t *classes, msw__candidate *candidates, size_t count,
                          size_t prune, size_t unify);

/* Shares of blocks: both >= 0 and finite, their sum at most 1. */
bool msw__shares_valid(double prune, double unify);
/* floor(share * blocks) of valid shares, taking 0.29 of 100 for 29 although the product
 * rounds to less; together at most @p blocks. */
void msw__shares_count(size_t *prune_count, size_t *unify_count, double prune,
                       double unify, size_t blocks);

/* What part of the blocks to prune and to unify, of the layer or of each of its block
 * rows. */
typedef struct msw__shares {
    double prune, unify;
    bool per_row;
} msw__shares;

/* The exact projection onto valid shares; candidates as for msw__project_classes(), in
 * order. */
void msw__project_shares(uint8_t *classes, msw__candidate *candidates, const msw_plan *plan,
                         const msw__shares *shares);

/* Importance as given by a host, used as max(h * scale, floor): mean 1. */
typedef struct msw__importance {
    const msw_tensor *h; /* NULL: none, everything counts the same */
    double scale;
} msw__importance;

#define MSW__IMPORTANCE_FLOOR 1e-3f

/* MSW_E_NUMERIC: not finite; MSW_E_INVAL: negative. All zero, or @p h NULL: none. */
msw_status msw__importance_of(msw__importance *out, const msw_tensor *h) MSW_NODISCARD;

static inline float msw__importance_at(float h, double scale)
{
    const float scaled = (float)((double)h * scale);

    return scaled > MSW__IMPORTANCE_FLOOR ? scaled : MSW__IMPORTANCE_FLOOR;
}

/* unified.c: msw_unified_from() with importance that may be normalised already (scale
 * 1). */
msw_status msw__unified_fit(msw_unified **out, msw_plan *plan, const msw_tensor *weights,
                            const msw__importance *importance,
                            const msw__shares *shares) MSW_NODISCARD;

/* unified.c: the candidates of finite weights, in order. */
msw_status msw__unified_rate(msw__candidate *candidates, const msw_plan *plan,
                             const msw_tensor *weights,
                             const msw__importance *importance) MSW_NODISCARD;
/* Finite weights projected onto given classes; @p levels: of their nodes (merge.h), or
 * NULL. */
msw_status msw__unified_take(msw_unified **out, msw_plan *plan, const msw_tensor *weights,
                             const msw__importance *importance, const uint8_t *classes,
                             const uint8_t *levels) MSW_NODISCARD;

/* Memory for work on a tensor: one entry per column of the plan, twice where there is
 * importance; one per unified block, used where some are merged. */
typedef struct msw__walk_memory {
    size_t *columns, *importance_columns;
    msw__block_sum *sums;
} msw__walk_memory;

/* unified_project.c: msw_unified_to_dense() and msw_unified_project_slot() of any
 * elements, finite or not. @p memory NULL: allocated. With memory they cannot fail: where
 * the host's parallel_for does, they go on without it. */
msw_status msw__unified_write(msw_tensor *out, const msw_unified *u,
                              const msw__walk_memory *memory) MSW_NODISCARD;
msw_status msw__unified_mask(msw_tensor *t, const msw_unified *u, msw_slot kind,
                             const msw__walk_memory *memory) MSW_NODISCARD;
/* Finite weights, in place, onto given classes: bit for bit what msw__unified_take() and
 * msw__unified_write() of them leave. Memory and failures as above. */
msw_status msw__project_onto(msw_tensor *weights, const msw_plan *plan,
                             const msw__importance *importance, const uint8_t *classes,
                             const msw__walk_memory *memory) MSW_NODISCARD;

#endif /* MSW_LIB_PROJECT_H */
