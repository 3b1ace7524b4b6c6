/* SPDX-License-Identifier: BSD-2-Clause */
#include "internal.h"
#include "project.h"
#include "ref.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TRIALS = 2000, BLOCK = 4, MOST_BLOCKS = 2048 };

static bool close_to(double x, double y, double tolerance)
{
    return fabs(x - y) <= tolerance * fmax(fabs(x), fabs(y));
}

/* Costs of one block. */

static void check_costs(uint64_t *random, size_t rows, size_t columns, bool weighted)
{
    const size_t ld = columns + ref_below(random, 3), n = rows * columns;
    float v[16 * 20], h[16 * 20], dense[256], importance[256];
    msw__block_costs costs;
    ref_block expected;

    for (size_t i = 0; i < rows * ld; i++) {
        v[i] = (float)ref_normal(random);
        h[i] = 1e-3f + (float)ref_uniform(random);
    }
    for (size_t i = 0; i < n; i++) {
        dense[i] = v[i / columns * ld + i % columns];
        importance[i] = h[i / columns * ld + i % columns];
    }
    expected = ref_costs(dense, weighted ? importance : NULL, n);
    costs = msw__block_cost(v, ld, weighted ? h : NULL, ld, rows, columns);
    assert_true(close_to(costs.prune, expected.prune, 1e-13));
    assert_true(close_to(costs.magnitude, expected.magnitude, 1e-13));
    assert_true(fabs(costs.unify - expected.unify) <= 1e-13 * expected.prune);
    assert_true(costs.unify >= 0 && costs.unify <= costs.prune);
    assert_true(msw__block_magnitude(v, ld, weighted ? h : NULL, ld, rows, columns) ==
                (float)costs.magnitude);
}

static void test_costs(void **state)
{
    uint64_t random = 11;

    (void)state;
    for (size_t rows = 1; rows <= 16; rows++)
        for (size_t columns = 1; columns <= 16; columns++)
            for (int weighted = 0; weighted < 2; weighted++)
                check_costs(&random, rows, columns, weighted);
}

/* The largest block, equal weights of any value: nothing is lost. */
static void test_costs_of_equal_weights(void **state)
{
    static const float values[] = {0.1f, 1.1754944e-38f, 1e-45f, 0.33333334f, FLT_MAX, 0};
    static float v[64 * 64], h[64 * 64];
    uint64_t random = 12;

    (void)state;
    for (size_t k = 0; k < sizeof values / sizeof *values; k++)
        for (size_t side = 1; side <= 64; side += 7) {
            for (size_t i = 0; i < 64 * 64; i++) {
                v[i] = i % 3 ? values[k] : -values[k];
                h[i] = 1e-3f + (float)ref_uniform(&random);
            }
            const msw__block_costs costs = msw__block_cost(v, 64, NULL, 0, side, 64);
            assert_true(costs.unify == 0);
            assert_true(costs.magnitude == (double)values[k]);
            assert_true(msw__block_magnitude(v, 64, NULL, 0, side, 64) == values[k]);
            assert_true(msw__block_magnitude(v, 64, h, 64, side, 64) == values[k]);
        }
}

/* A nearly unified block: a - n m^2 would be noise here. */
static void test_costs_do_not_cancel(void **state)
{
    const float v[4] = {1, 1.0000001f, 1, -1};
    const double e = ((double)v[1] - 1) / 4;
    const msw__block_costs costs = msw__block_cost(v, 2, NULL, 0, 2, 2);

    (void)state;
    assert_true(close_to(costs.unify, 12 * e * e, 1e-6));
}

/* Sign times mean magnitude is the closest of all points of one magnitude. */
static void test_unify_is_closest(void **state)
{
    uint64_t random = 13;

    (void)state;
    for (size_t trial = 0; trial < 600; trial++) {
        const size_t n = 1 + ref_below(&random, 8);
        float v[8], h[8];
        double weighted, plain;

        for (size_t i = 0; i < n; i++) {
            v[i] = (float)ref_normal(&random);
            h[i] = 1e-3f + (float)ref_uniform(&random);
        }
        plain = ref_unify_distance(v, NULL, n);
        weighted = ref_unify_distance(v, h, n);
        assert_true(fabs(msw__block_cost(v, n, NULL, 0, 1, n).unify - plain) <= 1e-14);
        assert_true(fabs(msw__block_cost(v, n, h, n, 1, n).unify - weighted) <= 1e-14);
    }
}

