/* SPDX-License-Identifier: BSD-2-Clause */
/* Data-parallel runs that end as one rank alone would. */
#include "ranks_fixture.h"
#include "ref.h"

#include <math.h>
#include <string.h>

/* The mean of equal gradients is that gradient, so ranks on the same data end with the
 * bits of one that is alone. */
static void test_same_data(void **state)
{
    static float alone[ALL];
    uint64_t hash = 0;

    (void)state;
    for (unsigned count = 1; count <= MOST; count *= 2) {
        open_group(count);
        for (unsigned i = 0; i < count; i++) {
            ranks[i].first_sample = 0;
            ranks[i].samples = SAMPLES;
        }
        train_group();
        if (count == 1) {
            assert_int_equal(ranks[0].sums, 0);
            memcpy(alone, ranks[0].w, sizeof alone);
            hash = hash_of(&ranks[0]);
        }
        assert_memory_equal(ranks[0].w, alone, sizeof alone);
        assert_int_equal(hash_of(&ranks[0]), hash);
        close_group();
    }
}

static void test_soft_projection(void **state)
{
    (void)state;
    relaxation = MSW_RELAXATION_SOFT;
    test_same_data(state);
    relaxation = MSW_RELAXATION_ADMM;
}

static void test_merging(void **state)
{
    (void)state;
    merging = true;
    test_same_data(state);
    merging = false;
}

static void test_envelope(void **state)
{
    (void)state;
    relaxation = MSW_RELAXATION_ENVELOPE;
    test_same_data(state);
    relaxation = MSW_RELAXATION_ADMM;
}

static void test_straight(void **state)
{
    (void)state;
    relaxation = MSW_RELAXATION_STRAIGHT;
    test_same_data(state);
    relaxation = MSW_RELAXATION_ADMM;
}

/* One rank projects for all; what fails there fails everywhere. */
static void test_own_projection(void **state)
{
    (void)state;
    own_projection = true;
    for (unsigned count = 2; count <= MOST; count++) {
        open_group(count);
        run_group(2 * EVERY);
        assert_all(MSW_OK);
        assert_same_bits();
        for (unsigned i = 0; i < count; i++)
            assert_int_equal(ranks[i].projections, i ? 0 : 3);
        ranks[0].bad_projection = 4;
        run_group(EVERY);
        assert_all(MSW_E_NUMERIC);
        assert_same_bits();
        run_group(EVERY);
        assert_all(MSW_OK);
        assert_same_bits();
        close_group();
    }
    own_projection = false;
}

/* Ranks that share a mini-batch do what one does with all of it, up to rounding; twice
 * the same. */
static void test_shared_data(void **state)
{
    static float alone[ALL], first[ALL];

    (void)state;
    for (unsigned count = 1; count <= MOST; count *= 2) {
        for (int again = 0; again < 2; again++) {
            open_group(count);
            train_group();
            if (count == 1)
                memcpy(alone, ranks[0].w, sizeof alone);
            for (size_t i = 0; i < ALL; i++)
                assert_true(fabsf(ranks[0].w[i] - alone[i]) <= 1e-4f);
            if (again)
                assert_memory_equal(ranks[0].w, first, sizeof first);
            memcpy(first, ranks[0].w, sizeof first);
            close_group();
        }
    }
}

static void test_three_ranks(void **state)
{
    (void)state;
    open_group(3);
    train_group();
    close_group();
}

static void test_stop(void **state)
{
    (void)state;
    open_group(4);
    ranks[2].bad_at = 3;
    ranks[2].ask_stop = true;
    run_group(50);
    assert_all(MSW_OK);
    assert_same_bits();
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(msw_admm_stop_reason(ranks[i].admm), MSW_STOP_REQUESTED);
        assert_int_equal(ranks[i].calls, 3);
    }
    msw_admm_stop(ranks[1].admm); /* the next run ends at once, everywhere, once */
    run_group(50);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(ranks[i].calls, 3);
    run_group(2);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(ranks[i].calls, 5);
    close_group();
}

static void test_progress_stops(void **state)
{
    (void)state;
    open_group(2);
    ranks[1].progress_code = 9;
    run_group(50);
    assert_all(MSW_OK);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(msw_admm_stop_reason(ranks[i].admm), MSW_STOP_HOST);
        assert_int_equal(ranks[i].calls, EVERY);
    }
    ranks[1].progress_code = -9;
    run_group(50);
    assert_all(MSW_E_HOST);
    close_group();
}

/* Ranks that do not start alike do not start. */
static void test_unlike(void **state)
{
    static float before[ALL];

    (void)state;
    for (int what = 0; what < 3; what++) {
        open_group(4);
        if (what == 0)
            ranks[3].w[ALL - 1] = nextafterf(ranks[3].w[ALL - 1], 9);
        if (what == 1)
            ranks[1].iterations = 1; /* more */
        if (what == 2)
            assert_int_equal(msw_admm_update(ranks[2].admm), MSW_OK);
        memcpy(before, ranks[0].w, sizeof before);
        run_group(10);
        assert_all(MSW_E_INVAL);
        assert_non_null(strstr(msw_admm_error(ranks[0].admm), "differ"));
        assert_memory_equal(ranks[0].w, before, sizeof before);
        assert_int_equal(ranks[0].calls, 0);
        close_group();
    }
}

