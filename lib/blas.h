/* SPDX-License-Identifier: BSD-2-Clause */
/* The linked CBLAS, or the built-in product where there is none. blas.c is the only
 * file that knows CBLAS; call from the caller's thread only, never in a task. */
#ifndef MSW_LIB_BLAS_H
#define MSW_LIB_BLAS_H

#include <stdbool.h>
#include <stddef.h>

bool msw__blas_linked(void);       /* built with a CBLAS */
bool msw__blas_usable(void);       /* ... whose integers are 32 bits wide */
const char *msw__blas_name(void);  /* as the build found it; "none" */

/* C = A B + beta C, row-major: A is m x k, B is k x n, or with trans_b n x k. beta is 0
 * or 1. use_blas false, or a size beyond INT_MAX: the built-in product. */
void msw__blas_sgemm(bool use_blas, bool trans_b, size_t m, size_t n, size_t k,
                     const float *a, size_t lda, const float *b, size_t ldb, int beta,
                     float *c, size_t ldc);

#endif /* MSW_LIB_BLAS_H */