/* Costs as floats: neither vanish nor overflow where weights do not. */
static void test_candidates(void **state)
{
    const float least[1] = {1e-45f}, most[4] = {FLT_MAX, -FLT_MAX, 0, FLT_MAX};
    msw__block_costs costs = msw__block_cost(least, 1, NULL, 0, 1, 1);
    msw__candidate x = msw__candidate_of(7, &costs);

    (void)state;
    assert_int_equal(x.block, 7);
    assert_true(x.prune == least[0]);
    assert_true(x.unify == 0);
    costs = msw__block_cost(most, 2, NULL, 0, 2, 2);
    x = msw__candidate_of(8, &costs);
    assert_true(x.prune == FLT_MAX && isfinite(x.unify) && x.unify > 0);
}

/* The joint projection. */

typedef enum family {
    CONTINUOUS, FEW_LEVELS, REPEATED, LOG_NORMAL, WIDE, DECAYED, ZEROS, FAMILIES
} family;

static double scale_of(family f, uint64_t *random)
{
    switch (f) {
    case LOG_NORMAL: return exp(8 * ref_normal(random));
    case WIDE: return pow(10, -12 + 14 * ref_uniform(random));
    case DECAYED: return ref_below(random, 2) ? 1e-10 : 1;
    case ZEROS: return ref_below(random, 3) ? 0 : 1;
    default: return 1;
    }
}

static void make_block(float *v, family f, uint64_t *random)
{
    const double scale = scale_of(f, random);

    for (size_t i = 0; i < BLOCK; i++) {
        const double x = ref_normal(random) * scale;
        v[i] = (float)(f == FEW_LEVELS ? round(x) : x);
    }
}

static void make_candidates(msw__candidate *x, size_t count, family f, bool weighted,
                            uint64_t *random)
{
    for (size_t b = 0; b < count; b++) {
        float v[BLOCK], h[BLOCK];
        msw__block_costs costs;

        make_block(v, f, random);
        for (size_t i = 0; i < BLOCK; i++)
            h[i] = msw__importance_at((float)exp(3 * ref_normal(random)), 1);
        costs = msw__block_cost(v, 2, weighted ? h : NULL, 2, 2, 2);
        x[b] = msw__candidate_of((uint32_t)b, &costs);
        if (f == REPEATED && b && ref_uniform(random) < 0.6) {
            x[b] = x[ref_below(random, b)];
            x[b].block = (uint32_t)b;
        }
    }
}

/* Sum of the costs of what was chosen; checks that the numbers are right. */
static double chosen_cost(const uint8_t *classes, const double *prune_costs,
                          const double *unify_costs, size_t count, size_t prune,
                          size_t unify)
{
    double sum = 0;

    for (size_t b = 0; b < count; b++) {
        assert_in_range(classes[b], MSW_CLASS_FREE, MSW_CLASS_UNIFIED);
        if (classes[b] == MSW_CLASS_PRUNED) {
            sum += prune_costs[b];
            prune--;
        } else if (classes[b] == MSW_CLASS_UNIFIED) {
            sum += unify_costs[b];
            unify--;
        }
    }
    assert_int_equal(prune, 0);
    assert_int_equal(unify, 0);
    return sum;
}

typedef double oracle(const double *, const double *, size_t, size_t, size_t);

static void check_joint(const msw__candidate *made, size_t count, size_t prune,
                        size_t unify, oracle *best)
{
    double prune_costs[REF_MOST], unify_costs[REF_MOST];
    msw__candidate x[REF_MOST];
    uint8_t classes[REF_MOST];
    double cost;

    for (size_t b = 0; b < count; b++) {
        prune_costs[b] = (double)made[b].prune * (double)made[b].prune;
        unify_costs[b] = (double)made[b].unify * (double)made[b].unify;
        x[b] = made[b];
    }
    msw__project_classes(classes, x, count, prune, unify);
    cost = chosen_cost(classes, prune_costs, unify_costs, count, prune, unify);
    assert_true(cost <= best(prune_costs, unify_costs, count, prune, unify) * (1 + 1e-12));
}

