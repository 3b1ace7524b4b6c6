/* SPDX-License-Identifier: BSD-2-Clause */
/* Importance that the solver collects is what a host would hand it that averages the
 * squares of the same gradients. */
#include "fixture.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY = 3, UPDATES = 4, STEPS = 5 };

/* A solver with one layer, and gradients that differ from weight to weight. */
typedef struct one {
    fixture *f;
    msw_tensor *w, *grad;
    msw_admm *admm;
    uint64_t random;
    size_t count;
} one;

static one one_new(fixture *f, const msw_tensor *weights, size_t memory)
{
    msw_admm_options o;
    msw_layer_options l;
    one t = {.f = f, .random = 99, .count = msw_tensor_count(weights)};

    msw_admm_options_init(&o);
    o.updates = UPDATES;
    o.importance_memory = memory;
    msw_layer_options_init(&l);
    l.prune = 0.3;
    l.unify = 0.4;
    t.w = fixture_copy(f, weights);
    t.grad = fixture_random_tensor(f);
    assert_int_equal(msw_admm_new(&t.admm, f->ctx, &o), MSW_OK);
    assert_int_equal(msw_admm_add_layer(t.admm, t.w, f->plan, &l), MSW_OK);
    return t;
}

static void one_free(one *t)
{
    msw_admm_free(t->admm);
    fixture_free(t->w);
    fixture_free(t->grad);
}

static void next_gradient(one *t)
{
    for (size_t i = 0; i < t->count; i++)
        *fixture_at(t->f, t->grad, i) =
            (float)(ref_normal(&t->random) * (0.1 + (double)(i % 7)));
}

static void step(one *t)
{
    assert_int_equal(msw_admm_add_penalty(t->admm, 0, t->grad, 1), MSW_OK);
    for (size_t i = 0; i < t->count; i++)
        *fixture_at(t->f, t->w, i) -= 0.02f * *fixture_at(t->f, t->grad, i);
}

/* The mean of the first MEMORY squares, then an exponential one. */
static void average(msw_tensor *mean, const one *t, size_t seen)
{
    const float share = (float)(1.0 / (double)(seen < MEMORY ? seen : MEMORY));

    for (size_t i = 0; i < t->count; i++) {
        const float g = *fixture_at(t->f, t->grad, i);
        float *m = fixture_at(t->f, mean, i);

        *m += share * (g * g - *m);
    }
}

static void assert_close(const one *a, const one *b)
{
    msw_tensor *x = fixture_copy(a->f, a->w), *y = fixture_copy(a->f, a->w);

    assert_int_equal(msw_admm_get_z(x, a->admm, 0), MSW_OK);
    assert_int_equal(msw_admm_get_z(y, b->admm, 0), MSW_OK);
    for (size_t i = 0; i < a->count; i++) {
        assert_true(fabsf(*fixture_at(a->f, x, i) - *fixture_at(a->f, y, i)) <= 1e-5f);
        assert_true(fabsf(*fixture_at(a->f, a->w, i) - *fixture_at(a->f, b->w, i)) <= 1e-5f);
    }
    fixture_free(x);
    fixture_free(y);
}

static void check_average(fixture *f)
{
    msw_tensor *weights = fixture_random_tensor(f), *mean = fixture_copy(f, weights);
    one collects = one_new(f, weights, MEMORY), given = one_new(f, weights, 0);
    size_t seen = 0;

    for (size_t i = 0; i < given.count; i++)
        *fixture_at(f, mean, i) = 0;
    for (int k = 0; k < UPDATES; k++) {
        for (int s = 0; s < STEPS; s++) {
            next_gradient(&collects);
            assert_int_equal(msw_admm_add_gradient(collects.admm, 0, collects.grad), MSW_OK);
            step(&collects);
            next_gradient(&given);
            average(mean, &given, ++seen);
            step(&given);
        }
        assert_int_equal(msw_admm_set_importance(given.admm, 0, mean), MSW_OK);
        assert_int_equal(msw_admm_update(given.admm), MSW_OK);
        assert_int_equal(msw_admm_update(collects.admm), MSW_OK);
        assert_close(&collects, &given);
    }
    assert_int_equal(msw_admm_freeze(given.admm), MSW_OK);
    assert_int_equal(msw_admm_freeze(collects.admm), MSW_OK);
    assert_close(&collects, &given);
    one_free(&collects);
    one_free(&given);
    fixture_free(weights);
    fixture_free(mean);
}

static void it_is_the_mean_of_squared_gradients(void **state)
{
    (void)state;
    fixture_for_all(check_average);
}

/* msw_admm_run() collects what the own loop hands over: the same bits. */

static int on_loss(double *loss, float *const *grads, const float *const *weights,
                   uint32_t layer_count, void *user)
{
    one *t = user;

    (void)weights;
    (void)layer_count;
    *loss = 1;
    for (size_t i = 0; i < t->count; i++)
        grads[0][i] = (float)(ref_normal(&t->random) * (0.1 + (double)(i % 7)));
    return 0;
}

