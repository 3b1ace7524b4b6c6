/* SPDX-License-Identifier: BSD-2-Clause */
#include "conv_fixture.h"

#include <math.h>
#include <string.h>

enum { OUTPUTS = 3, INNER = 4, WEIGHTS = OUTPUTS * INNER };
static const float gamma_[OUTPUTS] = {1.5f, -0.5f, 0};
static const float beta_[OUTPUTS] = {0.25f, 3, -1};
static const float mean[OUTPUTS] = {-1, 0.5f, 2};
static const float variance[OUTPUTS] = {4, 0.01f, 0};

static msw_batch_norm some_norm(void)
{
    msw_batch_norm n;

    msw_batch_norm_init(&n);
    n.channels = OUTPUTS;
    n.gamma = gamma_;
    n.beta = beta_;
    n.mean = mean;
    n.variance = variance;
    n.epsilon = 1e-3;
    return n;
}

typedef struct dense_layer {
    float weights[WEIGHTS], bias[OUTPUTS];
} dense_layer;

static dense_layer some_layer(void)
{
    dense_layer l;

    for (int i = 0; i < WEIGHTS; i++)
        l.weights[i] = (float)(i * 7 % 5) - 1.75f;
    for (int i = 0; i < OUTPUTS; i++)
        l.bias[i] = (float)i - 0.5f;
    return l;
}

/* Weight `inner` of output o, for weights of each kind. */
static size_t weight(uint32_t kind, size_t o, size_t inner)
{
    return kind == MSW_WEIGHTS_IO ? inner * OUTPUTS + o : o * INNER + inner;
}

static msw_tensor *tensor_of(msw_context *ctx, dense_layer *l, uint32_t kind)
{
    static const size_t shapes[4][4] = {{OUTPUTS, INNER}, {INNER, OUTPUTS},
                                        {OUTPUTS, 1, 2, 2}, {OUTPUTS, 2, 1, 2}};
    msw_tensor *t;

    assert_int_equal(msw_tensor_borrow(&t, ctx, l->weights, shapes[kind], NULL,
                                       kind >= MSW_WEIGHTS_OIHW ? 4 : 2),
                     MSW_OK);
    return t;
}

/* normalise(W x + bias) of one output, in double. */
static double normalised(const dense_layer *l, uint32_t kind, const msw_batch_norm *n,
                         const float *x, size_t o)
{
    double sum = (double)l->bias[o];

    for (size_t i = 0; i < INNER; i++)
        sum += (double)l->weights[weight(kind, o, i)] * (double)x[i];
    if (!n)
        return sum;
    return (n->gamma ? (double)n->gamma[o] : 1) * (sum - (double)n->mean[o]) /
               sqrt((double)n->variance[o] + n->epsilon) +
           (n->beta ? (double)n->beta[o] : 0);
}

static void check_kind(msw_context *ctx, uint32_t kind, const msw_batch_norm *n)
{
    static const float x[INNER] = {0.5f, -1, 2, 0.125f};
    const dense_layer before = some_layer();
    dense_layer after = before;
    msw_tensor *t = tensor_of(ctx, &after, kind);

    assert_int_equal(msw_conv_fold_batch_norm(t, after.bias, kind, n), MSW_OK);
    for (size_t o = 0; o < OUTPUTS; o++) {
        const double want = normalised(&before, kind, n, x, o);
        const double got = normalised(&after, kind, NULL, x, o);
        assert_true(fabs(got - want) <= 1e-5 * (1 + fabs(want)));
    }
    msw_tensor_free(t);
}

static void test_fold(void **state)
{
    msw_batch_norm n = some_norm();

    for (uint32_t kind = MSW_WEIGHTS_OI; kind <= MSW_WEIGHTS_OHWI; kind++) {
        n.gamma = gamma_;
        n.beta = beta_;
        check_kind(*state, kind, &n);
        n.gamma = n.beta = NULL;
        check_kind(*state, kind, &n);
    }
}

/* Weights inside larger rows: the neighbours stay. */
static void test_strides(void **state)
{
    static const size_t shape[2] = {OUTPUTS, 2}, strides[2] = {4, 2};
    const msw_batch_norm n = some_norm();
    dense_layer l = some_layer();
    const dense_layer before = l;
    msw_tensor *t;

    assert_int_equal(msw_tensor_borrow(&t, *state, l.weights, shape, strides, 2), MSW_OK);
    assert_int_equal(msw_conv_fold_batch_norm(t, l.bias, MSW_WEIGHTS_OI, &n), MSW_OK);
    for (int i = 0; i < WEIGHTS; i++)
        assert_true((l.weights[i] == before.weights[i]) == (i % 2 == 1));
    msw_tensor_free(t);
}

