/* SPDX-License-Identifier: BSD-2-Clause */
/* The weights of a given structure with the least squared error, exactly.
 *
 * The unknowns of a row of blocks are the free weights of each of its outputs, their
 * biases, and one magnitude for each unified block, shared by the outputs. Free weights
 * stand in the same columns for all outputs of a row of blocks, so they are eliminated
 * with one Cholesky factor (the Schur complement), which leaves a small system for the
 * magnitudes. */
#ifndef FIT_H
#define FIT_H

#include <msw/msw.h>

#include "statistics.h"

/* `weights` [fan-in][outputs] have the structure of u, its signs too, and get new values;
 * so does the bias. `output_weight` (NULL: 1) says what an output's error counts, which
 * matters where outputs share magnitudes. `ridge`, a share of the mean second moment, pulls
 * towards the old values, so that directions in which there was no data stay. */
void fit(float *weights, float *bias, const struct statistics *s, const msw_unified *u,
         const double *output_weight, double ridge);

#endif /* FIT_H */
