/* SPDX-License-Identifier: BSD-2-Clause */
#include "ref.h"

#include <math.h>

double ref_uniform(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (double)(*state >> 11) * 0x1p-53;
}

double ref_normal(uint64_t *state)
{
    const double r = sqrt(-2 * log(1 - ref_uniform(state)));

    return r * cos(6.283185307179586 * ref_uniform(state));
}

size_t ref_below(uint64_t *state, size_t n)
{
    return (size_t)(ref_uniform(state) * (double)n);
}

static double weight_of(const float *h, size_t i)
{
    return h ? (double)h[i] : 1;
}

ref_block ref_costs(const float *v, const float *h, size_t n)
{
    double sum = 0, total = 0;
    ref_block b = {0, 0, 0};

    for (size_t i = 0; i < n; i++) {
        total += weight_of(h, i);
        sum += weight_of(h, i) * fabs((double)v[i]);
        b.prune += weight_of(h, i) * pow((double)v[i], 2);
    }
    b.magnitude = sum / total;
    for (size_t i = 0; i < n; i++)
        b.unify += weight_of(h, i) * pow(fabs((double)v[i]) - b.magnitude, 2);
    return b;
}

/* Distance to s_i m for the best m >= 0 of one pattern of signs. */
static double pattern_distance(const float *v, const float *h, size_t n, unsigned pattern)
{
    double sum = 0, total = 0, distance = 0, m;

    for (size_t i = 0; i < n; i++) {
        total += weight_of(h, i);
        sum += weight_of(h, i) * (double)v[i] * (pattern >> i & 1 ? -1 : 1);
    }
    m = sum > 0 ? sum / total : 0;
    for (size_t i = 0; i < n; i++)
        distance += weight_of(h, i) * pow((double)v[i] - (pattern >> i & 1 ? -m : m), 2);
    return distance;
}

double ref_unify_distance(const float *v, const float *h, size_t n)
{
    double least = HUGE_VAL;

    for (unsigned pattern = 0; pattern < 1u << n; pattern++)
        least = fmin(least, pattern_distance(v, h, n, pattern));
    return least;
}

double ref_joint_cost(const double *prune_costs, const double *unify_costs, size_t count,
                      size_t prune, size_t unify)
{
    double least;

    if (prune + unify > count)
        return HUGE_VAL;
    if (count == 0)
        return 0;
    count--;
    least = ref_joint_cost(prune_costs, unify_costs, count, prune, unify);
    if (prune)
        least = fmin(least, prune_costs[count] + ref_joint_cost(prune_costs, unify_costs,
                                                                count, prune - 1, unify));
    if (unify)
        least = fmin(least, unify_costs[count] + ref_joint_cost(prune_costs, unify_costs,
                                                                count, prune, unify - 1));
    return least;
}

double ref_joint_cost_table(const double *prune_costs, const double *unify_costs,
                            size_t count, size_t prune, size_t unify)
{
    double least[REF_MOST + 1][REF_MOST + 1]; /* [pruned][unified] */

    for (size_t p = 0; p <= prune; p++)
        for (size_t u = 0; u <= unify; u++)
            least[p][u] = p + u == 0 ? 0 : HUGE_VAL;
    for (size_t b = 0; b < count; b++)
        for (size_t p = prune + 1; p-- > 0;)
            for (size_t u = unify + 1; u-- > 0;) {
                if (p)
                    least[p][u] = fmin(least[p][u], least[p - 1][u] + prune_costs[b]);
                if (u)
                    least[p][u] = fmin(least[p][u], least[p][u - 1] + unify_costs[b]);
            }
    return least[prune][unify];
}

float *ref_at(const msw_tensor *t, const msw_plan *plan, size_t row, size_t column)
{
    const uint32_t *rows = msw_plan_row_permutation(plan);
    const uint32_t *columns = msw_plan_column_permutation(plan);
    size_t index[4] = {0}, offset = 0; /* of the tensor's dimensions */
    uint32_t i = 1, h = 2, w = 3;      /* axes of a convolution's reduction */
    msw_plan_info info;

    msw_plan_info_init(&info);
    if (msw_plan_get_info(&info, plan))
        return NULL;
    row = rows ? rows[row] : row;
    column = columns ? columns[column] : column;
    if (info.weights == MSW_WEIGHTS_OHWI) {
        h = 1;
        w = 2;
        i = 3;
    }
    if (info.weights == MSW_WEIGHTS_OI) {
        index[0] = row;
        index[1] = column;
    } else if (info.weights == MSW_WEIGHTS_IO) {
        index[0] = column;
        index[1] = row;
    } else if (info.reduction == MSW_REDUCTION_CHANNELS) { /* (h, w, i) */
        index[0] = row;
        index[i] = column % info.shape[i];
        index[w] = column / info.shape[i] % info.shape[w];
        index[h] = column / info.shape[i] / info.shape[w];
    } else { /* (i, h, w) */
        index[0] = row;
        index[w] = column % info.shape[w];
        index[h] = column / info.shape[w] % info.shape[h];
        index[i] = column / info.shape[w] / info.shape[h];
    }
    for (uint32_t axis = 0; axis < info.rank; axis++)
        offset += index[axis] * msw_tensor_stride(t, axis);
    return msw_tensor_data(t) + offset;
}

size_t ref_gather(float *v, const msw_tensor *t, const msw_plan *plan, size_t block)
{
    msw_block b;
    size_t n = 0;

    msw_block_init(&b);
    if (msw_plan_get_block(&b, plan, block))
        return 0;
    for (size_t r = 0; r < b.rows; r++)
        for (size_t c = 0; c < b.columns; c++)
            v[n++] = *ref_at(t, plan, b.row + r, b.column + c);
    return n;
}
