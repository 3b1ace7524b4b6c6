/* SPDX-License-Identifier: BSD-2-Clause */
#include "faults.h"
#include "internal.h"
#include "ref.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A tensor with what surrounds it, on every layout, block size and stride. */

typedef struct layout {
    uint32_t weights, reduction;
    size_t shape[4];
    uint32_t rank, block_rows, block_columns, groups;
    bool strided, permuted;
} layout;

static const layout layouts[] = {
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
enum { LAYOUTS = sizeof layouts / sizeof *layouts, MOST_WEIGHTS = 3 * 4500 };

typedef struct fixture {
    msw_context *ctx;
    msw_plan *plan;
    msw_plan_info info;
    const layout *layout;
    uint64_t random;
} fixture;

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

static fixture setup(const layout *l, const msw_context_options *options)
{
    fixture f = {.layout = l, .random = 21 + (uint64_t)(l - layouts)};

    assert_int_equal(msw_context_new(&f.ctx, options), MSW_OK);
    make_plan(&f);
    return f;
}

static void teardown(fixture *f)
{
    msw_plan_free(f->plan);
    assert_int_equal(msw_context_memory(f->ctx), sizeof(struct msw_context));
    msw_context_free(f->ctx);
}

/* A tensor over an array of its own: strided ones go backwards through the dimensions
 * and leave gaps, which hold a canary. Free with free_tensor(). */
#define CANARY 12345.5f

static size_t place(const layout *l, size_t *strides)
{
    size_t span = 1;

    for (size_t n = 0; n < l->rank; n++) {
        const size_t i = l->strided ? n : l->rank - 1 - n;
        strides[i] = span + (l->strided ? n + 1 : 0);
        span = strides[i] * l->shape[i];
    }
    return span;
}

static msw_tensor *make_tensor(fixture *f)
{
    size_t strides[4];
    const size_t span = place(f->layout, strides);
    float *data = malloc(span * sizeof *data);
    msw_tensor *t;

    assert_non_null(data);
    for (size_t i = 0; i < span; i++)
        data[i] = CANARY;
    assert_int_equal(msw_tensor_borrow(&t, f->ctx, data, f->layout->shape, strides,
                                       f->layout->rank), MSW_OK);
    return t;
}

static void free_tensor(msw_tensor *t)
{
    float *data = msw_tensor_data(t);

    msw_tensor_free(t);
    free(data);
}

static float *at(const fixture *f, const msw_tensor *t, size_t weight)
{
    return ref_at(t, f->plan, weight / f->info.columns, weight % f->info.columns);
}

static msw_tensor *random_tensor(fixture *f)
{
    msw_tensor *t = make_tensor(f);

    for (size_t i = 0; i < msw_tensor_count(t); i++)
        *at(f, t, i) = (float)ref_normal(&f->random);
    return t;
}

static msw_tensor *copy_tensor(fixture *f, const msw_tensor *from)
{
    msw_tensor *t = make_tensor(f);

    for (size_t i = 0; i < msw_tensor_count(t); i++)
        *at(f, t, i) = *at(f, from, i);
    return t;
}

/* Bit for bit, gaps between the elements included. */
static bool same_bits(const fixture *f, const msw_tensor *a, const msw_tensor *b)
{
    size_t strides[4];

    return !memcmp(msw_tensor_data(a), msw_tensor_data(b),
                   place(f->layout, strides) * sizeof(float));
}

static msw_unified *project(fixture *f, const msw_tensor *t, double prune, double unify,
                            const msw_tensor *importance)
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

/* Random classes: all three, in any number. */
static msw_unified *random_structure(fixture *f, const msw_tensor *t)
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

static msw_tensor *dense(fixture *f, const msw_unified *u)
{
    msw_tensor *t = make_tensor(f);

    assert_int_equal(msw_unified_to_dense(t, u), MSW_OK);
    return t;
}

static msw_unified_info info_of(const msw_unified *u)
{
    msw_unified_info info;

    msw_unified_info_init(&info);
    assert_int_equal(msw_unified_get_info(&info, u), MSW_OK);
    return info;
}

static msw_verify_info verify(const msw_unified *u, const msw_tensor *t)
{
    msw_verify_info info;

    msw_verify_info_init(&info);
    assert_int_equal(msw_unified_verify(&info, u, t), MSW_OK);
    return info;
}

static void for_all_layouts(void (*check)(fixture *f))
{
    for (size_t i = 0; i < LAYOUTS; i++) {
        fixture f = setup(&layouts[i], NULL);

        check(&f);
        teardown(&f);
    }
}

/* msw_unified_new() and _to_dense(): every block against the definition. */

static void check_block(const fixture *f, const msw_unified *u, const msw_tensor *weights,
                        const msw_tensor *result, size_t block)
{
    static float v[MSW_MAX_BLOCK * MSW_MAX_BLOCK], z[MSW_MAX_BLOCK * MSW_MAX_BLOCK];
    const size_t n = ref_gather(v, weights, f->plan, block);
    const uint8_t label = msw_unified_classes(u)[block];
    const float m = msw_unified_magnitude(u, block);

    assert_int_equal(ref_gather(z, result, f->plan, block), n);
    if (label == MSW_CLASS_UNIFIED)
        assert_true(fabs((double)m - ref_costs(v, NULL, n).magnitude) <= 1e-7 * (double)m);
    else
        assert_true(m == 0);
    for (size_t i = 0; i < n; i++) {
        if (label == MSW_CLASS_FREE)
            assert_true(z[i] == v[i]);
        else
            assert_true(z[i] == (v[i] < 0 ? -m : m)); /* 0 when pruned */
    }
}

static void check_new(fixture *f)
{
    msw_tensor *t = random_tensor(f), *kept = copy_tensor(f, t), *z;
    msw_unified *u = random_structure(f, t);

    assert_true(same_bits(f, t, kept));
    z = dense(f, u);
    for (size_t b = 0; b < f->info.block_count; b++)
        check_block(f, u, t, z, b);
    assert_int_equal(verify(u, z).violations, 0);
    assert_ptr_equal(msw_unified_plan(u), f->plan);
    assert_true(msw_unified_magnitude(u, f->info.block_count) == 0);
    msw_unified_free(u);
    free_tensor(z);
    free_tensor(kept);
    free_tensor(t);
}

static void test_new(void **state)
{
    (void)state;
    for_all_layouts(check_new);
}

/* msw_unified_from(): the least distance, and exactly so many blocks. */

/* Squared distance of two tensors, weighted by max(h mean, 1e-3). */
static double distance(const fixture *f, const msw_tensor *a, const msw_tensor *b,
                       const msw_tensor *importance, double scale)
{
    double sum = 0;

    for (size_t i = 0; i < msw_tensor_count(a); i++) {
        const double d = (double)*at(f, a, i) - (double)*at(f, b, i);
        const double h = importance ? fmax((double)*at(f, importance, i) * scale, 1e-3) : 1;
        sum += h * d * d;
    }
    return sum;
}

static double mean_scale(const fixture *f, const msw_tensor *h)
{
    double sum = 0;

    for (size_t i = 0; i < msw_tensor_count(h); i++)
        sum += (double)*at(f, h, i);
    return (double)msw_tensor_count(h) / sum;
}

static double least_distance(const fixture *f, const msw_tensor *t, const msw_tensor *h,
                             double scale, size_t prune, size_t unify)
{
    static float v[MSW_MAX_BLOCK * MSW_MAX_BLOCK], w[MSW_MAX_BLOCK * MSW_MAX_BLOCK];
    double prune_costs[REF_MOST], unify_costs[REF_MOST];

    for (size_t b = 0; b < f->info.block_count; b++) {
        const size_t n = ref_gather(v, t, f->plan, b);
        ref_block costs;

        if (h)
            ref_gather(w, h, f->plan, b);
        for (size_t i = 0; i < n && h; i++)
            w[i] = fmaxf((float)((double)w[i] * scale), 1e-3f);
        costs = ref_costs(v, h ? w : NULL, n);
        prune_costs[b] = costs.prune;
        unify_costs[b] = costs.unify;
    }
    return ref_joint_cost_table(prune_costs, unify_costs, f->info.block_count, prune, unify);
}

static void check_from(fixture *f, double prune, double unify, bool weighted)
{
    const size_t blocks = f->info.block_count;
    const size_t pruned = (size_t)floor(prune * (double)blocks);
    const size_t unified = (size_t)floor(unify * (double)blocks);
    msw_tensor *t = random_tensor(f), *kept = copy_tensor(f, t), *h = random_tensor(f), *z;
    msw_unified_info info;
    double scale;
    msw_unified *u;

    for (size_t i = 0; i < msw_tensor_count(h); i++)
        *at(f, h, i) = expf(3 * *at(f, h, i));
    scale = mean_scale(f, h);
    u = project(f, t, prune, unify, weighted ? h : NULL);
    assert_true(same_bits(f, t, kept));
    z = dense(f, u);
    info = info_of(u);
    assert_int_equal(info.pruned_blocks, pruned);
    assert_int_equal(info.unified_blocks, unified);
    assert_int_equal(info.free_blocks, blocks - pruned - unified);
    if (blocks <= REF_MOST) {
        const double least = least_distance(f, t, weighted ? h : NULL, scale, pruned, unified);
        const double found = distance(f, t, z, weighted ? h : NULL, scale);

        assert_true(fabs(found - least) <= 1e-6 * least + 1e-12);
    }
    msw_unified_free(u);
    free_tensor(z);
    free_tensor(h);
    free_tensor(kept);
    free_tensor(t);
}

static void check_from_shares(fixture *f)
{
    static const double shares[][2] = {{0, 0}, {0.5, 0}, {0, 0.5}, {0.5, 0.25}, {0.25, 0.75},
                                       {1, 0}, {0, 1}, {0.125, 0.125}};

    for (size_t k = 0; k < sizeof shares / sizeof *shares; k++) {
        check_from(f, shares[k][0], shares[k][1], false);
        check_from(f, shares[k][0], shares[k][1], true);
    }
}

static void test_from(void **state)
{
    (void)state;
    for_all_layouts(check_from_shares);
}

/* A block of v is closest to what it becomes, among all patterns of signs. */
static void test_from_tries_all_signs(void **state)
{
    static const layout small = {MSW_WEIGHTS_OI, 0, {3, 3}, 2, 3, 3, 0, false, false};
    fixture f = setup(&layouts[0], NULL);

    (void)state;
    msw_plan_free(f.plan);
    f.layout = &small;
    make_plan(&f);
    for (size_t trial = 0; trial < 200; trial++) {
        msw_tensor *t = random_tensor(&f), *z;
        msw_unified *u = project(&f, t, 0, 1, NULL);
        float v[9];

        ref_gather(v, t, f.plan, 0);
        z = dense(&f, u);
        assert_true(fabs(distance(&f, t, z, NULL, 0) - ref_unify_distance(v, NULL, 9)) <=
                    1e-12);
        msw_unified_free(u);
        free_tensor(z);
        free_tensor(t);
    }
    teardown(&f);
}

/* Projecting what is projected changes nothing, bit for bit. */
static void check_from_twice(fixture *f)
{
    msw_tensor *t = random_tensor(f), *h = random_tensor(f), *z, *again;
    msw_unified *u, *u2;

    for (size_t i = 0; i < msw_tensor_count(h); i++)
        *at(f, h, i) = fabsf(*at(f, h, i));
    for (int weighted = 0; weighted < 2; weighted++) {
        u = project(f, t, 0.375, 0.375, weighted ? h : NULL);
        z = dense(f, u);
        u2 = project(f, z, 0.375, 0.375, weighted ? h : NULL);
        again = dense(f, u2);
        assert_true(same_bits(f, z, again));
        msw_unified_free(u2);
        msw_unified_free(u);
        free_tensor(again);
        free_tensor(z);
    }
    free_tensor(h);
    free_tensor(t);
}

static void test_from_is_idempotent(void **state)
{
    (void)state;
    for_all_layouts(check_from_twice);
}

static void test_all_zero_importance_counts_as_none(void **state)
{
    fixture f = setup(&layouts[1], NULL);
    msw_tensor *t = random_tensor(&f), *h = make_tensor(&f), *plain, *weighted;
    msw_unified *u, *u2;

    (void)state;
    for (size_t i = 0; i < msw_tensor_count(h); i++)
        *at(&f, h, i) = 0;
    u = project(&f, t, 0.4, 0.4, NULL);
    u2 = project(&f, t, 0.4, 0.4, h);
    plain = dense(&f, u);
    weighted = dense(&f, u2);
    assert_true(same_bits(&f, plain, weighted));
    msw_unified_free(u);
    msw_unified_free(u2);
    free_tensor(plain);
    free_tensor(weighted);
    free_tensor(h);
    free_tensor(t);
    teardown(&f);
}

/* Equal blocks: the lower numbers are pruned, the next unified. Zeros of either sign
 * count as positive. */
static void test_ties_and_zeros(void **state)
{
    fixture f = setup(&layouts[1], NULL);
    const size_t blocks = f.info.block_count;
    msw_tensor *t = make_tensor(&f), *z;
    msw_unified *u;

    (void)state;
    for (size_t i = 0; i < msw_tensor_count(t); i++)
        *at(&f, t, i) = i % 2 ? -0.0f : 0.0f;
    u = project(&f, t, 0.25, 0.5, NULL);
    for (size_t b = 0; b < blocks; b++)
        assert_int_equal(msw_unified_classes(u)[b], b < blocks / 4 ? MSW_CLASS_PRUNED
                         : b < blocks / 4 + blocks / 2 ? MSW_CLASS_UNIFIED : MSW_CLASS_FREE);
    z = dense(&f, u);
    for (size_t i = 0; i < msw_tensor_count(t); i++) {
        const size_t b = i / f.info.columns / 4 * f.info.block_column_count +
                         i % f.info.columns / 4;
        const bool free = msw_unified_classes(u)[b] == MSW_CLASS_FREE;

        assert_int_equal(!signbit(*at(&f, z, i)), !free || i % 2 == 0);
    }
    msw_unified_free(u);
    free_tensor(z);
    free_tensor(t);
    teardown(&f);
}

/* msw_unified_project() and its kin against the definition. */

typedef enum kind { WEIGHTS, GRADIENT, LINEAR, SQUARED, KINDS } kind;

static msw_status project_in_place(msw_tensor *t, const msw_unified *u, kind k)
{
    switch (k) {
    case WEIGHTS: return msw_unified_project(t, u);
    case GRADIENT: return msw_unified_project_gradient(t, u);
    case LINEAR: return msw_unified_project_slot(t, u, MSW_SLOT_LINEAR);
    default: return msw_unified_project_slot(t, u, MSW_SLOT_SQUARED);
    }
}

static void check_projected_block(const fixture *f, const msw_tensor *structure,
                                  const msw_unified *u, const msw_tensor *before,
                                  const msw_tensor *after, size_t block, kind k)
{
    static float w[MSW_MAX_BLOCK * MSW_MAX_BLOCK], v[MSW_MAX_BLOCK * MSW_MAX_BLOCK],
        z[MSW_MAX_BLOCK * MSW_MAX_BLOCK];
    const size_t n = ref_gather(w, structure, f->plan, block);
    double mean = 0, size = 0;

    ref_gather(v, before, f->plan, block);
    ref_gather(z, after, f->plan, block);
    for (size_t i = 0; i < n; i++) {
        mean += (k != SQUARED && signbit(w[i]) ? -1 : 1) * (double)v[i] / (double)n;
        size += fabs((double)v[i]) / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        const double s = k != SQUARED && signbit(w[i]) ? -1 : 1;

        if (msw_unified_classes(u)[block] == MSW_CLASS_FREE)
            assert_true(z[i] == v[i]);
        else if (msw_unified_classes(u)[block] == MSW_CLASS_PRUNED)
            assert_true(z[i] == 0);
        else
            assert_true(fabs((double)z[i] - s * mean) <= 1e-7 * size);
    }
}

static void check_project(fixture *f)
{
    msw_tensor *w = random_tensor(f), *structure;
    msw_unified *u = random_structure(f, w);

    structure = dense(f, u);
    for (int k = 0; k < KINDS; k++) {
        msw_tensor *before = random_tensor(f), *after = copy_tensor(f, before), *once;

        assert_int_equal(project_in_place(after, u, (kind)k), MSW_OK);
        for (size_t b = 0; b < f->info.block_count; b++)
            check_projected_block(f, structure, u, before, after, b, (kind)k);
        once = copy_tensor(f, after);
        assert_int_equal(project_in_place(after, u, (kind)k), MSW_OK);
        assert_true(same_bits(f, once, after));
        free_tensor(once);
        free_tensor(after);
        free_tensor(before);
    }
    msw_unified_free(u);
    free_tensor(structure);
    free_tensor(w);
}

static void test_project(void **state)
{
    (void)state;
    for_all_layouts(check_project);
}

/* Means that round to zero, from either side, and the least and largest of floats:
 * projecting twice changes nothing. */
static void test_project_extremes_twice(void **state)
{
    static const float values[] = {-1e-45f, 0, -0.0f, 1e-45f, 3e38f, -3e38f, 1e-38f};
    fixture f = setup(&layouts[1], NULL);
    msw_tensor *w = random_tensor(&f);
    msw_unified *u = random_structure(&f, w);

    (void)state;
    for (size_t trial = 0; trial < 50; trial++) {
        const size_t most = trial < 25 ? 4 : sizeof values / sizeof *values;
        msw_tensor *once = make_tensor(&f), *twice;

        for (size_t i = 0; i < msw_tensor_count(once); i++)
            *at(&f, once, i) = values[ref_below(&f.random, most)];
        assert_int_equal(msw_unified_project(once, u), MSW_OK);
        twice = copy_tensor(&f, once);
        assert_int_equal(msw_unified_project(twice, u), MSW_OK);
        assert_true(same_bits(&f, once, twice));
        free_tensor(twice);
        free_tensor(once);
    }
    msw_unified_free(u);
    free_tensor(w);
    teardown(&f);
}

/* A gradient may overflow; its own block only is lost. */
static void test_gradient_that_is_not_finite(void **state)
{
    fixture f = setup(&layouts[0], NULL);
    msw_tensor *w = random_tensor(&f), *g = random_tensor(&f);
    msw_unified *u = project(&f, w, 0, 1, NULL);

    (void)state;
    *at(&f, g, 0) = NAN;
    assert_int_equal(msw_unified_project_gradient(g, u), MSW_OK);
    for (size_t i = 0; i < msw_tensor_count(g); i++) {
        const bool lost = i / f.info.columns < 8 && i % f.info.columns < 8;
        assert_int_equal(isfinite(*at(&f, g, i)) != 0, !lost);
    }
    msw_unified_free(u);
    free_tensor(g);
    free_tensor(w);
    teardown(&f);
}

/* msw_unified_refit(): what msw_unified_project() leaves, with magnitudes >= 0. */

static void check_refit(fixture *f)
{
    msw_tensor *w = random_tensor(f), *trained = random_tensor(f), *kept, *z;
    msw_unified *u = random_structure(f, w), *u2;
    size_t negative = 0;

    kept = copy_tensor(f, trained);
    assert_int_equal(msw_unified_refit(&u2, u, trained), MSW_OK);
    assert_true(same_bits(f, trained, kept));
    assert_memory_equal(msw_unified_classes(u), msw_unified_classes(u2),
                        f->info.block_count);
    for (size_t b = 0; b < f->info.block_count; b++)
        assert_true(msw_unified_magnitude(u2, b) >= 0);
    assert_int_equal(msw_unified_project(trained, u), MSW_OK);
    z = dense(f, u2);
    assert_true(same_bits(f, z, trained));
    assert_int_equal(verify(u, trained).violations, 0); /* flipped or not */
    assert_int_equal(verify(u2, trained).violations, 0);
    /* with the signs of u2 too, nothing changes */
    assert_int_equal(msw_unified_project(trained, u2), MSW_OK);
    assert_true(same_bits(f, z, trained));
    for (size_t i = 0; i < u->sign_start[f->info.block_row_count]; i++)
        negative += msw__sign_get(u->signs, i) != msw__sign_get(u2->signs, i);
    assert_true(negative > 0 || info_of(u).unified_blocks < 8);
    msw_unified_free(u2);
    msw_unified_free(u);
    free_tensor(z);
    free_tensor(kept);
    free_tensor(trained);
    free_tensor(w);
}

static void test_refit(void **state)
{
    (void)state;
    for_all_layouts(check_refit);
}

static void test_refit_flips_and_keeps(void **state)
{
    fixture f = setup(&layouts[0], NULL);
    msw_tensor *w = random_tensor(&f), *z;
    msw_unified *u = project(&f, w, 0, 1, NULL), *flipped, *zero;
    const size_t signs = u->sign_start[f.info.block_row_count];

    (void)state;
    z = dense(&f, u);
    for (size_t i = 0; i < msw_tensor_count(z); i++)
        *at(&f, z, i) *= -2;
    assert_int_equal(msw_unified_refit(&flipped, u, z), MSW_OK);
    for (size_t b = 0; b < f.info.block_count; b++)
        assert_true(msw_unified_magnitude(flipped, b) == 2 * msw_unified_magnitude(u, b));
    for (size_t i = 0; i < signs; i++)
        assert_int_not_equal(msw__sign_get(u->signs, i), msw__sign_get(flipped->signs, i));
    for (size_t i = 0; i < msw_tensor_count(z); i++)
        *at(&f, z, i) = -0.0f;
    assert_int_equal(msw_unified_refit(&zero, u, z), MSW_OK);
    assert_memory_equal(zero->signs, u->signs, (signs + 7) / 8);
    for (size_t b = 0; b < f.info.block_count; b++)
        assert_true(msw_unified_magnitude(zero, b) == 0);
    msw_unified_free(zero);
    msw_unified_free(flipped);
    msw_unified_free(u);
    free_tensor(z);
    free_tensor(w);
    teardown(&f);
}

/* msw_unified_verify() */

static size_t first_block_of(const msw_unified *u, size_t from, msw_class label)
{
    while (msw_unified_classes(u)[from] != label)
        from++;
    return from;
}

static void check_one_wrong(fixture *f, const msw_unified *u, const msw_tensor *good,
                            size_t block, size_t row, size_t column, float wrong)
{
    const uint8_t label = msw_unified_classes(u)[block];
    const msw_unified_info counts = info_of(u);
    msw_tensor *t = copy_tensor(f, good);
    msw_verify_info info;
    msw_block b;

    msw_block_init(&b);
    assert_int_equal(msw_plan_get_block(&b, f->plan, block), MSW_OK);
    *ref_at(t, f->plan, b.row + row, b.column + column) = wrong;
    info = verify(u, t);
    assert_int_equal(info.violations, 1);
    assert_int_equal(info.first, block);
    assert_int_equal(info.row, b.row + row);
    assert_int_equal(info.column, b.column + column);
    assert_memory_equal(&info.value, &(double){(double)wrong}, sizeof info.value);
    assert_true(info.expected ==
                (double)*ref_at(good, f->plan, b.row + row, b.column + column));
    assert_int_equal(info.free_blocks, counts.free_blocks - (label == MSW_CLASS_FREE));
    assert_int_equal(info.pruned_blocks,
                     counts.pruned_blocks - (label == MSW_CLASS_PRUNED));
    assert_int_equal(info.unified_blocks,
                     counts.unified_blocks - (label == MSW_CLASS_UNIFIED));
    free_tensor(t);
}

static void test_verify(void **state)
{
    fixture f = setup(&layouts[3], NULL); /* 3x5, strided, permuted */
    msw_tensor *w = random_tensor(&f), *z;
    msw_unified *u = random_structure(&f, w);
    size_t pruned, unified, free;
    msw_verify_info info;

    (void)state;
    pruned = first_block_of(u, 20, MSW_CLASS_PRUNED);
    unified = first_block_of(u, 20, MSW_CLASS_UNIFIED);
    free = first_block_of(u, 20, MSW_CLASS_FREE);
    z = dense(&f, u);
    info = verify(u, z);
    assert_int_equal(info.violations, 0);
    assert_true(info.first == UINT64_MAX);
    assert_int_equal(info.free_blocks, info_of(u).free_blocks);
    assert_int_equal(info.pruned_blocks, info_of(u).pruned_blocks);
    assert_int_equal(info.unified_blocks, info_of(u).unified_blocks);
    for (size_t i = 0; i < 15; i++) {
        check_one_wrong(&f, u, z, pruned, i / 5, i % 5, 1e-45f);
        check_one_wrong(&f, u, z, pruned, i / 5, i % 5, NAN);
        check_one_wrong(&f, u, z, unified, i / 5, i % 5, 0.25f);
        check_one_wrong(&f, u, z, unified, i / 5, i % 5, NAN);
        check_one_wrong(&f, u, z, unified, i / 5, i % 5, INFINITY);
        check_one_wrong(&f, u, z, free, i / 5, i % 5, -INFINITY);
    }
    /* several: the first is named */
    for (size_t i = 0; i < msw_tensor_count(w); i++)
        *at(&f, w, i) = 1 + (float)i;
    info = verify(u, w);
    assert_int_equal(info.violations,
                     info_of(u).pruned_blocks + info_of(u).unified_blocks);
    pruned = first_block_of(u, 0, MSW_CLASS_PRUNED);
    unified = first_block_of(u, 0, MSW_CLASS_UNIFIED);
    assert_int_equal(info.first, pruned < unified ? pruned : unified);
    assert_int_equal(info.pruned_blocks + info.unified_blocks, 0);
    msw_unified_free(u);
    free_tensor(z);
    free_tensor(w);
    teardown(&f);
}

/* A single sign that differs is a violation, all of them are not. */
static void test_verify_signs(void **state)
{
    fixture f = setup(&layouts[0], NULL);
    msw_tensor *w = random_tensor(&f), *z;
    msw_unified *u = project(&f, w, 0, 1, NULL);
    float *v;

    (void)state;
    z = dense(&f, u);
    v = ref_at(z, f.plan, 3, 9);
    *v = -*v;
    assert_int_equal(verify(u, z).violations, 1);
    assert_int_equal(verify(u, z).first, 1);
    assert_int_equal(verify(u, z).row, 3);
    assert_int_equal(verify(u, z).column, 9);
    *v = -*v;
    for (size_t i = 0; i < msw_tensor_count(z); i++)
        *at(&f, z, i) = -*at(&f, z, i);
    assert_int_equal(verify(u, z).violations, 0);
    for (size_t i = 0; i < msw_tensor_count(z); i++)
        *at(&f, z, i) = i % 2 ? -0.0f : 0.0f; /* magnitude 0 has no sign */
    assert_int_equal(verify(u, z).violations, 0);
    for (size_t i = 0; i < msw_tensor_count(z); i++)
        *at(&f, z, i) = NAN;
    assert_int_equal(verify(u, z).violations, f.info.block_count);
    msw_unified_free(u);
    free_tensor(z);
    free_tensor(w);
    teardown(&f);
}

/* Counts: 5x7 in 2x3 blocks has blocks of 2x3, 2x1, 1x3 and 1x1. */
static void test_info(void **state)
{
    static const layout ragged = {MSW_WEIGHTS_OI, 0, {5, 7}, 2, 2, 3, 0, false, false};
    static const uint8_t classes[9] = {
        MSW_CLASS_UNIFIED, MSW_CLASS_PRUNED, MSW_CLASS_UNIFIED,
        MSW_CLASS_FREE, MSW_CLASS_FREE, MSW_CLASS_PRUNED,
        MSW_CLASS_UNIFIED, MSW_CLASS_PRUNED, MSW_CLASS_FREE,
    };
    fixture f = setup(&layouts[0], NULL);
    msw_unified_info info;
    msw_tensor *t;
    msw_unified *u;

    (void)state;
    msw_plan_free(f.plan);
    f.layout = &ragged;
    make_plan(&f);
    t = random_tensor(&f);
    assert_int_equal(msw_unified_new(&u, f.plan, t, classes, 9), MSW_OK);
    info = info_of(u);
    assert_int_equal(info.rows, 5);
    assert_int_equal(info.columns, 7);
    assert_int_equal(info.blocks, 9);
    assert_int_equal(info.free_blocks, 3);
    assert_int_equal(info.pruned_blocks, 3);
    assert_int_equal(info.unified_blocks, 3);
    assert_int_equal(info.weights, 35);
    assert_int_equal(info.free_weights, 6 + 6 + 1);
    assert_int_equal(info.pruned_weights, 6 + 2 + 3);
    assert_int_equal(info.unified_weights, 6 + 2 + 3);
    assert_int_equal(info.bytes, (2 * 9 + 11 + 32 * (3 + 13) + 7) / 8);
    assert_int_equal(info.bytes_dense, 140);
    assert_true(info.bits_per_weight == 8 * (double)info.bytes / 35);
    assert_int_equal(info.multiplications, 13 + 2 + 2 + 1);
    assert_int_equal(info.additions, 13 + 11);
    assert_ptr_equal(msw_unified_ref(u), u);
    msw_unified_free(u);
    msw_unified_free(u);
    msw_unified_free(NULL);
    free_tensor(t);
    teardown(&f);
}

/* Arguments and poison. */

static void test_arguments(void **state)
{
    static const size_t transposed[2] = {31, 19};
    fixture f = setup(&layouts[1], NULL);
    const size_t blocks = f.info.block_count;
    msw_tensor *t = random_tensor(&f), *kept = copy_tensor(&f, t), *other;
    msw_unified *u = random_structure(&f, t), *none = u;
    uint8_t *classes = calloc(blocks, 1);
    msw_projection_options o;
    msw_verify_info verified;
    msw_unified_info info;

    (void)state;
    assert_non_null(classes);
    assert_int_equal(msw_tensor_new(&other, f.ctx, transposed, 2), MSW_OK);
    msw_projection_options_init(&o);
    msw_verify_info_init(&verified);
    msw_unified_info_init(&info);

    assert_int_equal(msw_unified_from(NULL, f.plan, t, &o), MSW_E_INVAL);
    assert_int_equal(msw_unified_from(&none, NULL, t, &o), MSW_E_INVAL);
    assert_null(none);
    assert_int_equal(msw_unified_from(&none, f.plan, NULL, &o), MSW_E_INVAL);
    assert_int_equal(msw_unified_from(&none, f.plan, other, &o), MSW_E_INVAL);
    o.importance = other;
    assert_int_equal(msw_unified_from(&none, f.plan, t, &o), MSW_E_INVAL);
    o.importance = t; /* negative */
    assert_int_equal(msw_unified_from(&none, f.plan, t, &o), MSW_E_INVAL);
    o.importance = NULL;
    o.prune = 0.5;
    o.unify = 0.75;
    assert_int_equal(msw_unified_from(&none, f.plan, t, &o), MSW_E_INVAL);
    o.unify = (double)NAN;
    assert_int_equal(msw_unified_from(&none, f.plan, t, &o), MSW_E_INVAL);
    o.size = 1;
    assert_int_equal(msw_unified_from(&none, f.plan, t, &o), MSW_E_INVAL);
    assert_null(none);

    none = u;
    assert_int_equal(msw_unified_new(NULL, f.plan, t, classes, blocks), MSW_E_INVAL);
    assert_int_equal(msw_unified_new(&none, f.plan, t, classes, blocks - 1), MSW_E_INVAL);
    assert_null(none);
    assert_int_equal(msw_unified_new(&none, NULL, t, classes, blocks), MSW_E_INVAL);
    assert_int_equal(msw_unified_new(&none, f.plan, NULL, classes, blocks), MSW_E_INVAL);
    assert_int_equal(msw_unified_new(&none, f.plan, other, classes, blocks), MSW_E_INVAL);
    assert_int_equal(msw_unified_new(&none, f.plan, t, NULL, blocks), MSW_E_INVAL);
    for (size_t b = 0; b < blocks; b++) {
        classes[b] = 3;
        assert_int_equal(msw_unified_new(&none, f.plan, t, classes, blocks), MSW_E_INVAL);
        assert_null(none);
        classes[b] = MSW_CLASS_UNIFIED;
    }

    none = u;
    assert_int_equal(msw_unified_refit(NULL, u, t), MSW_E_INVAL);
    assert_int_equal(msw_unified_refit(&none, NULL, t), MSW_E_INVAL);
    assert_null(none);
    assert_int_equal(msw_unified_refit(&none, u, NULL), MSW_E_INVAL);
    assert_int_equal(msw_unified_refit(&none, u, other), MSW_E_INVAL);
    assert_int_equal(msw_unified_to_dense(NULL, u), MSW_E_INVAL);
    assert_int_equal(msw_unified_to_dense(other, NULL), MSW_E_INVAL);
    assert_int_equal(msw_unified_to_dense(other, u), MSW_E_INVAL);
    for (int k = 0; k < KINDS; k++) {
        assert_int_equal(project_in_place(NULL, u, (kind)k), MSW_E_INVAL);
        assert_int_equal(project_in_place(t, NULL, (kind)k), MSW_E_INVAL);
        assert_int_equal(project_in_place(other, u, (kind)k), MSW_E_INVAL);
    }
    assert_int_equal(msw_unified_project_slot(t, u, (msw_slot)2), MSW_E_INVAL);
    assert_int_equal(msw_unified_verify(NULL, u, t), MSW_E_INVAL);
    assert_int_equal(msw_unified_verify(&verified, NULL, t), MSW_E_INVAL);
    assert_int_equal(msw_unified_verify(&verified, u, NULL), MSW_E_INVAL);
    assert_int_equal(msw_unified_verify(&verified, u, other), MSW_E_INVAL);
    assert_int_equal(msw_unified_get_info(NULL, u), MSW_E_INVAL);
    assert_int_equal(msw_unified_get_info(&info, NULL), MSW_E_INVAL);
    assert_true(same_bits(&f, t, kept));

    free(classes);
    msw_unified_free(u);
    msw_tensor_free(other);
    free_tensor(kept);
    free_tensor(t);
    teardown(&f);
}

/* NaN or infinity anywhere is refused, and nothing has changed. */
static void check_poison(fixture *f, float poison)
{
    msw_tensor *t = random_tensor(f), *h = random_tensor(f), *kept;
    const size_t blocks = f->info.block_count, count = msw_tensor_count(t);
    msw_unified *u = random_structure(f, t), *none = u;
    msw_projection_options o;

    for (size_t i = 0; i < count; i++)
        *at(f, h, i) = fabsf(*at(f, h, i));
    msw_projection_options_init(&o);
    o.prune = 0.5;
    o.importance = h;
    *at(f, h, count - 1) = poison;
    assert_int_equal(msw_unified_from(&none, f->plan, t, &o), MSW_E_NUMERIC);
    assert_null(none);
    *at(f, h, count - 1) = 1;
    for (size_t i = 0; i < count; i += 1 + count / 7) {
        const float good = *at(f, t, i);

        *at(f, t, i) = poison;
        kept = copy_tensor(f, t);
        none = u;
        assert_int_equal(msw_unified_from(&none, f->plan, t, &o), MSW_E_NUMERIC);
        assert_null(none);
        assert_int_equal(msw_unified_new(&none, f->plan, t, msw_unified_classes(u), blocks),
                         MSW_E_NUMERIC);
        assert_int_equal(msw_unified_refit(&none, u, t), MSW_E_NUMERIC);
        assert_null(none);
        for (int k = 0; k < KINDS; k++)
            if (k != GRADIENT)
                assert_int_equal(project_in_place(t, u, (kind)k), MSW_E_NUMERIC);
        assert_true(same_bits(f, t, kept));
        free_tensor(kept);
        *at(f, t, i) = good;
    }
    msw_unified_free(u);
    free_tensor(h);
    free_tensor(t);
}

static void check_poisons(fixture *f)
{
    check_poison(f, NAN);
    check_poison(f, INFINITY);
    check_poison(f, -INFINITY);
}

static void test_poison(void **state)
{
    (void)state;
    for_all_layouts(check_poisons);
}

/* The same bits on any number of threads and in any order of the tasks. */

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t hash_tensor(uint64_t hash, const fixture *f, const msw_tensor *t)
{
    size_t strides[4];

    return hash_bytes(hash, msw_tensor_data(t), place(f->layout, strides) * sizeof(float));
}

static uint64_t hash_unified(uint64_t hash, const fixture *f, const msw_unified *u)
{
    const size_t end = f->info.block_row_count;

    hash = hash_bytes(hash, u->classes, f->info.block_count);
    hash = hash_bytes(hash, u->magnitudes, u->magnitude_start[end] * sizeof(float));
    hash = hash_bytes(hash, u->signs, (u->sign_start[end] + 7) / 8);
    return hash_bytes(hash, u->free_weights, u->free_start[end] * sizeof(float));
}

/* Everything once; a number that says what came of it. */
static uint64_t run_everything(const layout *l, const msw_context_options *options)
{
    fixture f = setup(l, options);
    msw_tensor *t = random_tensor(&f), *h = random_tensor(&f), *z;
    msw_unified *u, *u2;
    msw_verify_info info;
    uint64_t hash = 1;

    for (size_t i = 0; i < msw_tensor_count(h); i++)
        *at(&f, h, i) = fabsf(*at(&f, h, i));
    u = project(&f, t, 0.25, 0.5, NULL);
    hash = hash_unified(hash, &f, u);
    z = dense(&f, u);
    hash = hash_tensor(hash, &f, z);
    for (int k = 0; k < KINDS; k++) {
        msw_tensor *x = random_tensor(&f);

        assert_int_equal(project_in_place(x, u, (kind)k), MSW_OK);
        hash = hash_tensor(hash, &f, x);
        free_tensor(x);
    }
    info = verify(u, t);
    hash = hash_bytes(hash, &info, sizeof info);
    assert_int_equal(msw_unified_refit(&u2, u, h), MSW_OK);
    hash = hash_unified(hash, &f, u2);
    msw_unified_free(u2);
    msw_unified_free(u);
    u = project(&f, t, 0.25, 0.5, h);
    hash = hash_unified(hash, &f, u);
    msw_unified_free(u);
    free_tensor(z);
    free_tensor(h);
    free_tensor(t);
    teardown(&f);
    return hash;
}

/* Many block rows of few signs that do not end on bytes, in several tasks. */
static const layout wide_layouts[] = {
    {MSW_WEIGHTS_OI, 0, {200, 999}, 2, 3, 3, 0, false, false},
    {MSW_WEIGHTS_IO, 0, {997, 120}, 2, 5, 7, 0, true, false},
};

static void test_threads(void **state)
{
    static const pool_mode modes[] = {POOL_IN_ORDER, POOL_REVERSED, POOL_THREADS};

    (void)state;
    for (size_t i = 0; i < sizeof wide_layouts / sizeof *wide_layouts; i++) {
        msw_context_options o;
        uint64_t expected;

        msw_context_options_init(&o);
        expected = run_everything(&wide_layouts[i], &o);
        o.threads = 2;
        assert_true(run_everything(&wide_layouts[i], &o) == expected);
        for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
            pool p = {.mode = modes[m]};

            o.parallel_for = pool_run;
            o.parallel_user = &p;
            assert_true(run_everything(&wide_layouts[i], &o) == expected);
            assert_true(p.tasks > p.calls);
        }
    }
}