static int on_step(float *const *weights, const float *const *grads, uint32_t layer_count,
                   void *user)
{
    const one *t = user;

    (void)layer_count;
    for (size_t i = 0; i < t->count; i++)
        weights[0][i] -= 0.02f * grads[0][i];
    return 0;
}

static const layout dense = {.weights = MSW_WEIGHTS_OI, .shape = {13, 18}, .rank = 2,
                             .block_rows = 4, .block_columns = 4};

static void both_loops_collect_the_same(void **state)
{
    fixture f = fixture_setup(&dense, NULL);
    msw_tensor *weights = fixture_random_tensor(&f);
    one own = one_new(&f, weights, MEMORY), called = one_new(&f, weights, MEMORY);
    msw_host host;

    (void)state;
    msw_host_init(&host);
    host.loss_gradient = on_loss;
    host.step = on_step;
    host.user = &called;
    for (int k = 0; k < UPDATES; k++) {
        for (int s = 0; s < STEPS; s++) {
            next_gradient(&own);
            assert_int_equal(msw_admm_add_gradient(own.admm, 0, own.grad), MSW_OK);
            step(&own);
        }
        assert_int_equal(msw_admm_update(own.admm), MSW_OK);
        assert_int_equal(msw_admm_run(called.admm, &host, STEPS), MSW_OK);
        assert_int_equal(msw_admm_update(called.admm), MSW_OK);
        assert_true(fixture_same_bits(&f, own.w, called.w));
    }
    one_free(&own);
    one_free(&called);
    fixture_free(weights);
    fixture_teardown(&f);
}

static void a_gradient_that_is_not_finite_counts_for_nothing(void **state)
{
    fixture f = fixture_setup(&dense, NULL);
    msw_tensor *weights = fixture_random_tensor(&f);
    one a = one_new(&f, weights, MEMORY), b = one_new(&f, weights, MEMORY);
    float kept;

    (void)state;
    next_gradient(&a);
    next_gradient(&b);
    assert_int_equal(msw_admm_add_gradient(a.admm, 0, a.grad), MSW_OK);
    assert_int_equal(msw_admm_add_gradient(b.admm, 0, b.grad), MSW_OK);
    kept = *fixture_at(&f, b.grad, 50);
    *fixture_at(&f, b.grad, 50) = (float)NAN;
    assert_int_equal(msw_admm_add_gradient(b.admm, 0, b.grad), MSW_E_NUMERIC);
    *fixture_at(&f, b.grad, 50) = kept;
    step(&a);
    step(&b);
    assert_int_equal(msw_admm_update(a.admm), MSW_OK);
    assert_int_equal(msw_admm_update(b.admm), MSW_OK);
    step(&a);
    step(&b);
    assert_true(fixture_same_bits(&f, a.w, b.w));
    /* the largest there are: their squares are not */
    for (size_t i = 0; i < a.count; i++)
        *fixture_at(&f, a.grad, i) = i % 2 ? FLT_MAX : 1;
    assert_int_equal(msw_admm_add_gradient(a.admm, 0, a.grad), MSW_OK);
    assert_int_equal(msw_admm_update(a.admm), MSW_OK);
    for (size_t i = 0; i < a.count; i++)
        assert_true(isfinite(*fixture_at(&f, a.w, i)));
    one_free(&a);
    one_free(&b);
    fixture_free(weights);
    fixture_teardown(&f);
}

static uint64_t importance_bytes(const one *t)
{
    msw_admm_memory m;

    msw_admm_memory_init(&m);
    assert_int_equal(msw_admm_get_memory(&m, t->admm), MSW_OK);
    return m.importance;
}

static void misuse(void **state)
{
    fixture f = fixture_setup(&dense, NULL);
    msw_tensor *weights = fixture_random_tensor(&f);
    one off = one_new(&f, weights, 0), on = one_new(&f, weights, MEMORY);

    (void)state;
    assert_int_equal(msw_admm_add_gradient(NULL, 0, on.grad), MSW_E_INVAL);
    assert_int_equal(msw_admm_add_gradient(off.admm, 0, off.grad), MSW_E_STATE);
    assert_int_equal(msw_admm_add_gradient(on.admm, 1, on.grad), MSW_E_RANGE);
    assert_int_equal(msw_admm_add_gradient(on.admm, 0, NULL), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_importance(on.admm, 0, on.grad), MSW_E_STATE);
    assert_int_equal(importance_bytes(&on), 0);
    assert_int_equal(msw_admm_add_gradient(on.admm, 0, on.grad), MSW_OK);
    assert_int_equal(msw_admm_update(on.admm), MSW_OK);
    assert_true(importance_bytes(&on) >= 2 * on.count * sizeof(float));
    assert_int_equal(msw_admm_freeze(on.admm), MSW_OK);
    assert_int_equal(importance_bytes(&on), 0);
    assert_int_equal(msw_admm_add_gradient(on.admm, 0, on.grad), MSW_E_STATE);
    one_free(&off);
    one_free(&on);
    fixture_free(weights);
    fixture_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_mean_of_squared_gradients),
        cmocka_unit_test(both_loops_collect_the_same),
        cmocka_unit_test(a_gradient_that_is_not_finite_counts_for_nothing),
        cmocka_unit_test(misuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
