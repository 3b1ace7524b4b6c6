/* SPDX-License-Identifier: BSD-2-Clause */
#include "faults.h"
#include "internal.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static faults memory;
static msw_context *ctx;

static void test_owned(void **state)
{
    static const size_t shape[4] = {2, 3, 4, 5};

    (void)state;
    for (uint32_t rank = 1; rank <= 4; rank++) {
        msw_tensor *t;
        size_t count = 1, stride = 1;

        for (uint32_t i = 0; i < rank; i++)
            count *= shape[i];
        assert_int_equal(msw_tensor_new(&t, ctx, shape, rank), MSW_OK);
        assert_int_equal(msw_tensor_rank(t), rank);
        assert_int_equal(msw_tensor_count(t), count);
        for (uint32_t i = rank; i-- > 0;) {
            assert_int_equal(msw_tensor_dim(t, i), shape[i]);
            assert_int_equal(msw_tensor_stride(t, i), stride);
            stride *= shape[i];
        }
        assert_int_equal(msw_tensor_dim(t, rank), 0);
        assert_int_equal(msw_tensor_stride(t, rank), 0);
        assert_int_equal(msw_tensor_dim(t, UINT32_MAX), 0);
        assert_int_equal((uintptr_t)msw_tensor_data(t) % 64, 0);
        for (size_t i = 0; i < count; i++)
            assert_true(msw_tensor_data(t)[i] == 0);
        assert_true(msw__tensor_contiguous(t));
        assert_int_equal(msw_tensor_repoint(t, msw_tensor_data(t)), MSW_E_STATE);
        assert_ptr_equal(msw_tensor_ref(t), t);
        msw_tensor_free(t);
        msw_tensor_free(t);
    }
    msw_tensor_free(NULL);
}

static void test_arguments(void **state)
{
    static const size_t shape[5] = {2, 3, 4, 5, 6}, zero[2] = {3, 0};
    static float data[720];
    float *odd = (float *)(void *)((char *)data + 1);
    msw_tensor *t = (msw_tensor *)data;

    (void)state;
    assert_int_equal(msw_tensor_new(NULL, ctx, shape, 2), MSW_E_INVAL);
    assert_int_equal(msw_tensor_new(&t, NULL, shape, 2), MSW_E_INVAL);
    assert_null(t);
    assert_int_equal(msw_tensor_new(&t, ctx, NULL, 2), MSW_E_INVAL);
    assert_int_equal(msw_tensor_new(&t, ctx, shape, 0), MSW_E_INVAL);
    assert_int_equal(msw_tensor_new(&t, ctx, shape, 5), MSW_E_INVAL);
    assert_int_equal(msw_tensor_new(&t, ctx, zero, 2), MSW_E_INVAL);
    assert_int_equal(msw_tensor_borrow(NULL, ctx, data, shape, NULL, 2), MSW_E_INVAL);
    t = (msw_tensor *)data;
    assert_int_equal(msw_tensor_borrow(&t, ctx, NULL, shape, NULL, 2), MSW_E_INVAL);
    assert_null(t);
    assert_int_equal(msw_tensor_borrow(&t, ctx, odd, shape, NULL, 2), MSW_E_INVAL);
    assert_int_equal(msw_tensor_borrow(&t, NULL, data, shape, NULL, 2), MSW_E_INVAL);
    assert_int_equal(msw_tensor_borrow(&t, ctx, data, NULL, NULL, 2), MSW_E_INVAL);
    assert_int_equal(msw_tensor_borrow(&t, ctx, data, shape, NULL, 5), MSW_E_INVAL);
    assert_int_equal(msw_tensor_borrow(&t, ctx, data, zero, NULL, 2), MSW_E_INVAL);
    assert_int_equal(msw_tensor_repoint(NULL, data), MSW_E_INVAL);
}

