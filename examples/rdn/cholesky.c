/* SPDX-License-Identifier: BSD-2-Clause */
#include "cholesky.h"

#include <cblas.h>
#include <math.h>

enum { BLOCK = 64 };

static bool unblocked(double *a, size_t n, size_t stride)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k <= i; k++) {
            double *at = &a[i * stride + k];
            const double rest =
                *at - cblas_ddot((int)k, a + i * stride, 1, a + k * stride, 1);

            if (k < i)
                *at = rest / a[k * stride + k];
            else if (rest > 0)
                *at = sqrt(rest);
            else
                return false;
        }
    return true;
}

bool cholesky(double *a, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK) {
        const size_t size = n - i < BLOCK ? n - i : BLOCK, below = n - i - size;
        double *corner = a + i * n + i, *under = corner + size * n;

        if (!unblocked(corner, size, n))
            return false;
        if (below == 0)
            break;
        cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit,
                    (int)below, (int)size, 1, corner, (int)n, under, (int)n);
        cblas_dsyrk(CblasRowMajor, CblasLower, CblasNoTrans, (int)below, (int)size, -1,
                    under, (int)n, 1, under + size, (int)n);
    }
    return true;
}

static void solve(enum CBLAS_TRANSPOSE transpose, const double *l, size_t n, double *x,
                  size_t columns)
{
    if (n > 0 && columns > 0)
        cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, transpose, CblasNonUnit, (int)n,
                    (int)columns, 1, l, (int)n, x, (int)columns);
}

void cholesky_forward(const double *l, size_t n, double *x, size_t columns)
{
    solve(CblasNoTrans, l, n, x, columns);
}

void cholesky_backward(const double *l, size_t n, double *x, size_t columns)
{
    solve(CblasTrans, l, n, x, columns);
}
