/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a run ends by itself: all layers have converged, or the mean loss exceeds what the
 * guard allows. */
#include <msw/msw.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { LAYERS = 2, SIDE = 8, WEIGHTS = SIDE * SIDE, EVERY = 4 };

typedef struct host {
    msw_context *ctx;
    msw_plan *plan;
    msw_tensor *weights[LAYERS];
    msw_admm *admm;
    double losses[3 * EVERY]; /* of each mini-batch; gradients are 0 */
    size_t batch;
} host;

static int loss_gradient(double *loss, float *const *grads, const float *const *weights,
                         uint32_t layer_count, void *user)
{
    host *h = user;

    (void)weights;
    *loss = h->losses[h->batch++ % (3 * EVERY)];
    for (uint32_t i = 0; i < layer_count; i++)
        memset(grads[i], 0, WEIGHTS * sizeof *grads[i]);
    return 0;
}

/* @p uneven: the layer, if any, that is not unified from the beginning. */
static void open_host(host *h, const msw_admm_options *o, uint32_t uneven)
{
    static const size_t shape[2] = {SIDE, SIDE};
    msw_layer_options l;
    msw_plan_options p;

    memset(h, 0, sizeof *h);
    msw_plan_options_init(&p);
    p.block_rows = p.block_columns = 4;
    assert_int_equal(msw_context_new(&h->ctx, NULL), MSW_OK);
    assert_int_equal(msw_plan_new(&h->plan, h->ctx, shape, 2, &p), MSW_OK);
    assert_int_equal(msw_admm_new(&h->admm, h->ctx, o), MSW_OK);
    msw_layer_options_init(&l);
    l.unify = 1;
    for (uint32_t i = 0; i < LAYERS; i++) {
        assert_int_equal(msw_tensor_new(&h->weights[i], h->ctx, shape, 2), MSW_OK);
        for (size_t k = 0; k < WEIGHTS; k++)
            msw_tensor_data(h->weights[i])[k] = i == uneven ? (float)(1 + k % 5) : 1;
        assert_int_equal(msw_admm_add_layer(h->admm, h->weights[i], h->plan, &l), MSW_OK);
    }
}

static void close_host(host *h)
{
    msw_admm_free(h->admm);
    for (uint32_t i = 0; i < LAYERS; i++)
        msw_tensor_free(h->weights[i]);
    msw_plan_free(h->plan);
    msw_context_free(h->ctx);
}

static msw_status run(host *h, uint64_t iterations)
{
    msw_host callbacks;

    msw_host_init(&callbacks);
    callbacks.user = h;
    callbacks.loss_gradient = loss_gradient;
    return msw_admm_run(h->admm, &callbacks, iterations);
}

static msw_admm_options some_options(void)
{
    msw_admm_options o;

    msw_admm_options_init(&o);
    o.update_every = EVERY;
    o.updates = 10;
    o.learning_rate = 1e-6;
    o.ramp = 0;
    return o;
}

static void every_layer_must_converge(void **state)
{
    (void)state;
    for (uint32_t uneven = 0; uneven <= LAYERS; uneven++) {
        msw_admm_options o = some_options();
        host h;

        o.tolerance = 1e-3;
        open_host(&h, &o, uneven);
        assert_int_equal(run(&h, 3 * EVERY), MSW_OK);
        if (uneven < LAYERS) {
            assert_true(msw_admm_residual(h.admm, uneven, MSW_RESIDUAL_PRIMAL) > 1e-3);
            assert_int_equal(msw_admm_stop_reason(h.admm), MSW_STOP_ITERATIONS);
        } else {
            assert_int_equal(msw_admm_stop_reason(h.admm), MSW_STOP_CONVERGED);
            assert_int_equal(msw_admm_updates(h.admm), 1);
        }
        close_host(&h);
    }
}

/* Up to guard |first mean| + 1, and not beyond. */
static void the_guard_looks_at_the_mean(void **state)
{
    static const struct {
        double first, next;
        msw_status status;
    } cases[] = {{0, 0.9, MSW_OK}, {0, 1.1, MSW_E_DIVERGED}, {2, 6.9, MSW_OK},
                 {2, 7.1, MSW_E_DIVERGED}, {-2, 6.9, MSW_OK}, {-2, 7.1, MSW_E_DIVERGED}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        msw_admm_options o = some_options();
        host h;

        o.guard = 3;
        open_host(&h, &o, 0);
        for (size_t k = 0; k < 3 * EVERY; k++)
            h.losses[k] = k < EVERY ? cases[i].first
                                    : cases[i].next + (k % 2 ? 0.5 : -0.5);
        assert_int_equal(run(&h, 3 * EVERY), cases[i].status);
        assert_int_equal(h.batch, cases[i].status ? 2 * EVERY : 3 * EVERY);
        close_host(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layer_must_converge),
        cmocka_unit_test(the_guard_looks_at_the_mean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
