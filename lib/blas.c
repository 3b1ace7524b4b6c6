/* SPDX-License-Identifier: BSD-2-Clause */
#include "blas.h"

#include <limits.h>
#include <stdint.h>

#ifndef MSW_BLAS_NAME
#define MSW_BLAS_NAME "none"
#endif

const char *msw__blas_name(void)
{
    return MSW_BLAS_NAME;
}

#ifdef MSW_HAVE_BLAS

/* Our own prototypes: not all that provide CBLAS provide cblas.h, and those that do
 * differ in the names of integer and enum types. */
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };
void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                 const float *a, int lda, const float *b, int ldb, float beta, float *c,
                 int ldc);
void cblas_sgemv(int order, int trans, int m, int n, float alpha, const float *a, int lda,
                 const float *x, int incx, float beta, float *y, int incy);
size_t cblas_idamax(int64_t n, const double *x, int64_t incx);

bool msw__blas_linked(void)
{
    return true;
}

/* The library behind the name can be exchanged at run time. Its low half says 3
 * elements, as a whole this n is negative: a 64-bit callee sees nothing to search and
 * returns 0. (The idea is libblastrampoline's.) */
bool msw__blas_usable(void)
{
    static const double x[3] = {1, 3, 2};

    if (sizeof(void *) != 8)
        return true;
    return (int32_t)cblas_idamax(INT64_C(-4294967293), x, 1) == 1;
}

static void linked_sgemm(bool trans_b, size_t m, size_t n, size_t k, const float *a,
                         size_t lda, const float *b, size_t ldb, int beta, float *c,
                         size_t ldc)
{
    if (n == 1 && !trans_b) {
        /* beta is never 0 here: some versions then scale y, and a NaN stays */
        if (!beta)
            for (size_t i = 0; i < m; i++)
                c[i * ldc] = 0;
        cblas_sgemv(ROW_MAJOR, NO_TRANS, (int)m, (int)k, 1, a, (int)lda, b, (int)ldb, 1, c,
                    (int)ldc);
    } else {
        cblas_sgemm(ROW_MAJOR, NO_TRANS, trans_b ? TRANS : NO_TRANS, (int)m, (int)n, (int)k,
                    1, a, (int)lda, b, (int)ldb, (float)beta, c, (int)ldc);
    }
}

#else

bool msw__blas_linked(void)
{
    return false;
}

bool msw__blas_usable(void)
{
    return false;
}

#endif /* MSW_HAVE_BLAS */

/* Row by row of A, so that B and C are read and written along rows. */
static void built_in_sgemm(bool trans_b, size_t m, size_t n, size_t k, const float *a,
                           size_t lda, const float *b, size_t ldb, int beta, float *c,
                           size_t ldc)
{
    for (size_t i = 0; i < m; i++) {
        float *row = c + i * ldc;

        if (!beta)
            for (size_t j = 0; j < n; j++)
                row[j] = 0;
        if (trans_b) {
            for (size_t j = 0; j < n; j++) {
                float sum = 0;
                for (size_t l = 0; l < k; l++)
                    sum += a[i * lda + l] * b[j * ldb + l];
                row[j] += sum;
            }
        } else {
            for (size_t l = 0; l < k; l++)
                for (size_t j = 0; j < n; j++)
                    row[j] += a[i * lda + l] * b[l * ldb + j];
        }
    }
}

void msw__blas_sgemm(bool use_blas, bool trans_b, size_t m, size_t n, size_t k,
                     const float *a, size_t lda, const float *b, size_t ldb, int beta,
                     float *c, size_t ldc)
{
#ifdef MSW_HAVE_BLAS
    /* With an empty size some leave C as it is, others end the process. */
    if (use_blas && m && n && k && m <= INT_MAX && n <= INT_MAX && k <= INT_MAX &&
        lda <= INT_MAX && ldb <= INT_MAX && ldc <= INT_MAX) {
        linked_sgemm(trans_b, m, n, k, a, lda, b, ldb, beta, c, ldc);
        return;
    }
#else
    (void)use_blas;
#endif
    built_in_sgemm(trans_b, m, n, k, a, lda, b, ldb, beta, c, ldc);
}
