/* SPDX-License-Identifier: BSD-2-Clause */
/* The Z step of MSW_RELAXATION_ENVELOPE: envelope.h applied to a layer. */
#include "admm.h"
#include "walk.h"

#include <float.h>
#include <math.h>

static float root(double x)
{
    return x > 0 ? (float)fmin(sqrt(x), (double)FLT_MAX) : 0;
}

static msw__block_costs costs_of(const msw__cell *cell)
{
    return msw__block_cost(cell->v, cell->ld, cell->h, cell->ld_h, cell->rows,
                           cell->columns);
}

static void rate_block(const msw__cell *cell, void *arg)
{
    const msw__block_costs costs = costs_of(cell);
    msw__envelope_block *blocks = arg;

    blocks[cell->block] = (msw__envelope_block){root(costs.prune), root(costs.unify),
                                                root(costs.prune - costs.unify)};
}

/* The sign stays: |v| - m is at least -m. */
static void shrink_block(const msw__cell *cell, void *arg)
{
    const msw__envelope_block *x = (const msw__envelope_block *)arg + cell->block;
    const double rest = (double)x->rest, m = costs_of(cell).magnitude;
    const double mean = m * ((double)x->mean - rest);

    if (rest == 1) /* and so is the other: the block as it is */
        return;
    for (size_t r = 0; r < cell->rows; r++)
        for (size_t c = 0; c < cell->columns; c++) {
            float *v = cell->v + r * cell->ld + c;
            const float z = (float)(mean + fabs((double)*v) * rest);

            *v = msw__negative(*v) && z > 0 ? -z : z; /* no -0 */
        }
}

/* Each block row by itself, or all as one. */
static void solve(msw__envelope_block *blocks, const msw__layer *l, double share,
                  double lambda)
{
    const size_t parts = l->per_row ? l->plan->block_row_count : 1;
    const size_t count = l->plan->block_count / parts;
    size_t prune, unify;

    msw__shares_count(&prune, &unify, share * l->prune, share * l->unify, count);
    for (size_t i = 0; i < parts; i++)
        msw__envelope(blocks + i * count, count, count - prune - unify, count - prune,
                      lambda);
}

msw_status msw__layer_relax(msw_admm *admm, msw__layer *l, double share)
{
    const msw__importance h = {.h = l->importance, .scale = 1};
    msw__walk walk = {.plan = l->plan, .tensor = l->proposed, .importance = &h,
                      .access = MSW__READ, .visit = rate_block,
                      .arg = admm->scratch.envelope};
    msw_status status;

    if (!(l->prune > 0 || l->unify > 0))
        return MSW_OK;
    status = msw__walk_blocks(&walk);
    if (status)
        return status;
    solve(admm->scratch.envelope, l, share,
          msw__envelope_lambda(&admm->options, admm->updates));
    walk.access = MSW__READ | MSW__WRITE;
    walk.visit = shrink_block;
    return msw__walk_blocks(&walk);
}
