/* SPDX-License-Identifier: BSD-2-Clause */
/* The definitions, written as naively as possible: what the library is held against. */
#ifndef MSW_TESTS_REF_H
#define MSW_TESTS_REF_H

#include <msw/msw.h>
#include <stdbool.h>

/* Random numbers, the same everywhere; *state is any number but 0. */
double ref_uniform(uint64_t *state);                  /* [0, 1) */
double ref_normal(uint64_t *state);
size_t ref_below(uint64_t *state, size_t n);          /* 0 ... n - 1 */

/* The costs and the magnitude of a block of n weights; h NULL: all 1. */
typedef struct ref_block {
    double prune, unify, magnitude;
} ref_block;

ref_block ref_costs(const float *v, const float *h, size_t n);
/* The least (weighted) squared distance from v to weights of one absolute value, over
 * all patterns of signs. n <= 16. */
double ref_unify_distance(const float *v, const float *h, size_t n);

/* The least sum of costs when prune of the blocks are pruned and unify are unified. By
 * trying every choice: count <= 12. */
double ref_joint_cost(const double *prune_costs, const double *unify_costs, size_t count,
                      size_t prune, size_t unify);
/* The same by dynamic programming, for up to REF_MOST blocks. */
#define REF_MOST 64
double ref_joint_cost_table(const double *prune_costs, const double *unify_costs,
                            size_t count, size_t prune, size_t unify);

/* Element (row, column) of a tensor's GEMM view, permutations included. */
float *ref_at(const msw_tensor *t, const msw_plan *plan, size_t row, size_t column);
/* The weights of a block, row by row; how many they are. */
size_t ref_gather(float *v, const msw_tensor *t, const msw_plan *plan, size_t block);

#endif /* MSW_TESTS_REF_H */
