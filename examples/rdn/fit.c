/* SPDX-License-Identifier: BSD-2-Clause */
#include "fit.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "../must.h"
#include "cholesky.h"
#include "memory.h"

/* One row of blocks. Its columns are the free ones, the constant of the bias last among
 * them, then those of unified blocks. */
struct problem {
    const struct statistics *s;
    size_t first, rows;       /* outputs */
    size_t free, unified;     /* columns */
    size_t *columns;          /* [free + unified] */
    size_t *block;            /* [unified]: which of the row's unified blocks it is of */
    size_t magnitudes;        /* unified blocks */
    double *factor;           /* [free][free], Cholesky */
    double *coupling;         /* [free][unified]: factor^-1 times free x unified moments */
    double *rest;             /* [unified][unified], Schur complement */
    double *x_free, *x_unified; /* [free][rows], [unified][rows]: right-hand sides */
};

static double moment(const struct problem *p, size_t i, size_t k, double ridge)
{
    return p->s->gram[p->columns[i] * p->s->inputs + p->columns[k]] + (i == k ? ridge : 0);
}

static size_t take_columns(struct problem *p, size_t at, const msw_block *b)
{
    for (size_t c = 0; c < b->columns; c++)
        p->columns[at + c] = b->column + c;
    return at + b->columns;
}

/* Which columns are free and which are unified. */
static void sort_columns(struct problem *p, const msw_unified *u, size_t row_of_blocks,
                         size_t blocks)
{
    const uint8_t *classes = msw_unified_classes(u);
    msw_block b;

    msw_block_init(&b);
    for (int unified = 0; unified < 2; unified++) {
        for (size_t i = 0; i < blocks; i++) {
            const size_t number = row_of_blocks * blocks + i;

            if (classes[number] != (unified ? MSW_CLASS_UNIFIED : MSW_CLASS_FREE))
                continue;
            must(msw_plan_get_block(&b, msw_unified_plan(u), number), "block");
            if (unified) {
                for (size_t c = 0; c < b.columns; c++)
                    p->block[p->unified + c] = p->magnitudes;
                p->magnitudes++;
                p->unified = take_columns(p, p->free + p->unified, &b) - p->free;
            } else {
                p->free = take_columns(p, p->free, &b);
            }
        }
        if (!unified)
            p->columns[p->free++] = p->s->inputs - 1;
    }
    must(msw_plan_get_block(&b, msw_unified_plan(u), row_of_blocks * blocks), "block");
    p->first = b.row;
    p->rows = b.rows;
}

static float *value(const struct problem *p, float *weights, float *bias, size_t column,
                    size_t row)
{
    const size_t input = p->columns[column], output = p->first + row;

    return input + 1 == p->s->inputs ? &bias[output]
                                     : &weights[input * p->s->outputs + output];
}

static double sign(const struct problem *p, float *weights, size_t column, size_t row)
{
    return signbit(*value(p, weights, NULL, p->free + column, row)) ? -1 : 1;
}

static void set_up(struct problem *p, float *weights, float *bias, double ridge)
{
    const size_t f = p->free, u = p->unified;

    p->factor = allocate(f * f, sizeof(double));
    p->coupling = allocate(f * u + 1, sizeof(double));
    p->rest = allocate(u * u + 1, sizeof(double));
    p->x_free = allocate(f * p->rows, sizeof(double));
    p->x_unified = allocate(u * p->rows + 1, sizeof(double));
    for (size_t i = 0; i < f + u; i++) {
        for (size_t k = 0; k < f + u; k++) {
            const double m = moment(p, i, k, ridge);

            if (i < f && k < f)
                p->factor[i * f + k] = m;
            else if (i < f)
                p->coupling[i * u + k - f] = m;
            else if (k >= f)
                p->rest[(i - f) * u + k - f] = m;
        }
        for (size_t r = 0; r < p->rows; r++) {
            double *x = i < f ? &p->x_free[i * p->rows + r]
                              : &p->x_unified[(i - f) * p->rows + r];

            *x = p->s->cross[(p->first + r) * p->s->inputs + p->columns[i]] +
                 ridge * (double)*value(p, weights, bias, i, r);
        }
    }
}

