/* SPDX-License-Identifier: BSD-2-Clause */
/* The dense copy of W, and the product by the BLAS. */
#include "gemm.h"
#include "blas.h"

#include <math.h>

/* Making */

static size_t dense_column(const msw_plan *p, size_t column)
{
    return p->column_permutation ? p->column_permutation[column] : column;
}

static void copy_block_row(float *dense, const msw_unified *u, size_t i)
{
    const msw_plan *p = u->plan;
    size_t magnitude = u->magnitude_start[i], sign = u->sign_start[i];
    size_t weight = u->free_start[i];

    for (size_t j = 0; j < p->block_column_count; j++) {
        const uint8_t class = u->classes[i * p->block_column_count + j];

        if (class == MSW_CLASS_PRUNED)
            continue;
        for (size_t r = 0; r < msw__plan_rows(p, i); r++) {
            const size_t v = msw__plan_row(p, i) + r;
            const size_t at = p->row_permutation ? p->row_permutation[v] : v;
            float *row = dense + at * p->columns;

            for (size_t c = 0; c < msw__plan_columns(p, j); c++) {
                float *to = row + dense_column(p, j * p->block_columns + c);
                if (class == MSW_CLASS_FREE)
                    *to = u->free_weights[weight++];
                else
                    *to = msw__sign_get(u->signs, sign++) ? -u->magnitudes[magnitude]
                                                          : u->magnitudes[magnitude];
            }
        }
        magnitude += class == MSW_CLASS_UNIFIED;
    }
}

msw_status msw__gemm_make_dense(msw_gemm *g, const msw_unified *u)
{
    size_t count;
    void *memory;
    msw_status status;

    if (!msw__size_mul(&count, g->rows, g->columns))
        return MSW_E_NOMEM;
    status = msw__calloc(&memory, g->ctx, count, sizeof *g->dense);
    if (status)
        return status;
    g->dense = memory;
    for (size_t i = 0; i < u->plan->block_row_count; i++)
        copy_block_row(g->dense, u, i);
    return MSW_OK;
}

void msw__gemm_drop_dense(msw_gemm *g)
{
    msw__free(g->ctx, g->dense, g->rows * g->columns, sizeof *g->dense);
    g->dense = NULL;
}

/* Running. The BLAS knows neither bias nor activation: the bias goes into Y before, so
 * that the product is added to it. */

static size_t output(const msw_gemm *g, size_t row)
{
    return g->row ? g->row[row] : row;
}

static void put_bias(const msw_gemm *g, const msw_gemm_call *c)
{
    const bool columns = c->layout == MSW_LAYOUT_COLUMNS;

    for (size_t line = 0; line < (columns ? g->rows : c->n); line++) {
        float *y = c->y + (columns ? output(g, line) : line) * c->ldy;

        if (!columns)
            for (size_t i = 0; i < g->rows; i++)
                y[output(g, i)] = g->bias[i] + (c->beta ? y[output(g, i)] : 0);
        else if (c->beta)
            for (size_t j = 0; j < c->n; j++)
                y[j] += g->bias[line];
        else
            for (size_t j = 0; j < c->n; j++)
                y[j] = g->bias[line];
    }
}

/* A NaN stays. */
static void activate(const msw_gemm *g, const msw_gemm_call *c)
{
    const bool columns = c->layout == MSW_LAYOUT_COLUMNS;
    const size_t lines = columns ? g->rows : c->n, length = columns ? c->n : g->rows;
    const float low = g->low, high = g->high;

    for (size_t line = 0; line < lines; line++) {
        float *y = c->y + line * c->ldy;

        for (size_t i = 0; i < length; i++) {
            const float v = y[i] < low ? low : y[i];
            y[i] = v > high ? high : v;
        }
    }
}

void msw__gemm_run_dense(const msw_gemm *g, const msw_gemm_call *c)
{
    const bool columns = c->layout == MSW_LAYOUT_COLUMNS;
    const int beta = c->beta || g->biased;

    if (g->biased)
        put_bias(g, c);
    if (columns || c->n == 1) /* of one column sgemv() is the fast one */
        msw__blas_sgemm(g->ctx->blas, false, g->rows, c->n, g->columns, g->dense,
                        g->columns, c->x, columns ? c->ldx : 1, beta, c->y,
                        columns ? c->ldy : 1);
    else
        msw__blas_sgemm(g->ctx->blas, true, c->n, g->rows, g->columns, c->x, c->ldx,
                        g->dense, g->columns, beta, c->y, c->ldy);
    if (!isinf(g->low) || !isinf(g->high))
        activate(g, c);
}
