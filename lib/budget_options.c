/* SPDX-License-Identifier: BSD-2-Clause */
/* Options of a budget and of its layers, with the defaults filled in. */
#include "budget.h"

#include <math.h>

enum {
    OLDEST_OPTIONS = sizeof(msw_budget_options),
    OLDEST_LAYER = offsetof(msw_budget_layer, levels),
    OLDEST_STORE = offsetof(msw_store_options, expected_n),
    MOST_FLOAT_BITS = 64
};

static bool not_negative(double x)
{
    return x >= 0 && isfinite(x);
}

static msw_status take_store(msw_store_options *out, const msw_store_options *store)
{
    return store ? msw__take_options(out, sizeof *out, OLDEST_STORE, store) : MSW_OK;
}

msw_status msw__budget_take_options(msw_budget_options *o, msw_store_options *store,
                                    const msw_budget_options *options)
{
    msw_status status = MSW_OK;

    msw_budget_options_init(o);
    msw_store_options_init(store);
    if (options)
        status = msw__take_options(o, sizeof *o, OLDEST_OPTIONS, options);
    if (!status)
        status = take_store(store, o->store);
    o->store = NULL;
    if (status)
        return status;
    return o->resource <= MSW_RESOURCE_SECONDS && o->scale <= MSW_SCALE_NONE &&
                   not_negative(o->rest)
               ? MSW_OK
               : MSW_E_INVAL;
}

/* Bounds that can be kept, up to the rounding of shares such as 0.7 and 0.3. */
static bool bounds_valid(const msw_budget_layer *o)
{
    return msw__shares_valid(o->prune_min, o->unify_min) && o->prune_max <= 1 &&
           o->unify_max <= 1 && o->prune_min <= o->prune_max && o->unify_min <= o->unify_max;
}

static bool bounded(const msw_budget_layer *o)
{
    return o->prune_min != 0 || o->unify_min != 0 ||
           (o->prune_max != 0 && o->prune_max != 1) ||
           (o->unify_max != 0 && o->unify_max != 1);
}

msw_status msw__budget_take_layer(msw_budget_layer *o, msw_store_options *store,
                                  const msw_budget_layer *options)
{
    msw_status status = MSW_OK;

    msw_budget_layer_init(o);
    if (options)
        status = msw__take_options(o, sizeof *o, OLDEST_LAYER, options);
    if (!status)
        status = take_store(store, o->store);
    o->store = NULL;
    if (status)
        return status;
    if (o->exclude & ~(MSW_EXCLUDE_PRUNE | MSW_EXCLUDE_UNIFY) || o->reserved)
        return MSW_E_VERSION;
    if (o->levels > MSW_MAX_MERGE_LEVELS || (o->levels && bounded(o)))
        return MSW_E_INVAL;
    o->weight = o->weight == 0 ? 1 : o->weight;
    o->prune_max = o->prune_max == 0 ? 1 : o->prune_max;
    o->unify_max = o->unify_max == 0 ? 1 : o->unify_max;
    o->columns = o->columns ? o->columns : 1;
    if ((o->exclude & MSW_EXCLUDE_PRUNE && o->prune_min > 0) ||
        (o->exclude & MSW_EXCLUDE_UNIFY && o->unify_min > 0))
        return MSW_E_INVAL;
    return bounds_valid(o) && o->weight > 0 && isfinite(o->weight) &&
                   o->float_bits <= MOST_FLOAT_BITS
               ? MSW_OK
               : MSW_E_INVAL;
}

void msw__budget_bounds(msw__share *s, const msw_budget_layer *o, double part)
{
    const size_t blocks = s->plan->block_count;
    size_t prune, unify;

    msw__shares_count(&prune, &unify, part * o->prune_min, part * o->unify_min, blocks);
    s->least[MSW_CLASS_PRUNED] = prune;
    s->least[MSW_CLASS_UNIFIED] = unify;
    msw__shares_count(&prune, &unify, o->prune_max, o->unify_max, blocks);
    s->most[MSW_CLASS_PRUNED] = o->exclude & MSW_EXCLUDE_PRUNE ? 0 : prune;
    s->most[MSW_CLASS_UNIFIED] = o->exclude & MSW_EXCLUDE_UNIFY ? 0 : unify;
}

double msw__mean_square(const msw_tensor *t)
{
    const size_t length = t->shape[t->rank - 1], stride = t->stride[t->rank - 1];
    double sum = 0;

    for (size_t outer = 0; outer < t->count / length; outer++) {
        const float *run = msw__tensor_run(t, outer);

        for (size_t i = 0; i < length; i++)
            sum += (double)run[i * stride] * (double)run[i * stride];
    }
    return sum / (double)t->count;
}
