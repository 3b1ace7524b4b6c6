/* SPDX-License-Identifier: BSD-2-Clause */
/* Weights with what surrounds them, on every layout, block size and kind of strides. The
 * functions assert. */
#ifndef MSW_TESTS_FIXTURE_H
#define MSW_TESTS_FIXTURE_H

#include "ref.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

typedef struct layout {
    uint32_t weights, reduction;
    size_t shape[4];
    uint32_t rank, block_rows, block_columns, groups;
    bool strided, permuted;
} layout;

extern const layout fixture_layouts[];

typedef struct fixture {
    msw_context *ctx;
    msw_plan *plan;
    msw_plan_info info;
    const layout *layout;
    uint64_t random;
} fixture;

fixture fixture_setup(const layout *l, const msw_context_options *options);
/* Everything made from the context must be gone by then. */
void fixture_teardown(fixture *f);
/* Once on each of fixture_layouts. */
void fixture_for_all(void (*check)(fixture *f));

/* A tensor over an array of its own. Strided ones have their dimensions the other way
 * round and gaps, which hold a canary. Free with fixture_free(). */
msw_tensor *fixture_tensor(fixture *f);
msw_tensor *fixture_random_tensor(fixture *f);
/* Of larger and smaller weights in different places. */
msw_tensor *fixture_rough_tensor(fixture *f);
msw_tensor *fixture_copy(fixture *f, const msw_tensor *from);
void fixture_free(msw_tensor *t);
/* Its strides; returns the size of its array. */
size_t fixture_place(const layout *l, size_t *strides);
/* Weight number @p weight of the GEMM view, row by row. */
float *fixture_at(const fixture *f, const msw_tensor *t, size_t weight);
/* Bit for bit, gaps included. */
bool fixture_same_bits(const fixture *f, const msw_tensor *a, const msw_tensor *b);

msw_unified *fixture_project(fixture *f, const msw_tensor *t, double prune,
                             double unify, const msw_tensor *importance);
/* Random classes: all three, in any number. */
msw_unified *fixture_structure(fixture *f, const msw_tensor *t);
/* In adaptive blocks, at a price that leaves some of every class where there are many. */
msw_unified *fixture_quadtree(fixture *f, const msw_tensor *t, uint32_t levels);
msw_tensor *fixture_dense(fixture *f, const msw_unified *u);
msw_unified_info fixture_info(const msw_unified *u);
msw_verify_info fixture_verify(const msw_unified *u, const msw_tensor *t);

/* The functions that project a tensor in place. */
typedef enum kind { WEIGHTS, GRADIENT, LINEAR, SQUARED, KINDS } kind;

msw_status fixture_project_in_place(msw_tensor *t, const msw_unified *u, kind k);

#endif /* MSW_TESTS_FIXTURE_H */