/* Kernels whose four axes lie in another order, with gaps: each output has its scale. */
static void test_kernel_strides(void **state)
{
    enum { CHANNELS = 2, HEIGHT = 3, WIDTH = 4, SPAN = 2 * 3 * 40 };
    static const size_t shape[4] = {OUTPUTS, CHANNELS, HEIGHT, WIDTH};
    static const size_t strides[4] = {2, 120, 10, 31};
    const msw_batch_norm n = some_norm();
    dense_layer l = some_layer();
    float data[SPAN], before[SPAN];
    bool weight_at[SPAN] = {false};
    msw_tensor *t;

    for (int i = 0; i < SPAN; i++)
        before[i] = data[i] = (float)(i * 7 % 11) + 0.5f;
    assert_int_equal(msw_tensor_borrow(&t, *state, data, shape, strides, 4), MSW_OK);
    assert_int_equal(msw_conv_fold_batch_norm(t, l.bias, MSW_WEIGHTS_OIHW, &n), MSW_OK);
    for (size_t k = 0; k < OUTPUTS * CHANNELS * HEIGHT * WIDTH; k++) {
        const size_t o = k % OUTPUTS, c = k / OUTPUTS % CHANNELS;
        const size_t h = k / (OUTPUTS * CHANNELS) % HEIGHT;
        const size_t w = k / (OUTPUTS * CHANNELS * HEIGHT);
        const size_t at = o * strides[0] + c * strides[1] + h * strides[2] + w * strides[3];
        const double scale = (double)gamma_[o] / sqrt((double)variance[o] + n.epsilon);

        assert_true(fabs((double)data[at] - scale * (double)before[at]) <= 1e-5);
        weight_at[at] = true;
    }
    for (int i = 0; i < SPAN; i++)
        assert_true(weight_at[i] || data[i] == before[i]);
    msw_tensor_free(t);
}

static void refuse(msw_context *ctx, uint32_t kind, const msw_batch_norm *n,
                   float weight_0, msw_status want)
{
    dense_layer l = some_layer(), before;
    msw_tensor *t = tensor_of(ctx, &l, MSW_WEIGHTS_OI);

    l.weights[WEIGHTS - 1] = weight_0;
    before = l;
    assert_int_equal(msw_conv_fold_batch_norm(t, l.bias, kind, n), want);
    assert_memory_equal(&l, &before, sizeof l);
    msw_tensor_free(t);
}

static void test_arguments(void **state)
{
    msw_batch_norm n = some_norm();
    float bias[OUTPUTS] = {0};
    dense_layer l = some_layer();
    msw_tensor *t = tensor_of(*state, &l, MSW_WEIGHTS_OI);

    assert_int_equal(msw_conv_fold_batch_norm(NULL, bias, 0, &n), MSW_E_INVAL);
    assert_int_equal(msw_conv_fold_batch_norm(t, NULL, 0, &n), MSW_E_INVAL);
    assert_int_equal(msw_conv_fold_batch_norm(t, bias, 0, NULL), MSW_E_INVAL);
    msw_tensor_free(t);
    refuse(*state, MSW_WEIGHTS_IO, &n, 1, MSW_E_INVAL);
    refuse(*state, MSW_WEIGHTS_OIHW, &n, 1, MSW_E_INVAL);
    refuse(*state, MSW_WEIGHTS_OHWI + 1, &n, 1, MSW_E_INVAL);
    n.channels++;
    refuse(*state, MSW_WEIGHTS_OI, &n, 1, MSW_E_INVAL);
    n = some_norm();
    n.mean = NULL;
    refuse(*state, MSW_WEIGHTS_OI, &n, 1, MSW_E_INVAL);
    n = some_norm();
    n.variance = NULL;
    refuse(*state, MSW_WEIGHTS_OI, &n, 1, MSW_E_INVAL);
    n = some_norm();
    n.epsilon = -1;
    refuse(*state, MSW_WEIGHTS_OI, &n, 1, MSW_E_INVAL);
    n.epsilon = (double)NAN;
    refuse(*state, MSW_WEIGHTS_OI, &n, 1, MSW_E_INVAL);
    n = some_norm();
    n.size = sizeof(size_t);
    refuse(*state, MSW_WEIGHTS_OI, &n, 1, MSW_E_INVAL);
}

static void test_not_finite(void **state)
{
    static const float bad[4] = {NAN, INFINITY, -INFINITY, -1};
    msw_batch_norm n = some_norm();
    float values[OUTPUTS] = {1, 1, 1};

    n.epsilon = 0; /* the last variance is 0 */
    refuse(*state, MSW_WEIGHTS_OI, &n, 1, MSW_E_NUMERIC);
    n = some_norm();
    for (int i = 0; i < 4; i++) {
        values[OUTPUTS - 1] = bad[i];
        n.variance = values;
        refuse(*state, MSW_WEIGHTS_OI, &n, 1, MSW_E_NUMERIC);
        n = some_norm();
        if (i == 3)
            break; /* -1 is fine elsewhere */
        n.mean = values;
        refuse(*state, MSW_WEIGHTS_OI, &n, 1, MSW_E_NUMERIC);
        n = some_norm();
        n.gamma = values;
        refuse(*state, MSW_WEIGHTS_OI, &n, 1, MSW_E_NUMERIC);
        n = some_norm();
        n.beta = values;
        refuse(*state, MSW_WEIGHTS_OI, &n, 1, MSW_E_NUMERIC);
        n = some_norm();
        refuse(*state, MSW_WEIGHTS_OI, &n, bad[i], MSW_E_NUMERIC);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fold),
        cmocka_unit_test(test_strides),
        cmocka_unit_test(test_kernel_strides),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_not_finite),
    };

    return cmocka_run_group_tests(tests, conv_set_up, conv_tear_down);
}