/* Take the free weights out of the system. */
static void eliminate(struct problem *p)
{
    const int f = (int)p->free, u = (int)p->unified, rows = (int)p->rows;

    must(cholesky(p->factor, p->free) ? MSW_OK : MSW_E_NUMERIC, "moments of free weights");
    cholesky_forward(p->factor, p->free, p->x_free, p->rows);
    if (u == 0)
        return;
    cholesky_forward(p->factor, p->free, p->coupling, p->unified);
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, u, u, f, -1, p->coupling, u,
                p->coupling, u, 1, p->rest, u);
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, u, rows, f, -1, p->coupling, u,
                p->x_free, rows, 1, p->x_unified, rows);
}

/* A and q of A m = q, for the magnitudes m. */
static void magnitude_system(const struct problem *p, double *a, double *q, float *weights,
                             const double *output_weight)
{
    for (size_t r = 0; r < p->rows; r++) {
        const double weight = output_weight ? output_weight[p->first + r] : 1;

        for (size_t i = 0; i < p->unified; i++) {
            const double s = weight * sign(p, weights, i, r);
            double *row = a + p->block[i] * p->magnitudes;

            q[p->block[i]] += s * p->x_unified[i * p->rows + r];
            for (size_t k = 0; k < p->unified; k++)
                row[p->block[k]] +=
                    s * sign(p, weights, k, r) * p->rest[i * p->unified + k];
        }
    }
}

static void solve(struct problem *p, float *weights, float *bias,
                  const double *output_weight)
{
    const size_t m = p->magnitudes;
    double *a = allocate(m * m + 1, sizeof *a), *q = allocate(m + 1, sizeof *q);

    magnitude_system(p, a, q, weights, output_weight);
    must(cholesky(a, m) ? MSW_OK : MSW_E_NUMERIC, "moments of magnitudes");
    cholesky_forward(a, m, q, 1);
    cholesky_backward(a, m, q, 1);
    for (size_t r = 0; r < p->rows; r++)
        for (size_t i = 0; i < p->unified; i++) {
            const double w = sign(p, weights, i, r) * q[p->block[i]];

            *value(p, weights, bias, p->free + i, r) = (float)w;
            p->x_unified[i * p->rows + r] = w;
        }
    if (p->unified > 0)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)p->free, (int)p->rows,
                    (int)p->unified, -1, p->coupling, (int)p->unified, p->x_unified,
                    (int)p->rows, 1, p->x_free, (int)p->rows);
    cholesky_backward(p->factor, p->free, p->x_free, p->rows);
    for (size_t i = 0; i < p->free; i++)
        for (size_t r = 0; r < p->rows; r++)
            *value(p, weights, bias, i, r) = (float)p->x_free[i * p->rows + r];
    free(a);
    free(q);
}

static double mean_moment(const struct statistics *s)
{
    double sum = 0;

    for (size_t i = 0; i < s->inputs; i++)
        sum += s->gram[i * s->inputs + i];
    return sum / (double)s->inputs;
}

void fit(float *weights, float *bias, const struct statistics *s, const msw_unified *u,
         const double *output_weight, double ridge)
{
    msw_plan_info info;

    msw_plan_info_init(&info);
    must(msw_plan_get_info(&info, msw_unified_plan(u)), "plan");
    for (size_t i = 0; i < info.block_row_count; i++) {
        struct problem p = {.s = s};

        p.columns = allocate(s->inputs, sizeof *p.columns);
        p.block = allocate(s->inputs, sizeof *p.block);
        sort_columns(&p, u, i, info.block_column_count);
        set_up(&p, weights, bias, ridge * mean_moment(s));
        eliminate(&p);
        solve(&p, weights, bias, output_weight);
        free(p.columns);
        free(p.block);
        free(p.factor);
        free(p.coupling);
        free(p.rest);
        free(p.x_free);
        free(p.x_unified);
    }
}
