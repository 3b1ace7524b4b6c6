/* SPDX-License-Identifier: BSD-2-Clause */
#include "fixture.h"
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    msw_tensor *t = fixture_random_tensor(f), *kept = fixture_copy(f, t), *z;
    msw_unified *u = fixture_structure(f, t);

    assert_true(fixture_same_bits(f, t, kept));
    z = fixture_dense(f, u);
    for (size_t b = 0; b < f->info.block_count; b++)
        check_block(f, u, t, z, b);
    assert_int_equal(fixture_verify(u, z).violations, 0);
    assert_ptr_equal(msw_unified_plan(u), f->plan);
    assert_true(msw_unified_magnitude(u, f->info.block_count) == 0);
    msw_unified_free(u);
    fixture_free(z);
    fixture_free(kept);
    fixture_free(t);
}

static void test_new(void **state)
{
    (void)state;
    fixture_for_all(check_new);
}

/* msw_unified_from(): the least distance, and exactly so many blocks. */

/* Squared distance of two tensors, weighted by max(h mean, 1e-3). */
static double distance(const fixture *f, const msw_tensor *a, const msw_tensor *b,
                       const msw_tensor *importance, double scale)
{
    double sum = 0;

    for (size_t i = 0; i < msw_tensor_count(a); i++) {
        const double d = (double)*fixture_at(f, a, i) - (double)*fixture_at(f, b, i);
        const double h =
            importance ? fmax((double)*fixture_at(f, importance, i) * scale, 1e-3) : 1;
        sum += h * d * d;
    }
    return sum;
}

static double mean_scale(const fixture *f, const msw_tensor *h)
{
    double sum = 0;

    for (size_t i = 0; i < msw_tensor_count(h); i++)
        sum += (double)*fixture_at(f, h, i);
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
    return ref_joint_cost_table(prune_costs, unify_costs, f->info.block_count, prune,
                                unify);
}

static void check_from(fixture *f, double prune, double unify, bool weighted)
{
    const size_t blocks = f->info.block_count;
    const size_t pruned = (size_t)floor(prune * (double)blocks);
    const size_t unified = (size_t)floor(unify * (double)blocks);
    msw_tensor *t = fixture_random_tensor(f), *kept = fixture_copy(f, t);
    msw_tensor *h = fixture_random_tensor(f), *z;
    msw_unified_info info;
    double scale;
    msw_unified *u;

    for (size_t i = 0; i < msw_tensor_count(h); i++)
        *fixture_at(f, h, i) = expf(3 * *fixture_at(f, h, i));
    scale = mean_scale(f, h);
    u = fixture_project(f, t, prune, unify, weighted ? h : NULL);
    assert_true(fixture_same_bits(f, t, kept));
    z = fixture_dense(f, u);
    info = fixture_info(u);
    assert_int_equal(info.pruned_blocks, pruned);
    assert_int_equal(info.unified_blocks, unified);
    assert_int_equal(info.free_blocks, blocks - pruned - unified);
    if (blocks <= REF_MOST) {
        const double least = least_distance(f, t, weighted ? h : NULL, scale, pruned,
                                            unified);
        const double found = distance(f, t, z, weighted ? h : NULL, scale);

        assert_true(fabs(found - least) <= 1e-6 * least + 1e-12);
    }
    msw_unified_free(u);
    fixture_free(z);
    fixture_free(h);
    fixture_free(kept);
    fixture_free(t);
}

static void check_from_shares(fixture *f)
{
    static const double shares[][2] = {{0, 0}, {0.5, 0}, {0, 0.5}, {0.5, 0.25},
                                       {0.25, 0.75}, {1, 0}, {0, 1}, {0.125, 0.125}};

    for (size_t k = 0; k < sizeof shares / sizeof *shares; k++) {
        check_from(f, shares[k][0], shares[k][1], false);
        check_from(f, shares[k][0], shares[k][1], true);
    }
}

static void test_from(void **state)
{
    (void)state;
    fixture_for_all(check_from_shares);
}

