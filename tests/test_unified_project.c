/* SPDX-License-Identifier: BSD-2-Clause */
#include "faults.h"
#include "fixture.h"
#include "internal.h"

#include <math.h>
#include <string.h>

/* msw_unified_project() and its kin against the definition. */

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
    msw_tensor *w = fixture_random_tensor(f), *structure;
    msw_unified *u = fixture_structure(f, w);

    structure = fixture_dense(f, u);
    for (int k = 0; k < KINDS; k++) {
        msw_tensor *before = fixture_random_tensor(f);
        msw_tensor *after = fixture_copy(f, before), *once;

        assert_int_equal(fixture_project_in_place(after, u, (kind)k), MSW_OK);
        for (size_t b = 0; b < f->info.block_count; b++)
            check_projected_block(f, structure, u, before, after, b, (kind)k);
        once = fixture_copy(f, after);
        assert_int_equal(fixture_project_in_place(after, u, (kind)k), MSW_OK);
        assert_true(fixture_same_bits(f, once, after));
        fixture_free(once);
        fixture_free(after);
        fixture_free(before);
    }
    msw_unified_free(u);
    fixture_free(structure);
    fixture_free(w);
}

static void test_project(void **state)
{
    (void)state;
    fixture_for_all(check_project);
}

/* Means that round to zero, from either side, and the least and largest of floats:
 * projecting twice changes nothing. */
static void test_project_extremes_twice(void **state)
{
    static const float values[] = {-1e-45f, 0, -0.0f, 1e-45f, 3e38f, -3e38f, 1e-38f};
    fixture f = fixture_setup(&fixture_layouts[1], NULL);
    msw_tensor *w = fixture_random_tensor(&f);
    msw_unified *u = fixture_structure(&f, w);

    (void)state;
    for (size_t trial = 0; trial < 50; trial++) {
        const size_t most = trial < 25 ? 4 : sizeof values / sizeof *values;
        msw_tensor *once = fixture_tensor(&f), *twice;

        for (size_t i = 0; i < msw_tensor_count(once); i++)
            *fixture_at(&f, once, i) = values[ref_below(&f.random, most)];
        assert_int_equal(msw_unified_project(once, u), MSW_OK);
        twice = fixture_copy(&f, once);
        assert_int_equal(msw_unified_project(twice, u), MSW_OK);
        assert_true(fixture_same_bits(&f, once, twice));
        fixture_free(twice);
        fixture_free(once);
    }
    msw_unified_free(u);
    fixture_free(w);
    fixture_teardown(&f);
}

/* A gradient may overflow; its own block only is lost. */
static void test_gradient_that_is_not_finite(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[0], NULL);
    msw_tensor *w = fixture_random_tensor(&f), *g = fixture_random_tensor(&f);
    msw_unified *u = fixture_project(&f, w, 0, 1, NULL);

    (void)state;
    *fixture_at(&f, g, 0) = NAN;
    assert_int_equal(msw_unified_project_gradient(g, u), MSW_OK);
    for (size_t i = 0; i < msw_tensor_count(g); i++) {
        const bool lost = i / f.info.columns < 8 && i % f.info.columns < 8;
        assert_int_equal(isfinite(*fixture_at(&f, g, i)) != 0, !lost);
    }
    msw_unified_free(u);
    fixture_free(g);
    fixture_free(w);
    fixture_teardown(&f);
}

/* msw_unified_refit(): what msw_unified_project() leaves, with magnitudes >= 0. */

static void check_refit(fixture *f)
{
    msw_tensor *w = fixture_random_tensor(f);
    msw_tensor *trained = fixture_random_tensor(f), *kept, *z;
    msw_unified *u = fixture_structure(f, w), *u2;
    size_t negative = 0;

    kept = fixture_copy(f, trained);
    assert_int_equal(msw_unified_refit(&u2, u, trained), MSW_OK);
    assert_true(fixture_same_bits(f, trained, kept));
    assert_memory_equal(msw_unified_classes(u), msw_unified_classes(u2),
                        f->info.block_count);
    for (size_t b = 0; b < f->info.block_count; b++)
        assert_true(msw_unified_magnitude(u2, b) >= 0);
    assert_int_equal(msw_unified_project(trained, u), MSW_OK);
    z = fixture_dense(f, u2);
    assert_true(fixture_same_bits(f, z, trained));
    assert_int_equal(fixture_verify(u, trained).violations, 0); /* flipped or not */
    assert_int_equal(fixture_verify(u2, trained).violations, 0);
    /* with the signs of u2 too, nothing changes */
    assert_int_equal(msw_unified_project(trained, u2), MSW_OK);
    assert_true(fixture_same_bits(f, z, trained));
    for (size_t i = 0; i < u->sign_start[f->info.block_row_count]; i++)
        negative += msw__sign_get(u->signs, i) != msw__sign_get(u2->signs, i);
    assert_true(negative > 0 || fixture_info(u).unified_blocks < 8);
    msw_unified_free(u2);
    msw_unified_free(u);
    fixture_free(z);
    fixture_free(kept);
    fixture_free(trained);
    fixture_free(w);
}