static void check_family(family f, bool weighted)
{
    uint64_t random = 100 + (uint64_t)f;

    for (size_t trial = 0; trial < TRIALS; trial++) {
        const size_t count = 4 + ref_below(&random, 6);
        const size_t prune = ref_below(&random, count + 1);
        const size_t unify = ref_below(&random, count - prune + 1);
        msw__candidate x[9];

        make_candidates(x, count, f, weighted, &random);
        check_joint(x, count, prune, unify, ref_joint_cost);
        check_joint(x, count, prune, 0, ref_joint_cost);
        check_joint(x, count, 0, unify, ref_joint_cost);
    }
}

static void test_joint_is_least(void **state)
{
    (void)state;
    for (int f = 0; f < FAMILIES; f++)
        check_family((family)f, false);
}

static void test_joint_is_least_weighted(void **state)
{
    (void)state;
    for (int f = 0; f < FAMILIES; f++)
        check_family((family)f, true);
}

/* More blocks, where selection takes several steps and ties are many. */
static void test_joint_of_many(void **state)
{
    uint64_t random = 14;

    (void)state;
    for (size_t trial = 0; trial < 100 * FAMILIES; trial++) {
        const size_t count = 20 + ref_below(&random, REF_MOST - 19);
        const size_t prune = ref_below(&random, count + 1);
        const size_t unify = ref_below(&random, count - prune + 1);
        msw__candidate x[REF_MOST];

        make_candidates(x, count, (family)(trial % FAMILIES), trial & 1, &random);
        check_joint(x, count, prune, unify, ref_joint_cost_table);
    }
}

/* The order in which the candidates lie does not matter, and numbers are exact, also
 * where the selection samples. */
static int ascending(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;

    return (a > b) - (a < b);
}

/* What no choice can undercut: with a price for every pruned block, the least of all keys
 * and what the price is paid back. */
static double dual_bound(const msw__candidate *x, size_t count, size_t prune, size_t unify,
                         double price)
{
    static double keys[20000];
    double sum = price * (double)prune;

    for (size_t b = 0; b < count; b++) {
        const double a = (double)x[b].prune * (double)x[b].prune;
        const double c = (double)x[b].unify * (double)x[b].unify;

        keys[b] = fmin(a - price, c);
    }
    qsort(keys, count, sizeof *keys, ascending);
    for (size_t b = 0; b < prune + unify; b++)
        sum += keys[b];
    return sum;
}

/* So many blocks that the price is first guessed from some: at the best price the bound,
 * which is concave, is reached. */
static void test_joint_of_very_many(void **state)
{
    static msw__candidate x[20000], scratch[20000];
    static uint8_t classes[20000];
    uint64_t random = 21;

    (void)state;
    for (int round = 0; round < 12; round++) {
        const size_t count = 8000 + ref_below(&random, 12001);
        const size_t prune = ref_below(&random, count / 2), unify = ref_below(&random, count / 2);
        size_t counts[3] = {0, 0, 0};
        double cost = 0, low = 0, high = 0;

        for (size_t b = 0; b < count; b++) {
            const double mean = exp((round % 3) * ref_normal(&random));
            const double rest = round % 4 == 3 ? (double)ref_below(&random, 3)
                                               : ref_uniform(&random);

            x[b] = (msw__candidate){(float)sqrt(mean + rest), (float)sqrt(rest), (uint32_t)b};
            high = fmax(high, 2 * (mean + rest));
        }
        memcpy(scratch, x, sizeof x);
        msw__project_classes(classes, scratch, count, prune, unify);
        for (size_t b = 0; b < count; b++) {
            const float root = classes[b] == MSW_CLASS_PRUNED    ? x[b].prune
                               : classes[b] == MSW_CLASS_UNIFIED ? x[b].unify : 0;

            counts[classes[b]]++;
            cost += (double)root * (double)root;
        }
        assert_int_equal(counts[MSW_CLASS_PRUNED], prune);
        assert_int_equal(counts[MSW_CLASS_UNIFIED], unify);
        for (int i = 0; i < 80; i++) {
            const double p = low + (high - low) / 3, q = high - (high - low) / 3;

            if (dual_bound(x, count, prune, unify, p) < dual_bound(x, count, prune, unify, q))
                low = p;
            else
                high = q;
        }
        assert_true(close_to(cost, dual_bound(x, count, prune, unify, low), 1e-6));
    }
}