/* A block of v is closest to what it becomes, among all patterns of signs. */
static void test_from_tries_all_signs(void **state)
{
    static const layout small = {MSW_WEIGHTS_OI, 0, {3, 3}, 2, 3, 3, 0, false, false};
    fixture f = fixture_setup(&small, NULL);

    (void)state;
    for (size_t trial = 0; trial < 200; trial++) {
        msw_tensor *t = fixture_random_tensor(&f), *z;
        msw_unified *u = fixture_project(&f, t, 0, 1, NULL);
        float v[9];

        ref_gather(v, t, f.plan, 0);
        z = fixture_dense(&f, u);
        assert_true(fabs(distance(&f, t, z, NULL, 0) - ref_unify_distance(v, NULL, 9)) <=
                    1e-12);
        msw_unified_free(u);
        fixture_free(z);
        fixture_free(t);
    }
    fixture_teardown(&f);
}

/* Projecting what is projected changes nothing, bit for bit. */
static void check_from_twice(fixture *f)
{
    msw_tensor *t = fixture_random_tensor(f), *h = fixture_random_tensor(f), *z, *again;
    msw_unified *u, *u2;

    for (size_t i = 0; i < msw_tensor_count(h); i++)
        *fixture_at(f, h, i) = fabsf(*fixture_at(f, h, i));
    for (int weighted = 0; weighted < 2; weighted++) {
        u = fixture_project(f, t, 0.375, 0.375, weighted ? h : NULL);
        z = fixture_dense(f, u);
        u2 = fixture_project(f, z, 0.375, 0.375, weighted ? h : NULL);
        again = fixture_dense(f, u2);
        assert_true(fixture_same_bits(f, z, again));
        msw_unified_free(u2);
        msw_unified_free(u);
        fixture_free(again);
        fixture_free(z);
    }
    fixture_free(h);
    fixture_free(t);
}

static void test_from_is_idempotent(void **state)
{
    (void)state;
    fixture_for_all(check_from_twice);
}

static void test_all_zero_importance_counts_as_none(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[1], NULL);
    msw_tensor *t = fixture_random_tensor(&f), *h = fixture_tensor(&f), *plain, *weighted;
    msw_unified *u, *u2;

    (void)state;
    for (size_t i = 0; i < msw_tensor_count(h); i++)
        *fixture_at(&f, h, i) = 0;
    u = fixture_project(&f, t, 0.4, 0.4, NULL);
    u2 = fixture_project(&f, t, 0.4, 0.4, h);
    plain = fixture_dense(&f, u);
    weighted = fixture_dense(&f, u2);
    assert_true(fixture_same_bits(&f, plain, weighted));
    msw_unified_free(u);
    msw_unified_free(u2);
    fixture_free(plain);
    fixture_free(weighted);
    fixture_free(h);
    fixture_free(t);
    fixture_teardown(&f);
}

/* Equal blocks: the lower numbers are pruned, the next unified. Zeros of either sign
 * count as positive. */
static void test_ties_and_zeros(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[1], NULL);
    const size_t blocks = f.info.block_count;
    msw_tensor *t = fixture_tensor(&f), *z;
    msw_unified *u;

    (void)state;
    for (size_t i = 0; i < msw_tensor_count(t); i++)
        *fixture_at(&f, t, i) = i % 2 ? -0.0f : 0.0f;
    u = fixture_project(&f, t, 0.25, 0.5, NULL);
    for (size_t b = 0; b < blocks; b++)
        assert_int_equal(msw_unified_classes(u)[b], b < blocks / 4 ? MSW_CLASS_PRUNED
                         : b < blocks / 4 + blocks / 2 ? MSW_CLASS_UNIFIED
                         : MSW_CLASS_FREE);
    z = fixture_dense(&f, u);
    for (size_t i = 0; i < msw_tensor_count(t); i++) {
        const size_t b = i / f.info.columns / 4 * f.info.block_column_count +
                         i % f.info.columns / 4;
        const bool free = msw_unified_classes(u)[b] == MSW_CLASS_FREE;

        assert_int_equal(!signbit(*fixture_at(&f, z, i)), !free || i % 2 == 0);
    }
    msw_unified_free(u);
    fixture_free(z);
    fixture_free(t);
    fixture_teardown(&f);
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
    fixture f = fixture_setup(&ragged, NULL);
    msw_unified_info info;
    msw_tensor *t;
    msw_unified *u;

    (void)state;
    t = fixture_random_tensor(&f);
    assert_int_equal(msw_unified_new(&u, f.plan, t, classes, 9), MSW_OK);
    info = fixture_info(u);
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
    assert_true(fabs(info.bits_per_weight - 8 * (double)info.bytes / 35) < 1e-12);
    assert_int_equal(info.multiplications, 13 + 2 + 2 + 1);
    assert_int_equal(info.additions, 13 + 11);
    assert_ptr_equal(msw_unified_ref(u), u);
    msw_unified_free(u);
    msw_unified_free(u);
    msw_unified_free(NULL);
    fixture_free(t);
    fixture_teardown(&f);
}

