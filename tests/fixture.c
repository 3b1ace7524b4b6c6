/* SPDX-License-Identifier: BSD-2-Clause */
#include "fixture.h"
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CANARY 12345.5f

const layout fixture_layouts[] = {
    {MSW_WEIGHTS_OI, 0, {16, 24}, 2, 8, 8, 0, false, false},
    {MSW_WEIGHTS_OI, 0, {19, 31}, 2, 4, 4, 0, false, false},
    {MSW_WEIGHTS_OI, 0, {19, 31}, 2, 4, 4, 0, true, false},
    {MSW_WEIGHTS_OI, 0, {21, 70}, 2, 3, 5, 0, true, true},
    {MSW_WEIGHTS_OI, 0, {70, 67}, 2, 64, 64, 0, false, false},
    {MSW_WEIGHTS_OI, 0, {9, 150}, 2, 1, 8, 3, false, false},
    {MSW_WEIGHTS_OI, 0, {15, 13}, 2, 2, 1, 3, false, true},
    {MSW_WEIGHTS_OI, 0, {5, 7}, 2, 1, 1, 0, false, false},
    {MSW_WEIGHTS_OI, 0, {1, 1}, 2, 8, 8, 0, false, false},
    {MSW_WEIGHTS_OI, 0, {3, 4500}, 2, 2, 6, 0, false, false}, /* two panels to a row */
    {MSW_WEIGHTS_IO, 0, {24, 16}, 2, 8, 8, 0, false, false},
    {MSW_WEIGHTS_IO, 0, {31, 19}, 2, 4, 6, 0, true, true},
    {MSW_WEIGHTS_OIHW, MSW_REDUCTION_CHANNELS, {10, 6, 3, 3}, 4, 4, 4, 0, false, false},
    {MSW_WEIGHTS_OIHW, MSW_REDUCTION_KERNEL, {10, 6, 3, 2}, 4, 4, 9, 2, false, false},
    {MSW_WEIGHTS_OIHW, MSW_REDUCTION_CHANNELS, {8, 5, 2, 3}, 4, 3, 4, 2, true, true},
    {MSW_WEIGHTS_OHWI, MSW_REDUCTION_CHANNELS, {10, 3, 3, 6}, 4, 4, 4, 0, false, false},
    {MSW_WEIGHTS_OHWI, MSW_REDUCTION_KERNEL, {9, 3, 2, 5}, 4, 2, 8, 3, true, true},
};
enum { LAYOUTS = sizeof fixture_layouts / sizeof *fixture_layouts };

static void shuffle(uint32_t *x, size_t count, size_t group, uint64_t *random)
{
    for (size_t i = 0; i < count; i++)
        x[i] = (uint32_t)i;
    for (size_t i = count; i-- > 1;) {
        const size_t k = i / group * group + ref_below(random, i % group + 1);
        const uint32_t kept = x[i];
        x[i] = x[k];
        x[k] = kept;
    }
}

static void make_plan(fixture *f)
{
    const layout *l = f->layout;
    const size_t output = l->weights == MSW_WEIGHTS_IO ? 1 : 0, rows = l->shape[output];
    uint32_t row_order[256], column_order[256];
    size_t columns = 1;
    msw_plan_options o;

    for (size_t i = 0; i < l->rank; i++)
        columns *= i == output ? 1 : l->shape[i];
    msw_plan_options_init(&o);
    o.weights = l->weights;
    o.reduction = l->reduction;
    o.block_rows = l->block_rows;
    o.block_columns = l->block_columns;
    o.groups = l->groups;
    if (l->permuted) {
        shuffle(row_order, rows, rows / (l->groups ? l->groups : 1), &f->random);
        shuffle(column_order, columns, columns, &f->random);
        o.row_permutation = row_order;
        o.column_permutation = column_order;
    }
    assert_int_equal(msw_plan_new(&f->plan, f->ctx, l->shape, l->rank, &o), MSW_OK);
    msw_plan_info_init(&f->info);
    assert_int_equal(msw_plan_get_info(&f->info, f->plan), MSW_OK);
}

fixture fixture_setup(const layout *l, const msw_context_options *options)
{
    fixture f = {.layout = l, .random = 21};

    assert_int_equal(msw_context_new(&f.ctx, options), MSW_OK);
    make_plan(&f);
    return f;
}

void fixture_teardown(fixture *f)
{
    msw_plan_free(f->plan);
    assert_int_equal(msw_context_memory(f->ctx), sizeof(struct msw_context));
    msw_context_free(f->ctx);
}


size_t fixture_place(const layout *l, size_t *strides)
{
    size_t span = 1;

    for (size_t n = 0; n < l->rank; n++) {
        const size_t i = l->strided ? n : l->rank - 1 - n;
        strides[i] = span + (l->strided ? n + 1 : 0);
        span = strides[i] * l->shape[i];
    }
    return span;
}