/* A step that is not the same on one rank shows at the next update. */
static void test_drift(void **state)
{
    (void)state;
    for (int frozen = 0; frozen < 2; frozen++) {
        open_group(4);
        for (unsigned i = 0; i < 4; i++) {
            ranks[i].host.step = step;
            if (frozen)
                assert_int_equal(msw_admm_freeze(ranks[i].admm), MSW_OK);
        }
        run_group(EVERY);
        assert_all(MSW_OK);
        assert_same_bits();
        ranks[1].bad_at = EVERY + 2;
        ranks[1].bad_step = 0.25f;
        run_group(50);
        assert_all(MSW_E_HOST);
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(ranks[i].calls, 2 * EVERY);
        close_group();
    }
}

/* The host's own loop: sums of gradients, and all else as if alone. */
static void test_own_loop(void **state)
{
    static float grads[MOST][LAYERS][COUNT];

    (void)state;
    open_group(4);
    for (unsigned n = 0; n < 2 * EVERY; n++) {
        double loss;

        for (unsigned i = 0; i < 4; i++) {
            float *g[LAYERS];
            const float *w[LAYERS];

            for (unsigned l = 0; l < LAYERS; l++) {
                g[l] = grads[i][l];
                w[l] = ranks[i].w + l * COUNT;
            }
            loss_gradient(&loss, g, w, LAYERS, &ranks[i]);
        }
        for (unsigned l = 0; l < LAYERS; l++)
            for (size_t k = 0; k < COUNT; k++) {
                float sum = 0;

                for (unsigned i = 0; i < 4; i++)
                    sum += grads[i][l][k];
                for (unsigned i = 0; i < 4; i++)
                    grads[i][l][k] = sum / 4;
            }
        for (unsigned i = 0; i < 4; i++) {
            for (unsigned l = 0; l < LAYERS; l++) {
                msw_tensor *t = borrow(&ranks[i], l, grads[i][l]);

                assert_int_equal(msw_admm_add_penalty(ranks[i].admm, l, t, 1), MSW_OK);
                msw_tensor_free(t);
                for (size_t k = 0; k < (l < 3 ? (size_t)COUNT : ROWS); k++)
                    ranks[i].w[l * COUNT + k] -= 0.1f * grads[i][l][k];
            }
            if (n % EVERY == EVERY - 1)
                assert_int_equal(msw_admm_update(ranks[i].admm), MSW_OK);
        }
        assert_same_bits();
    }
    close_group();
}

/* The hash tells apart weights, U, structure; and not where the host keeps its weights. */
static void test_hash(void **state)
{
    static const size_t shape[2] = {ROWS, COLUMNS}, strides[2] = {1, ROWS};
    static float turned[COUNT];
    msw_tensor *t;
    uint64_t h, other;

    (void)state;
    open_group(1);
    h = hash_of(&ranks[0]);
    ranks[0].w[WEIGHTS] = -ranks[0].w[WEIGHTS];
    assert_int_not_equal(hash_of(&ranks[0]), h);
    ranks[0].w[WEIGHTS] = -ranks[0].w[WEIGHTS];
    assert_int_equal(hash_of(&ranks[0]), h);
    for (size_t i = 0; i < COUNT; i++)
        turned[i % COLUMNS * ROWS + i / COLUMNS] = ranks[0].w[i];
    assert_int_equal(msw_tensor_borrow(&t, ranks[0].ctx, turned, shape, strides, 2),
                     MSW_OK);
    assert_int_equal(msw_admm_set_weights(ranks[0].admm, 0, t), MSW_OK);
    msw_tensor_free(t);
    assert_int_equal(hash_of(&ranks[0]), h);
    assert_int_equal(msw_admm_update(ranks[0].admm), MSW_OK);
    other = hash_of(&ranks[0]);
    assert_int_not_equal(other, h);
    assert_int_equal(msw_admm_set_rho(ranks[0].admm, 0, 0.5), MSW_OK); /* scales U */
    assert_int_not_equal(hash_of(&ranks[0]), other);
    assert_int_equal(msw_admm_hash(NULL, ranks[0].admm), MSW_E_INVAL);
    assert_int_equal(msw_admm_hash(&h, NULL), MSW_E_INVAL);
    close_group();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_data),
        cmocka_unit_test(test_soft_projection),
        cmocka_unit_test(test_merging),
        cmocka_unit_test(test_envelope),
        cmocka_unit_test(test_straight),
        cmocka_unit_test(test_own_projection),
        cmocka_unit_test(test_shared_data),
        cmocka_unit_test(test_three_ranks),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_progress_stops),
        cmocka_unit_test(test_unlike),
        cmocka_unit_test(test_drift),
        cmocka_unit_test(test_own_loop),
        cmocka_unit_test(test_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
