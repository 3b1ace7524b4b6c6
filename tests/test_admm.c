/* SPDX-License-Identifier: BSD-2-Clause */
/* The ADMM phase: penalty, Z and U step, schedules, freezing. */
#include "faults.h"

#include <msw/msw.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

/* f(W) = 1/2 sum over layers of ||W - target||^2 */
typedef struct quadratic {
    const float *target[4];
    size_t count[4];
} quadratic;

static int quadratic_loss(double *loss, float *const *grads, const float *const *weights,
                          uint32_t layer_count, void *user)
{
    const quadratic *q = user;

    *loss = 0;
    for (uint32_t l = 0; l < layer_count; l++)
        for (size_t i = 0; i < q->count[l]; i++) {
            const float d = weights[l][i] - q->target[l][i];

            grads[l][i] = d;
            *loss += 0.5 * (double)d * (double)d;
        }
    return 0;
}

static void fill(float *x, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)((double)(seed >> 8) / (1 << 23) - 1);
    }
}

static void smoke(void **state)
{
    enum { ROWS = 40, COLUMNS = 50, N = ROWS * COLUMNS };
    const size_t shape[2] = {ROWS, COLUMNS};
    static float weights[N], target[N];
    faults f = {0};
    msw_context *ctx = faults_context(&f);
    msw_admm_options o;
    msw_layer_options lo;
    msw_plan *plan;
    msw_tensor *w;
    msw_admm *admm;
    msw_host host;
    msw_unified *u;
    msw_verify_info v;
    quadratic q = {{target}, {N}};

    (void)state;
    fill(weights, N, 1);
    fill(target, N, 2);
    assert_int_equal(msw_plan_new(&plan, ctx, shape, 2, NULL), MSW_OK);
    assert_int_equal(msw_tensor_borrow(&w, ctx, weights, shape, NULL, 2), MSW_OK);
    msw_admm_options_init(&o);
    o.learning_rate = 0.1;
    o.update_every = 20;
    assert_int_equal(msw_admm_new(&admm, ctx, &o), MSW_OK);
    msw_layer_options_init(&lo);
    lo.prune = 0.3;
    lo.unify = 0.5;
    assert_int_equal(msw_admm_add_layer(admm, w, plan, &lo), MSW_OK);
    msw_host_init(&host);
    host.user = &q;
    host.loss_gradient = quadratic_loss;
    assert_int_equal(msw_admm_run(admm, &host, 24 * 20), MSW_OK);
    assert_int_equal(msw_admm_stop_reason(admm), MSW_STOP_ITERATIONS);
    print_message("rho %g primal %g dual %g updates %u\n", msw_admm_rho(admm, 0),
                  msw_admm_residual(admm, 0, MSW_RESIDUAL_PRIMAL),
                  msw_admm_residual(admm, 0, MSW_RESIDUAL_DUAL), msw_admm_updates(admm));
    assert_int_equal(msw_admm_freeze(admm), MSW_OK);
    assert_int_equal(msw_admm_run(admm, &host, 100), MSW_OK);
    assert_int_equal(msw_admm_unify(&u, admm, 0), MSW_OK);
    msw_verify_info_init(&v);
    assert_int_equal(msw_unified_verify(&v, u, w), MSW_OK);
    assert_int_equal(v.violations, 0);
    msw_unified_free(u);
    msw_admm_free(admm);
    msw_tensor_free(w);
    msw_plan_free(plan);
    msw_context_free(ctx);
    assert_true(faults_clean(&f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smoke),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