static void test_refit(void **state)
{
    (void)state;
    fixture_for_all(check_refit);
}

static void test_refit_flips_and_keeps(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[0], NULL);
    msw_tensor *w = fixture_random_tensor(&f), *z;
    msw_unified *u = fixture_project(&f, w, 0, 1, NULL), *flipped, *zero;
    const size_t signs = u->sign_start[f.info.block_row_count];

    (void)state;
    z = fixture_dense(&f, u);
    for (size_t i = 0; i < msw_tensor_count(z); i++)
        *fixture_at(&f, z, i) *= -2;
    assert_int_equal(msw_unified_refit(&flipped, u, z), MSW_OK);
    for (size_t b = 0; b < f.info.block_count; b++)
        assert_true(msw_unified_magnitude(flipped, b) == 2 * msw_unified_magnitude(u, b));
    for (size_t i = 0; i < signs; i++)
        assert_int_not_equal(msw__sign_get(u->signs, i), msw__sign_get(flipped->signs, i));
    for (size_t i = 0; i < msw_tensor_count(z); i++)
        *fixture_at(&f, z, i) = -0.0f;
    assert_int_equal(msw_unified_refit(&zero, u, z), MSW_OK);
    assert_memory_equal(zero->signs, u->signs, (signs + 7) / 8);
    for (size_t b = 0; b < f.info.block_count; b++)
        assert_true(msw_unified_magnitude(zero, b) == 0);
    msw_unified_free(zero);
    msw_unified_free(flipped);
    msw_unified_free(u);
    fixture_free(z);
    fixture_free(w);
    fixture_teardown(&f);
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
    const msw_unified_info counts = fixture_info(u);
    msw_tensor *t = fixture_copy(f, good);
    msw_verify_info info;
    msw_block b;

    msw_block_init(&b);
    assert_int_equal(msw_plan_get_block(&b, f->plan, block), MSW_OK);
    *ref_at(t, f->plan, b.row + row, b.column + column) = wrong;
    info = fixture_verify(u, t);
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
    fixture_free(t);
}

static void test_verify(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[3], NULL); /* 3x5, strided, permuted */
    msw_tensor *w = fixture_random_tensor(&f), *z;
    msw_unified *u = fixture_structure(&f, w);
    size_t pruned, unified, free;
    msw_verify_info info;

    (void)state;
    pruned = first_block_of(u, 20, MSW_CLASS_PRUNED);
    unified = first_block_of(u, 20, MSW_CLASS_UNIFIED);
    free = first_block_of(u, 20, MSW_CLASS_FREE);
    z = fixture_dense(&f, u);
    info = fixture_verify(u, z);
    assert_int_equal(info.violations, 0);
    assert_true(info.first == UINT64_MAX);
    assert_int_equal(info.free_blocks, fixture_info(u).free_blocks);
    assert_int_equal(info.pruned_blocks, fixture_info(u).pruned_blocks);
    assert_int_equal(info.unified_blocks, fixture_info(u).unified_blocks);
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
        *fixture_at(&f, w, i) = 1 + (float)i;
    info = fixture_verify(u, w);
    assert_int_equal(info.violations,
                     fixture_info(u).pruned_blocks + fixture_info(u).unified_blocks);
    pruned = first_block_of(u, 0, MSW_CLASS_PRUNED);
    unified = first_block_of(u, 0, MSW_CLASS_UNIFIED);
    assert_int_equal(info.first, pruned < unified ? pruned : unified);
    assert_int_equal(info.pruned_blocks + info.unified_blocks, 0);
    msw_unified_free(u);
    fixture_free(z);
    fixture_free(w);
    fixture_teardown(&f);
}