/* Arguments and poison. */

static void test_arguments(void **state)
{
    static const size_t transposed[2] = {31, 19};
    fixture f = fixture_setup(&fixture_layouts[1], NULL);
    const size_t blocks = f.info.block_count;
    msw_tensor *t = fixture_random_tensor(&f), *kept = fixture_copy(&f, t), *other;
    msw_unified *u = fixture_structure(&f, t), *none = u;
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
        assert_int_equal(fixture_project_in_place(NULL, u, (kind)k), MSW_E_INVAL);
        assert_int_equal(fixture_project_in_place(t, NULL, (kind)k), MSW_E_INVAL);
        assert_int_equal(fixture_project_in_place(other, u, (kind)k), MSW_E_INVAL);
    }
    assert_int_equal(msw_unified_project_slot(t, u, (msw_slot)2), MSW_E_INVAL);
    assert_int_equal(msw_unified_verify(NULL, u, t), MSW_E_INVAL);
    assert_int_equal(msw_unified_verify(&verified, NULL, t), MSW_E_INVAL);
    assert_int_equal(msw_unified_verify(&verified, u, NULL), MSW_E_INVAL);
    assert_int_equal(msw_unified_verify(&verified, u, other), MSW_E_INVAL);
    assert_int_equal(msw_unified_get_info(NULL, u), MSW_E_INVAL);
    assert_int_equal(msw_unified_get_info(&info, NULL), MSW_E_INVAL);
    assert_true(fixture_same_bits(&f, t, kept));

    free(classes);
    msw_unified_free(u);
    msw_tensor_free(other);
    fixture_free(kept);
    fixture_free(t);
    fixture_teardown(&f);
}

/* NaN or infinity anywhere is refused, and nothing has changed. */
static void check_poison(fixture *f, float poison)
{
    msw_tensor *t = fixture_random_tensor(f), *h = fixture_random_tensor(f), *kept;
    const size_t blocks = f->info.block_count, count = msw_tensor_count(t);
    msw_unified *u = fixture_structure(f, t), *none = u;
    msw_projection_options o;

    for (size_t i = 0; i < count; i++)
        *fixture_at(f, h, i) = fabsf(*fixture_at(f, h, i));
    msw_projection_options_init(&o);
    o.prune = 0.5;
    o.importance = h;
    *fixture_at(f, h, count - 1) = poison;
    assert_int_equal(msw_unified_from(&none, f->plan, t, &o), MSW_E_NUMERIC);
    assert_null(none);
    *fixture_at(f, h, count - 1) = 1;
    for (size_t i = 0; i < count; i += 1 + count / 7) {
        const float good = *fixture_at(f, t, i);

        *fixture_at(f, t, i) = poison;
        kept = fixture_copy(f, t);
        none = u;
        assert_int_equal(msw_unified_from(&none, f->plan, t, &o), MSW_E_NUMERIC);
        assert_null(none);
        assert_int_equal(msw_unified_new(&none, f->plan, t, msw_unified_classes(u), blocks),
                         MSW_E_NUMERIC);
        assert_int_equal(msw_unified_refit(&none, u, t), MSW_E_NUMERIC);
        assert_null(none);
        for (int k = 0; k < KINDS; k++)
            if (k != GRADIENT)
                assert_int_equal(fixture_project_in_place(t, u, (kind)k), MSW_E_NUMERIC);
        assert_true(fixture_same_bits(f, t, kept));
        fixture_free(kept);
        *fixture_at(f, t, i) = good;
    }
    msw_unified_free(u);
    fixture_free(h);
    fixture_free(t);
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
    fixture_for_all(check_poisons);
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
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_poison),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
