/* SPDX-License-Identifier: BSD-2-Clause */
#include "project.h"

#include <float.h>
#include <math.h>

/* Sums run in this many lanes, a fixed order that leaves the processor something to
 * do while an addition is under way. */
enum { LANES = 4 };

static double lanes_total(const double *lanes)
{
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

static double absolute(float v)
{
    return fabs((double)v);
}

/* The sums over a block: h |v|, h v^2 and h, which without importance is 1. */
typedef struct block_sums {
    double absolute, square, importance;
} block_sums;

static block_sums sum_plain(const float *v, size_t ld, size_t rows, size_t columns)
{
    double s[LANES] = {0}, q[LANES] = {0};

    for (size_t r = 0; r < rows; r++, v += ld) {
        size_t c = 0;

        for (; c + LANES <= columns; c += LANES)
            for (size_t l = 0; l < LANES; l++) {
                const double x = absolute(v[c + l]);
                s[l] += x;
                q[l] += x * x;
            }
        for (size_t l = 0; c + l < columns; l++) {
            const double x = absolute(v[c + l]);
            s[l] += x;
            q[l] += x * x;
        }
    }
    return (block_sums){lanes_total(s), lanes_total(q), (double)(rows * columns)};
}

static block_sums sum_weighted(const float *v, size_t ld, const float *h, size_t ld_h,
                               size_t rows, size_t columns)
{
    block_sums sums = {0};

    for (size_t r = 0; r < rows; r++, v += ld, h += ld_h)
        for (size_t c = 0; c < columns; c++) {
            const double x = absolute(v[c]), weight = (double)h[c];
            sums.absolute += weight * x;
            sums.square += weight * x * x;
            sums.importance += weight;
        }
    return sums;
}

static double spread_plain(const float *v, size_t ld, size_t rows, size_t columns,
                           double magnitude)
{
    double s[LANES] = {0};

    for (size_t r = 0; r < rows; r++, v += ld) {
        size_t c = 0;

        for (; c + LANES <= columns; c += LANES)
            for (size_t l = 0; l < LANES; l++) {
                const double x = absolute(v[c + l]) - magnitude;
                s[l] += x * x;
            }
        for (size_t l = 0; c + l < columns; l++) {
            const double x = absolute(v[c + l]) - magnitude;
            s[l] += x * x;
        }
    }
    return lanes_total(s);
}

static double spread_weighted(const float *v, size_t ld, const float *h, size_t ld_h,
                              size_t rows, size_t columns, double magnitude)
{
    double sum = 0;

    for (size_t r = 0; r < rows; r++, v += ld, h += ld_h)
        for (size_t c = 0; c < columns; c++) {
            const double x = absolute(v[c]) - magnitude;
            sum += (double)h[c] * x * x;
        }
    return sum;
}

/* The spread takes a second pass: as a - n m^2 it would cancel to noise just where
 * training has nearly unified a block. */
msw__block_costs msw__block_cost(const float *v, size_t ld, const float *h, size_t ld_h,
                                 size_t rows, size_t columns)
{
    const block_sums sums = h ? sum_weighted(v, ld, h, ld_h, rows, columns)
                              : sum_plain(v, ld, rows, columns);
    const double m = sums.absolute / sums.importance;
    const double spread = h ? spread_weighted(v, ld, h, ld_h, rows, columns, m)
                            : spread_plain(v, ld, rows, columns, m);

    return (msw__block_costs){sums.square, spread < sums.square ? spread : sums.square, m,
                              sums.importance};
}

msw__block_sum msw__block_sum_of(const float *v, size_t ld, const float *h, size_t ld_h,
                                 size_t rows, size_t columns)
{
    const block_sums sums = h ? sum_weighted(v, ld, h, ld_h, rows, columns)
                              : sum_plain(v, ld, rows, columns);

    return (msw__block_sum){sums.absolute, sums.importance};
}

float msw__block_magnitude(const float *v, size_t ld, const float *h, size_t ld_h,
                           size_t rows, size_t columns)
{
    const msw__block_sum s = msw__block_sum_of(v, ld, h, ld_h, rows, columns);

    return (float)(s.sum / s.weight);
}

static float root(double cost)
{
    const double r = sqrt(cost);

    return r < (double)FLT_MAX ? (float)r : FLT_MAX;
}

msw__candidate msw__candidate_of(uint32_t block, const msw__block_costs *costs)
{
    return (msw__candidate){root(costs->prune), root(costs->unify), block};
}

/* Shares such as 0.7 and 0.3 need not add up to 1 exactly. Of at most UINT32_MAX blocks
 * this is not enough to gain one. */
#define SHARES_TOLERANCE 1e-12

bool msw__shares_valid(double prune, double unify)
{
    return prune >= 0 && unify >= 0 && prune + unify <= 1 + SHARES_TOLERANCE;
}

static size_t share_count(double share, size_t blocks)
{
    return (size_t)floor(share * (1 + 4 * DBL_EPSILON) * (double)blocks);
}

void msw__shares_count(size_t *prune_count, size_t *unify_count, double prune,
                       double unify, size_t blocks)
{
    *prune_count = share_count(prune, blocks);
    *unify_count = share_count(unify, blocks);
}

/* Block row by block row: to the projection each is a layer of its own. */
static void project_rows(uint8_t *classes, msw__candidate *candidates, const msw_plan *plan,
                         size_t prune, size_t unify)
{
    const size_t blocks = plan->block_column_count;

    for (size_t i = 0; i < plan->block_row_count; i++) {
        msw__candidate *row = candidates + i * blocks;

        for (size_t b = 0; b < blocks; b++)
            row[b].block = (uint32_t)b;
        msw__project_classes(classes + i * blocks, row, blocks, prune, unify);
    }
}

void msw__project_shares(uint8_t *classes, msw__candidate *candidates, const msw_plan *plan,
                         const msw__shares *shares)
{
    size_t prune, unify;

    msw__shares_count(&prune, &unify, shares->prune, shares->unify,
                      shares->per_row ? plan->block_column_count : plan->block_count);
    if (shares->per_row)
        project_rows(classes, candidates, plan, prune, unify);
    else
        msw__project_classes(classes, candidates, plan->block_count, prune, unify);
}

msw_status msw__importance_of(msw__importance *out, const msw_tensor *h)
{
    double sum = 0;

    *out = (msw__importance){NULL, 0};
    if (!h)
        return MSW_OK;
    const size_t length = h->shape[h->rank - 1], stride = h->stride[h->rank - 1];
    for (size_t outer = 0; outer < h->count / length; outer++) {
        const float *run = msw__tensor_run(h, outer);

        for (size_t i = 0; i < length; i++) {
            if (!isfinite(run[i * stride]))
                return MSW_E_NUMERIC;
            if (run[i * stride] < 0)
                return MSW_E_INVAL;
            sum += (double)run[i * stride];
        }
    }
    if (sum > 0)
        *out = (msw__importance){h, (double)h->count / sum};
    return MSW_OK;
}
