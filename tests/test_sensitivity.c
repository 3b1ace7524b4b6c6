/* SPDX-License-Identifier: BSD-2-Clause */
/* The loss of each layer projected alone: against projections made here. */
#include "fixture.h"

#include <math.h>
#include <string.h>

enum { POINTS = 3, BIAS = 4 };

typedef struct net {
    fixture *f;
    msw_tensor *w, *kept, *bias;
    msw_admm *admm;
    float bias_data[BIAS];
    int calls, fail_at; /* 0: never */
} net;

static const double shares[POINTS][2] = {{0.3, 0.2}, {0, 1}, {1, 0}};

static net *net_new(fixture *f)
{
    static const size_t bias_shape[1] = {BIAS};
    static net n;

    memset(&n, 0, sizeof n);
    n.f = f;
    n.w = fixture_random_tensor(f);
    n.kept = fixture_copy(f, n.w);
    assert_int_equal(msw_tensor_borrow(&n.bias, f->ctx, n.bias_data, bias_shape, NULL, 1),
                     MSW_OK);
    assert_int_equal(msw_admm_new(&n.admm, f->ctx, NULL), MSW_OK);
    assert_int_equal(msw_admm_add_layer(n.admm, n.w, f->plan, NULL), MSW_OK);
    assert_int_equal(msw_admm_add_layer(n.admm, n.bias, NULL, NULL), MSW_OK);
    return &n;
}

static void net_free(net *n)
{
    msw_admm_free(n->admm);
    msw_tensor_free(n->bias);
    fixture_free(n->w);
    fixture_free(n->kept);
}

/* ||W - W as it was||^2, and 1 */
static double loss_of(const net *n, const msw_tensor *w)
{
    double sum = 1;

    for (size_t i = 0; i < msw_tensor_count(w); i++) {
        const double d = (double)*fixture_at(n->f, w, i) -
                         (double)*fixture_at(n->f, n->kept, i);
        sum += d * d;
    }
    return sum;
}

static int evaluate(double *loss, const float *const *weights, uint32_t layer_count,
                    void *user)
{
    net *n = user;

    n->calls++;
    if (layer_count != 2 || weights[0] != msw_tensor_data(n->w) ||
        weights[1] != n->bias_data)
        return -99;
    if (n->calls == n->fail_at)
        return -5;
    *loss = loss_of(n, n->w);
    return 0;
}

static void fill(msw_sensitivity_point *points)
{
    for (int i = 0; i < POINTS; i++) {
        msw_sensitivity_point_init(&points[i]);
        points[i].prune = shares[i][0];
        points[i].unify = shares[i][1];
    }
}

static void check(fixture *f)
{
    msw_sensitivity_point points[POINTS];
    double losses[2 * POINTS], base;
    net *n = net_new(f);

    fill(points);
    assert_int_equal(msw_admm_sensitivity(losses, &base, n->admm, points, POINTS, evaluate,
                                          n), MSW_OK);
    assert_int_equal(n->calls, 1 + POINTS);
    assert_true(base == 1);
    assert_true(fixture_same_bits(f, n->w, n->kept));
    for (int i = 0; i < POINTS; i++) {
        msw_unified *u = fixture_project(f, n->w, shares[i][0], shares[i][1], NULL);
        msw_tensor *z = fixture_dense(f, u);

        assert_true(losses[i] == loss_of(n, z));
        assert_true(isnan(losses[POINTS + i]));
        fixture_free(z);
        msw_unified_free(u);
    }
    for (int fail = 1; fail <= 1 + POINTS; fail++) {
        n->calls = 0;
        n->fail_at = fail;
        assert_int_equal(msw_admm_sensitivity(losses, NULL, n->admm, points, POINTS,
                                              evaluate, n), MSW_E_HOST);
        assert_int_equal(msw_admm_host_code(n->admm), -5);
        assert_true(fixture_same_bits(f, n->w, n->kept));
    }
    net_free(n);
}

static void it_is_the_loss_of_projections(void **state)
{
    (void)state;
    fixture_for_all(check);
}

static void misuse(void **state)
{
    static const layout small = {.weights = MSW_WEIGHTS_OI, .shape = {6, 8}, .rank = 2,
                                 .block_rows = 2, .block_columns = 4};
    fixture f = fixture_setup(&small, NULL);
    net *n = net_new(&f);
    msw_sensitivity_point points[POINTS];
    double losses[2 * POINTS];

    (void)state;
    fill(points);
    assert_int_equal(msw_admm_sensitivity(losses, NULL, NULL, points, 1, evaluate, n),
                     MSW_E_INVAL);
    assert_int_equal(msw_admm_sensitivity(NULL, NULL, n->admm, points, 1, evaluate, n),
                     MSW_E_INVAL);
    assert_int_equal(msw_admm_sensitivity(losses, NULL, n->admm, NULL, 1, evaluate, n),
                     MSW_E_INVAL);
    assert_int_equal(msw_admm_sensitivity(losses, NULL, n->admm, points, 0, evaluate, n),
                     MSW_E_INVAL);
    assert_int_equal(msw_admm_sensitivity(losses, NULL, n->admm, points, 1, NULL, n),
                     MSW_E_INVAL);
    points[1].prune = 0.5;
    assert_int_equal(msw_admm_sensitivity(losses, NULL, n->admm, points, POINTS, evaluate,
                                          n), MSW_E_INVAL);
    assert_int_equal(n->calls, 0);
    points[1].prune = 0;
    *fixture_at(&f, n->w, 3) = (float)NAN;
    assert_int_equal(msw_admm_sensitivity(losses, NULL, n->admm, points, POINTS, evaluate,
                                          n), MSW_E_NUMERIC);
    *fixture_at(&f, n->w, 3) = 0;
    assert_int_equal(msw_admm_freeze(n->admm), MSW_OK); /* allowed then, too */
    assert_int_equal(msw_admm_sensitivity(losses, NULL, n->admm, points, POINTS, evaluate,
                                          n), MSW_OK);
    net_free(n);
    fixture_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_loss_of_projections),
        cmocka_unit_test(misuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