static void test_overflow(void **state)
{
#define HALF ((size_t)1 << sizeof(size_t) * 4) /* of the bits: the square wraps */
    static const size_t huge[][4] = {
        {SIZE_MAX, 2, 1, 1},
        {SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX},
        {SIZE_MAX / 4 + 1, 1, 1, 1}, /* its bytes overflow, not its count */
        {HALF, HALF, 1, 1},
        {1, 1, SIZE_MAX / 2, 3},
    };
    static const size_t zero_too[2] = {SIZE_MAX, 0};
    static float data[1];
    msw_tensor *t;
    const uint64_t calls = memory.calls;

    (void)state;
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        assert_int_equal(msw_tensor_new(&t, ctx, huge[i], 4), MSW_E_RANGE);
        assert_null(t);
        assert_int_equal(msw_tensor_borrow(&t, ctx, data, huge[i], NULL, 4), MSW_E_RANGE);
        assert_null(t);
    }
    assert_int_equal(msw_tensor_new(&t, ctx, zero_too, 2), MSW_E_INVAL);
    assert_int_equal(memory.calls, calls);
    /* representable, but nobody has so much memory */
    assert_int_equal(msw_tensor_new(&t, ctx, (const size_t[]){SIZE_MAX / 8}, 1),
                     MSW_E_NOMEM);
    assert_null(t);
}

static void test_strides(void **state)
{
    static const struct {
        size_t shape[3], stride[3];
        msw_status status;
    } cases[] = {
        {{2, 3, 4}, {12, 4, 1}, MSW_OK},
        {{2, 3, 4}, {100, 20, 3}, MSW_OK},
        {{2, 3, 4}, {1, 2, 6}, MSW_OK},             /* column-major */
        {{2, 3, 4}, {11, 4, 1}, MSW_E_INVAL},       /* (1,0,0) is (0,2,3) */
        {{2, 3, 4}, {12, 3, 1}, MSW_E_INVAL},       /* (0,1,0) is (0,0,3) */
        {{2, 3, 4}, {12, 4, 0}, MSW_E_INVAL},
        {{2, 3, 4}, {4, 4, 1}, MSW_E_INVAL},
        {{2, 1, 4}, {4, 0, 1}, MSW_OK},             /* a dimension of 1: any stride */
        {{2, 1, 4}, {4, SIZE_MAX, 1}, MSW_OK},
        {{1, 1, 1}, {0, 0, 0}, MSW_OK},
        {{2, 3, 4}, {SIZE_MAX, 4, 1}, MSW_E_RANGE}, /* offsets overflow */
        {{3, 3, 4}, {SIZE_MAX / 2, 4, 1}, MSW_E_RANGE},
        {{2, 3, 4}, {SIZE_MAX / 4, 4, 1}, MSW_E_RANGE}, /* their bytes do */
    };
    static float data[1];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        msw_tensor *t;

        assert_int_equal(msw_tensor_borrow(&t, ctx, data, cases[i].shape, cases[i].stride,
                                           3),
                         cases[i].status);
        assert_true(!t == !!cases[i].status);
        for (uint32_t axis = 0; t && axis < 3; axis++)
            assert_int_equal(msw_tensor_stride(t, axis), cases[i].stride[axis]);
        msw_tensor_free(t);
    }
}

static void test_borrowed(void **state)
{
    static const size_t shape[2] = {3, 4}, strides[2] = {5, 1};
    float a[15] = {0}, b[15] = {0};
    float *odd = (float *)(void *)((char *)b + 2);
    msw_tensor *t;
    uint64_t calls;

    (void)state;
    assert_int_equal(msw_tensor_borrow(&t, ctx, a, shape, strides, 2), MSW_OK);
    assert_ptr_equal(msw_tensor_data(t), a);
    assert_int_equal(msw_tensor_count(t), 12);
    assert_false(msw__tensor_contiguous(t));
    calls = memory.calls;
    assert_int_equal(msw_tensor_repoint(t, NULL), MSW_E_INVAL);
    assert_int_equal(msw_tensor_repoint(t, odd), MSW_E_INVAL);
    assert_ptr_equal(msw_tensor_data(t), a);
    assert_int_equal(msw_tensor_repoint(t, b), MSW_OK);
    assert_ptr_equal(msw_tensor_data(t), b);
    assert_int_equal(memory.calls, calls);
    msw_tensor_free(t);
    b[14] = 1; /* still the host's */
}

