/* SPDX-License-Identifier: BSD-2-Clause */
/* What the solver does to runs of weights, eight at a time. The loops are plain C
 * (lanes_body.h), compiled once for every instruction set; all give the same bits.
 *
 * Runs are n weights, a multiple of MSW__LANES unless said otherwise; arrays do not
 * overlap. */
#ifndef MSW_LIB_LANES_H
#define MSW_LIB_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MSW__LANES = 8,
    MSW__SPREAD = 4, /* columns written at a time: blocks are seldom narrower */
    MSW__RUN = 512 /* weights, at most, where arrays of a fixed size are filled */
};

/* What Z is in each column of some blocks side by side: where held is all ones, a weight
 * of this magnitude, 0 in a PRUNED block; where held is 0, in a FREE block, the weight
 * itself. */
typedef struct msw__columns {
    float magnitude[MSW__RUN + MSW__SPREAD];
    uint32_t held[MSW__RUN + MSW__SPREAD];
} msw__columns;

/* A bit per weight of a row. */
typedef struct msw__sign_row {
    uint8_t bits[MSW__RUN / 8];
} msw__sign_row;

/* A row of the old Z. In FREE blocks Z = D. Rows are short and far apart, and hardware does
 * not see where the next ones are: as long a run from w_soon and d_soon on is prefetched. */
typedef struct msw__z_row {
    const msw__columns *columns;
    const msw__sign_row *signs;
    const float *d;
    const float *w_soon, *d_soon;
} msw__z_row;

/* Squared norms, in lanes, and the largest |D'| and |Z'|. */
typedef struct msw__lane_sums {
    double weights[MSW__LANES], primal[MSW__LANES], dual[MSW__LANES];
    float bound[MSW__LANES];
} msw__lane_sums;

/* Per column of a strip of rows. */
typedef struct msw__column_sums {
    double absolute[MSW__RUN], square[MSW__RUN], importance[MSW__RUN];
} msw__column_sums;

typedef struct msw__lane_kernels {
    /* Z. */
    void (*z)(float *z, const msw__z_row *old, size_t n);
    /* V = W + U, where U = Z - D is exactly 0 in FREE blocks. */
    void (*v)(float *v, const float *w, const msw__z_row *old, size_t n);
    /* Down the rows: h |v|, h v^2 and h; with h NULL the first two alone, h being 1. */
    void (*column_sums)(msw__column_sums *sums, const float *v, const float *h, size_t ld,
                        size_t rows, size_t n);
    /* Down the rows: h (|v| - m)^2 with the m of each column. */
    void (*column_spread)(double *spread, const double *m, const float *v, const float *h,
                          size_t ld, size_t rows, size_t n);
    /* Z' of V; D' = Z' - ratio (V - Z') to d, which may be old->d; the signs of Z', to
     * what may be old->signs. */
    void (*project)(float *d, msw__sign_row *signs, msw__lane_sums *sums, const float *w,
                    const msw__z_row *old, const msw__columns *next, float ratio, size_t n);
    /* g += factor (h) (w - d); 0, or NaN when a result is not finite. Any n. */
    float (*penalty)(float *g, const float *w, const float *d, const float *h, float factor,
                     size_t n);
    /* |x| <= limit for all. Any n. */
    bool (*within)(const float *x, float limit, size_t n);
} msw__lane_kernels;

/* Those for the MSW_CPU_* levels of a context. */
const msw__lane_kernels *msw__lanes(uint32_t cpu);

extern const msw__lane_kernels msw__lanes_c, msw__lanes_avx2, msw__lanes_avx512;

static inline size_t msw__lanes_up(size_t n)
{
    return (n + MSW__LANES - 1) / MSW__LANES * MSW__LANES;
}

static inline double msw__lanes_total(const double *sum)
{
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) +
           ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

#endif /* MSW_LIB_LANES_H */