/* A pool that fails: MSW_E_HOST, no object, and it works again afterwards. */
static void test_failing_pool(void **state)
{
    pool p = {.mode = POOL_IN_ORDER};
    msw_tensor *t, *kept;
    msw_projection_options po;
    msw_verify_info verified;
    msw_context_options o;
    msw_unified *u, *none;
    fixture f;

    (void)state;
    msw_context_options_init(&o);
    o.parallel_for = pool_run;
    o.parallel_user = &p;
    f = setup(&wide_layouts[0], &o);
    t = random_tensor(&f);
    kept = copy_tensor(&f, t);
    u = random_structure(&f, t);
    msw_projection_options_init(&po);
    po.prune = 0.5;
    msw_verify_info_init(&verified);
    for (uint64_t call = 1; call <= 2; call++) { /* the costs, the values */
        p = (pool){.mode = POOL_PARTIAL, .fail_from = call};
        none = u;
        assert_int_equal(msw_unified_from(&none, f.plan, t, &po), MSW_E_HOST);
        assert_null(none);
        p = (pool){.mode = POOL_PARTIAL, .fail_from = call};
        assert_int_equal(msw_unified_verify(&verified, u, t), MSW_E_HOST);
        assert_int_equal(verified.violations, 0);
    }
    p = (pool){.mode = POOL_PARTIAL};
    none = u;
    assert_int_equal(msw_unified_refit(&none, u, t), MSW_E_HOST);
    assert_null(none);
    assert_true(same_bits(&f, t, kept));
    assert_int_equal(msw_unified_project(t, u), MSW_E_HOST);
    p = (pool){.mode = POOL_IN_ORDER}; /* doing it again makes it good */
    assert_int_equal(msw_unified_project(t, u), MSW_OK);
    assert_int_equal(msw_unified_project(kept, u), MSW_OK);
    assert_true(same_bits(&f, t, kept));
    msw_unified_free(u);
    free_tensor(kept);
    free_tensor(t);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),
        cmocka_unit_test(test_from),
        cmocka_unit_test(test_from_tries_all_signs),
        cmocka_unit_test(test_from_is_idempotent),
        cmocka_unit_test(test_all_zero_importance_counts_as_none),
        cmocka_unit_test(test_ties_and_zeros),
        cmocka_unit_test(test_project),
        cmocka_unit_test(test_project_extremes_twice),
        cmocka_unit_test(test_gradient_that_is_not_finite),
        cmocka_unit_test(test_refit),
        cmocka_unit_test(test_refit_flips_and_keeps),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_verify_signs),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_failing_pool),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