static void test_order_does_not_matter(void **state)
{
    static msw__candidate x[MOST_BLOCKS], y[MOST_BLOCKS];
    static uint8_t classes[MOST_BLOCKS], again[MOST_BLOCKS];
    uint64_t random = 15;

    (void)state;
    for (size_t trial = 0; trial < 20 * FAMILIES; trial++) {
        const size_t count = 2 + ref_below(&random, MOST_BLOCKS - 1);
        const size_t prune = ref_below(&random, count + 1);
        const size_t unify = ref_below(&random, count - prune + 1);
        size_t pruned = 0, unified = 0;

        make_candidates(x, count, (family)(trial % FAMILIES), false, &random);
        memcpy(y, x, sizeof x);
        for (size_t i = count; i-- > 1;) {
            const size_t k = ref_below(&random, i + 1);
            const msw__candidate kept = y[i];
            y[i] = y[k];
            y[k] = kept;
        }
        msw__project_classes(classes, x, count, prune, unify);
        msw__project_classes(again, y, count, prune, unify);
        assert_memory_equal(classes, again, count);
        for (size_t b = 0; b < count; b++) {
            pruned += classes[b] == MSW_CLASS_PRUNED;
            unified += classes[b] == MSW_CLASS_UNIFIED;
        }
        assert_int_equal(pruned, prune);
        assert_int_equal(unified, unify);
    }
}

static void project_pairs(uint8_t *classes, const float (*roots)[2], size_t count,
                          size_t prune, size_t unify)
{
    msw__candidate x[16];

    for (size_t b = 0; b < count; b++)
        x[b] = (msw__candidate){roots[b][0], roots[b][1], (uint32_t)b};
    msw__project_classes(classes, x, count, prune, unify);
}

static void test_ties_go_to_lower_numbers(void **state)
{
    static const float same[6][2] = {{2, 1}, {2, 1}, {2, 1}, {2, 1}, {2, 1}, {2, 1}};
    static const float swapped[4][2] = {{10, 1}, {3, 2}, {10, 1}, {3, 2}};
    static const float zero[5][2] = {{0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}};
    uint8_t classes[6];

    (void)state;
    project_pairs(classes, same, 6, 2, 0);
    assert_memory_equal(classes, "\1\1\0\0\0", 6);
    project_pairs(classes, same, 6, 0, 3);
    assert_memory_equal(classes, "\2\2\2\0\0", 6);
    project_pairs(classes, same, 6, 2, 3);
    assert_memory_equal(classes, "\1\1\2\2\2", 6);
    project_pairs(classes, same, 6, 1, 5);
    assert_memory_equal(classes, "\1\2\2\2\2\2", 6);
    /* two pairs could change places at the same cost: the first comes, the last goes */
    project_pairs(classes, swapped, 4, 1, 1);
    assert_memory_equal(classes, "\2\1\0\0", 4);
    project_pairs(classes, zero, 5, 2, 2);
    assert_memory_equal(classes, "\1\1\2\2\0", 5);
    project_pairs(classes, zero, 5, 0, 0);
    assert_memory_equal(classes, "\0\0\0\0\0", 5);
}

/* "Prune first, unify the rest" would prune block 0 and pay 9 + 9.61 in place of 10.24. */
static void test_pruning_first_is_worse(void **state)
{
    static const float roots[3][2] = {{3, 0}, {3.2f, 3.1f}, {20, 10}};
    uint8_t classes[3];

    (void)state;
    project_pairs(classes, roots, 3, 1, 1);
    assert_memory_equal(classes, "\2\1\0", 3);
}

static void test_extreme_costs(void **state)
{
    static const float roots[6][2] = {{FLT_MAX, FLT_MAX}, {FLT_MAX, 0}, {1e-45f, 0},
                                      {1e-45f, 1e-45f}, {FLT_MIN, 0}, {1, 1}};
    uint8_t classes[6];

    (void)state;
    for (size_t prune = 0; prune <= 6; prune++)
        for (size_t unify = 0; prune + unify <= 6; unify++) {
            size_t pruned = 0, unified = 0;

            project_pairs(classes, roots, 6, prune, unify);
            for (size_t b = 0; b < 6; b++) {
                pruned += classes[b] == MSW_CLASS_PRUNED;
                unified += classes[b] == MSW_CLASS_UNIFIED;
            }
            assert_int_equal(pruned, prune);
            assert_int_equal(unified, unify);
        }
}

/* Shares and importance. */