/* Runs and finiteness on a strided tensor: each element is seen, no gap is. */
static void test_runs(void **state)
{
    static const size_t shape[4] = {2, 3, 2, 3}, strides[4] = {2, 60, 30, 5};
    float data[4 + 2 + 120 + 30 + 10];
    msw_tensor *t;

    (void)state;
    for (size_t i = 0; i < sizeof data / sizeof *data; i++)
        data[i] = NAN;
    for (size_t n = 0; n < 36; n++)
        data[n / 18 * 2 + n / 6 % 3 * 60 + n / 3 % 2 * 30 + n % 3 * 5] = (float)n;
    assert_int_equal(msw_tensor_borrow(&t, ctx, data, shape, strides, 4), MSW_OK);
    for (size_t outer = 0; outer < 12; outer++)
        for (size_t i = 0; i < 3; i++)
            assert_true(msw__tensor_run(t, outer)[i * 5] == (float)(outer * 3 + i));
    assert_true(msw__tensor_finite(t));
    for (size_t n = 0; n < 36; n++) {
        float *x = msw__tensor_run(t, n / 3) + n % 3 * 5;

        *x = INFINITY;
        assert_false(msw__tensor_finite(t));
        *x = 3e38f;
        assert_true(msw__tensor_finite(t));
    }
    msw_tensor_free(t);
}

static void test_same_shape(void **state)
{
    static const size_t shapes[][3] = {{2, 3, 1}, {2, 3, 1}, {3, 2, 1}};
    static float data[6];
    msw_tensor *a, *b;

    (void)state;
    assert_int_equal(msw_tensor_borrow(&a, ctx, data, shapes[0], NULL, 2), MSW_OK);
    for (uint32_t i = 1; i < 3; i++) {
        for (uint32_t rank = 2; rank <= 3; rank++) { /* 2x3 is not 2x3x1 */
            assert_int_equal(msw_tensor_borrow(&b, ctx, data, shapes[i], NULL, rank),
                             MSW_OK);
            assert_int_equal(msw__tensor_same_shape(a, b), i == 1 && rank == 2);
            msw_tensor_free(b);
        }
    }
    msw_tensor_free(a);
}

/* Of a tensor of any size, wherever the one is that is not finite; gaps do not count. */
static void test_finite(void **state)
{
    enum { MOST = 40 };
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    float data[2 * MOST] = {0};

    (void)state;
    for (size_t count = 1; count <= MOST; count++)
        for (size_t stride = 1; stride <= 2; stride++) {
            msw_tensor *t;

            assert_int_equal(msw_tensor_borrow(&t, ctx, data, &count, &stride, 1), MSW_OK);
            assert_true(msw__tensor_finite(t));
            for (size_t i = 0; i < stride * count; i++) {
                data[i] = bad[i % 3];
                assert_int_equal(msw__tensor_finite(t), i % stride != 0);
                data[i] = 0;
            }
            msw_tensor_free(t);
        }
    for (size_t at = 0; at < 3 * 8; at++) { /* three rows of five, which lie together */
        static const size_t shape[2] = {3, 5}, strides[2] = {8, 1};
        msw_tensor *t;

        assert_int_equal(msw_tensor_borrow(&t, ctx, data, shape, strides, 2), MSW_OK);
        data[at] = bad[at % 3];
        assert_int_equal(msw__tensor_finite(t), at % 8 >= 5);
        data[at] = 0;
        msw_tensor_free(t);
    }
}

static int set_up(void **state)
{
    (void)state;
    ctx = faults_context(&memory);
    return !ctx;
}

static int tear_down(void **state)
{
    (void)state;
    msw_context_free(ctx);
    return !faults_clean(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_owned, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_arguments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_overflow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_strides, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_borrowed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_runs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_same_shape, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_finite, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