msw_tensor *fixture_tensor(fixture *f)
{
    size_t strides[4];
    const size_t span = fixture_place(f->layout, strides);
    float *data = malloc(span * sizeof *data);
    msw_tensor *t;

    assert_non_null(data);
    for (size_t i = 0; i < span; i++)
        data[i] = CANARY;
    assert_int_equal(msw_tensor_borrow(&t, f->ctx, data, f->layout->shape, strides,
                                       f->layout->rank), MSW_OK);
    return t;
}

void fixture_free(msw_tensor *t)
{
    float *data = msw_tensor_data(t);

    msw_tensor_free(t);
    free(data);
}

float *fixture_at(const fixture *f, const msw_tensor *t, size_t weight)
{
    return ref_at(t, f->plan, weight / f->info.columns, weight % f->info.columns);
}

msw_tensor *fixture_random_tensor(fixture *f)
{
    msw_tensor *t = fixture_tensor(f);

    for (size_t i = 0; i < msw_tensor_count(t); i++)
        *fixture_at(f, t, i) = (float)ref_normal(&f->random);
    return t;
}

msw_tensor *fixture_rough_tensor(fixture *f)
{
    msw_tensor *t = fixture_random_tensor(f);

    for (size_t i = 0; i < msw_tensor_count(t); i++) {
        const double row = (double)(i / f->info.columns);
        const double column = (double)(i % f->info.columns);

        *fixture_at(f, t, i) *= (float)exp(sin(row / 4) * cos(column / 5));
    }
    return t;
}

msw_tensor *fixture_copy(fixture *f, const msw_tensor *from)
{
    msw_tensor *t = fixture_tensor(f);

    for (size_t i = 0; i < msw_tensor_count(t); i++)
        *fixture_at(f, t, i) = *fixture_at(f, from, i);
    return t;
}

bool fixture_same_bits(const fixture *f, const msw_tensor *a, const msw_tensor *b)
{
    size_t strides[4];

    return !memcmp(msw_tensor_data(a), msw_tensor_data(b),
                   fixture_place(f->layout, strides) * sizeof(float));
}

msw_unified *fixture_project(fixture *f, const msw_tensor *t, double prune,
                             double unify, const msw_tensor *importance)
{
    msw_projection_options o;
    msw_unified *u;

    msw_projection_options_init(&o);
    o.prune = prune;
    o.unify = unify;
    o.importance = importance;
    assert_int_equal(msw_unified_from(&u, f->plan, t, &o), MSW_OK);
    return u;
}

msw_unified *fixture_structure(fixture *f, const msw_tensor *t)
{
    const size_t blocks = f->info.block_count;
    uint8_t *classes = malloc(blocks);
    msw_unified *u;

    assert_non_null(classes);
    for (size_t b = 0; b < blocks; b++)
        classes[b] = (uint8_t)ref_below(&f->random, 3);
    assert_int_equal(msw_unified_new(&u, f->plan, t, classes, blocks), MSW_OK);
    assert_memory_equal(msw_unified_classes(u), classes, blocks);
    free(classes);
    return u;
}

msw_unified *fixture_quadtree(fixture *f, const msw_tensor *t, uint32_t levels)
{
    msw_quadtree_options o;
    msw_unified *u;

    msw_quadtree_options_init(&o);
    o.levels = levels;
    o.price = 0.04;
    o.free_bits = 16;
    o.magnitude_bits = 32;
    assert_int_equal(msw_unified_from_quadtree(&u, f->plan, t, &o), MSW_OK);
    return u;
}

msw_tensor *fixture_dense(fixture *f, const msw_unified *u)
{
    msw_tensor *t = fixture_tensor(f);

    assert_int_equal(msw_unified_to_dense(t, u), MSW_OK);
    return t;
}

msw_unified_info fixture_info(const msw_unified *u)
{
    msw_unified_info info;

    msw_unified_info_init(&info);
    assert_int_equal(msw_unified_get_info(&info, u), MSW_OK);
    return info;
}

msw_verify_info fixture_verify(const msw_unified *u, const msw_tensor *t)
{
    msw_verify_info info;

    msw_verify_info_init(&info);
    assert_int_equal(msw_unified_verify(&info, u, t), MSW_OK);
    return info;
}

void fixture_for_all(void (*check)(fixture *f))
{
    for (size_t i = 0; i < LAYOUTS; i++) {
        fixture f = fixture_setup(&fixture_layouts[i], NULL);

        check(&f);
        fixture_teardown(&f);
    }
}

msw_status fixture_project_in_place(msw_tensor *t, const msw_unified *u, kind k)
{
    switch (k) {
    case WEIGHTS: return msw_unified_project(t, u);
    case GRADIENT: return msw_unified_project_gradient(t, u);
    case LINEAR: return msw_unified_project_slot(t, u, MSW_SLOT_LINEAR);
    default: return msw_unified_project_slot(t, u, MSW_SLOT_SQUARED);
    }
}
