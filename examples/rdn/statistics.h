/* SPDX-License-Identifier: BSD-2-Clause */
/* Second moments of what a convolution reads, and of it with what the convolution is to
 * put out. For the columns x of its im2col matrix, a constant 1 for the bias behind them,
 * and the wanted outputs y: the sums of x x' and of y x'. They are all that the squared
 * error of any weights depends on. */
#ifndef STATISTICS_H
#define STATISTICS_H

#include "network.h"

struct statistics {
    size_t inputs; /* with the constant: fan-in + 1 */
    size_t outputs;
    double *gram;  /* [inputs][inputs] */
    double *cross; /* [outputs][inputs] */
    double energy; /* sum of y y' over the outputs and positions */
    double count;  /* positions */
};

void statistics_new(struct statistics *s, const struct layer *l);
void statistics_free(struct statistics *s);
/* Maps of `batch` images: x as the layer reads it, y as it should write it. */
void statistics_add(struct statistics *s, const struct layer *l, const float *x,
                    const float *y, size_t batch, size_t height, size_t width);
/* Mean squared error of weights [fan-in][outputs] and bias, per position. */
double statistics_error(const struct statistics *s, const float *weights,
                        const float *bias);

#endif /* STATISTICS_H */
