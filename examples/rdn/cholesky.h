/* SPDX-License-Identifier: BSD-2-Clause */
/* Linear systems with a positive definite matrix, row-major, by blocks on CBLAS. */
#ifndef CHOLESKY_H
#define CHOLESKY_H

#include <stdbool.h>
#include <stddef.h>

/* The lower triangle of a [n][n] becomes L with a = L L'. false: not positive definite. */
bool cholesky(double *a, size_t n);
/* x [n][columns] becomes L^-1 x, or L'^-1 x. */
void cholesky_forward(const double *l, size_t n, double *x, size_t columns);
void cholesky_backward(const double *l, size_t n, double *x, size_t columns);

#endif /* CHOLESKY_H */