static void test_shares(void **state)
{
    size_t prune, unify;

    (void)state;
    assert_true(msw__shares_valid(0, 0));
    assert_true(msw__shares_valid(1, 0));
    assert_true(msw__shares_valid(0.7, 0.3));
    assert_false(msw__shares_valid(-0.1, 0));
    assert_false(msw__shares_valid(0, -0.1));
    assert_false(msw__shares_valid(0.6, 0.5));
    assert_false(msw__shares_valid((double)NAN, 0));
    assert_false(msw__shares_valid(0, (double)NAN));
    assert_false(msw__shares_valid((double)INFINITY, 0));
    for (size_t percent = 0; percent <= 100; percent++) {
        msw__shares_count(&prune, &unify, (double)percent / 100,
                          (double)(100 - percent) / 100, 100);
        assert_int_equal(prune, percent);
        assert_int_equal(unify, 100 - percent);
    }
    msw__shares_count(&prune, &unify, 0.5, 0.5, 3);
    assert_int_equal(prune, 1);
    assert_int_equal(unify, 1);
    msw__shares_count(&prune, &unify, 0.999, 0, 1);
    assert_int_equal(prune, 0);
    msw__shares_count(&prune, &unify, 1, 0, UINT32_MAX);
    assert_int_equal(prune, UINT32_MAX);
    msw__shares_count(&prune, &unify, 0, 1 + 1e-13, UINT32_MAX);
    assert_int_equal(unify, UINT32_MAX);
    assert_true(msw__shares_valid(0.5 + 5e-13, 0.5 + 4e-13));
    msw__shares_count(&prune, &unify, 0.5 + 5e-13, 0.5 + 4e-13, UINT32_MAX - 1);
    assert_int_equal(prune + unify, UINT32_MAX - 1);
}

static void test_importance(void **state)
{
    static const size_t shape[2] = {2, 3}, strides[2] = {4, 1};
    float h[8] = {1, 2, 3, -99, 0, 6, 12, -99};
    msw__importance importance;
    msw_context *ctx;
    msw_tensor *t;

    (void)state;
    assert_int_equal(msw_context_new(&ctx, NULL), MSW_OK);
    assert_int_equal(msw_tensor_borrow(&t, ctx, h, shape, strides, 2), MSW_OK);
    assert_int_equal(msw__importance_of(&importance, t), MSW_OK);
    assert_ptr_equal(importance.h, t);
    assert_true(importance.scale == 0.25);
    assert_true(msw__importance_at(12, importance.scale) == 3);
    /* as a float, also where sums have more bits (x87) */
    assert_true((float)msw__importance_at(0, importance.scale) == (float)MSW__IMPORTANCE_FLOOR);

    h[5] = NAN;
    assert_int_equal(msw__importance_of(&importance, t), MSW_E_NUMERIC);
    h[5] = INFINITY;
    assert_int_equal(msw__importance_of(&importance, t), MSW_E_NUMERIC);
    h[5] = -1e-30f;
    assert_int_equal(msw__importance_of(&importance, t), MSW_E_INVAL);
    memset(h, 0, sizeof h);
    assert_int_equal(msw__importance_of(&importance, t), MSW_OK);
    assert_null(importance.h);
    h[0] = 1e-45f; /* 6 times the mean, though its reciprocal is no float */
    assert_int_equal(msw__importance_of(&importance, t), MSW_OK);
    assert_true(msw__importance_at(h[0], importance.scale) == 6);
    assert_int_equal(msw__importance_of(&importance, NULL), MSW_OK);
    assert_null(importance.h);
    msw_tensor_free(t);
    msw_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_costs),
        cmocka_unit_test(test_costs_of_equal_weights),
        cmocka_unit_test(test_costs_do_not_cancel),
        cmocka_unit_test(test_unify_is_closest),
        cmocka_unit_test(test_candidates),
        cmocka_unit_test(test_joint_is_least),
        cmocka_unit_test(test_joint_is_least_weighted),
        cmocka_unit_test(test_joint_of_many),
        cmocka_unit_test(test_joint_of_very_many),
        cmocka_unit_test(test_order_does_not_matter),
        cmocka_unit_test(test_ties_go_to_lower_numbers),
        cmocka_unit_test(test_pruning_first_is_worse),
        cmocka_unit_test(test_extreme_costs),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_importance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
