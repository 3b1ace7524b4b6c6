/* SPDX-License-Identifier: BSD-2-Clause */
/* The linked CBLAS and the built-in product against sums in double precision. */
#include "blas.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_SIDE = 33, ROOM = MAX_SIDE * (MAX_SIDE + 3) };

static float a[ROOM], b[ROOM], c[ROOM], before[ROOM];
static uint32_t seed;

static void fill(float *x)
{
    for (size_t i = 0; i < ROOM; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / (1 << 23) - 1;
    }
}

static void check(bool use_blas, bool trans_b, size_t m, size_t n, size_t k, int beta)
{
    const size_t lda = k + 1, ldb = (trans_b ? k : n) + 2, ldc = n + 3;

    fill(a);
    fill(b);
    fill(c);
    if (!beta)
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < n; j++)
                c[i * ldc + j] = NAN; /* is overwritten, not scaled */
    memcpy(before, c, sizeof c);
    msw__blas_sgemm(use_blas, trans_b, m, n, k, a, lda, b, ldb, beta, c, ldc);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < ldc; j++) {
            double sum = 0, bound = 0;

            if (j >= n) {
                assert_memory_equal(&c[i * ldc + j], &before[i * ldc + j], sizeof *c);
                continue;
            }
            if (beta)
                sum = (double)before[i * ldc + j];
            bound = fabs(sum);
            for (size_t l = 0; l < k; l++) {
                const float x = trans_b ? b[j * ldb + l] : b[l * ldb + j];

                sum += (double)a[i * lda + l] * (double)x;
                bound += fabs((double)a[i * lda + l] * (double)x);
            }
            assert_true(fabs((double)c[i * ldc + j] - sum) <= 1e-5 * bound);
        }
}

static void test_product(void **state)
{
    static const size_t sides[] = {1, 2, 7, 16, 33};

    (void)state;
    for (uint32_t variant = 0; variant < 8; variant++)
        for (size_t s = 0; s < 5 * 5 * 5; s++)
            check(variant & 1, variant & 2, sides[s / 25], sides[s / 5 % 5], sides[s % 5],
                  variant >> 2 & 1);
}

static void test_empty(void **state)
{
    (void)state;
    for (uint32_t variant = 0; variant < 8; variant++) {
        check(variant & 1, variant & 2, 0, 5, 5, variant >> 2 & 1);
        check(variant & 1, variant & 2, 5, 0, 5, variant >> 2 & 1);
        check(variant & 1, variant & 2, 5, 5, 0, variant >> 2 & 1);
        check(variant & 1, variant & 2, 5, 1, 0, variant >> 2 & 1);
    }
}

static void test_names(void **state)
{
    (void)state;
    assert_non_null(msw__blas_name());
    assert_int_equal(msw__blas_linked(), strcmp(msw__blas_name(), "none") != 0);
    assert_true(msw__blas_linked() || !msw__blas_usable());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_product),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