/* A single sign that differs is a violation, all of them are not. */
static void test_verify_signs(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[0], NULL);
    msw_tensor *w = fixture_random_tensor(&f), *z;
    msw_unified *u = fixture_project(&f, w, 0, 1, NULL);
    float *v;

    (void)state;
    z = fixture_dense(&f, u);
    v = ref_at(z, f.plan, 3, 9);
    *v = -*v;
    assert_int_equal(fixture_verify(u, z).violations, 1);
    assert_int_equal(fixture_verify(u, z).first, 1);
    assert_int_equal(fixture_verify(u, z).row, 3);
    assert_int_equal(fixture_verify(u, z).column, 9);
    *v = -*v;
    for (size_t i = 0; i < msw_tensor_count(z); i++)
        *fixture_at(&f, z, i) = -*fixture_at(&f, z, i);
    assert_int_equal(fixture_verify(u, z).violations, 0);
    for (size_t i = 0; i < msw_tensor_count(z); i++)
        *fixture_at(&f, z, i) = i % 2 ? -0.0f : 0.0f; /* magnitude 0 has no sign */
    assert_int_equal(fixture_verify(u, z).violations, 0);
    for (size_t i = 0; i < msw_tensor_count(z); i++)
        *fixture_at(&f, z, i) = NAN;
    assert_int_equal(fixture_verify(u, z).violations, f.info.block_count);
    msw_unified_free(u);
    fixture_free(z);
    fixture_free(w);
    fixture_teardown(&f);
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

    return hash_bytes(hash, msw_tensor_data(t),
                      fixture_place(f->layout, strides) * sizeof(float));
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
    fixture f = fixture_setup(l, options);
    msw_tensor *t = fixture_random_tensor(&f), *h = fixture_random_tensor(&f), *z;
    msw_unified *u, *u2;
    msw_verify_info info;
    uint64_t hash = 1;

    for (size_t i = 0; i < msw_tensor_count(h); i++)
        *fixture_at(&f, h, i) = fabsf(*fixture_at(&f, h, i));
    u = fixture_project(&f, t, 0.25, 0.5, NULL);
    hash = hash_unified(hash, &f, u);
    z = fixture_dense(&f, u);
    hash = hash_tensor(hash, &f, z);
    for (int k = 0; k < KINDS; k++) {
        msw_tensor *x = fixture_random_tensor(&f);

        assert_int_equal(fixture_project_in_place(x, u, (kind)k), MSW_OK);
        hash = hash_tensor(hash, &f, x);
        fixture_free(x);
    }
    info = fixture_verify(u, t);
    hash = hash_bytes(hash, &info, sizeof info);
    assert_int_equal(msw_unified_refit(&u2, u, h), MSW_OK);
    hash = hash_unified(hash, &f, u2);
    msw_unified_free(u2);
    msw_unified_free(u);
    u = fixture_project(&f, t, 0.25, 0.5, h);
    hash = hash_unified(hash, &f, u);
    msw_unified_free(u);
    fixture_free(z);
    fixture_free(h);
    fixture_free(t);
    fixture_teardown(&f);
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
    f = fixture_setup(&wide_layouts[0], &o);
    t = fixture_random_tensor(&f);
    kept = fixture_copy(&f, t);
    u = fixture_structure(&f, t);
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
    assert_true(fixture_same_bits(&f, t, kept));
    assert_int_equal(msw_unified_project(t, u), MSW_E_HOST);
    p = (pool){.mode = POOL_IN_ORDER}; /* doing it again makes it good */
    assert_int_equal(msw_unified_project(t, u), MSW_OK);
    assert_int_equal(msw_unified_project(kept, u), MSW_OK);
    assert_true(fixture_same_bits(&f, t, kept));
    msw_unified_free(u);
    fixture_free(kept);
    fixture_free(t);
    fixture_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_project),
        cmocka_unit_test(test_project_extremes_twice),
        cmocka_unit_test(test_gradient_that_is_not_finite),
        cmocka_unit_test(test_refit),
        cmocka_unit_test(test_refit_flips_and_keeps),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_verify_signs),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_failing_pool),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
