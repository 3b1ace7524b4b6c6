/* SPDX-License-Identifier: BSD-2-Clause */
/* What blocks take of a resource. */
#include "budget.h"

#include "file_format.h"

#include <string.h>

enum {
    BITS = 8,
    GROUP = 4,                 /* weights of a look-up */
    BLOCKS_PER_BYTE = 5,       /* of a class map with three classes */
    FRAME = 64 + 2 * 40 + 96, /* header, section table, what begins at multiples of 64 */
    SECTION = 40 + 48,        /* one more */
    RECORD = 36,               /* of a tensor in the index, with a short name */
    DIMENSION = 8
};

static uint32_t bytes_of(uint32_t dtype)
{
    return dtype == MSW_DTYPE_F16 ? 2 : 4;
}

bool msw__resource_measured(const msw__layer_resource *r)
{
    if (r->resource == MSW_RESOURCE_BYTES)
        return !r->float_bits && r->store.encoding != MSW_ENCODING_PLAIN;
    return r->resource == MSW_RESOURCE_SECONDS;
}

bool msw__resource_merges(const msw__layer_resource *r)
{
    return r->resource == MSW_RESOURCE_BYTES &&
           (r->float_bits || r->store.encoding != MSW_ENCODING_PACKED);
}

double msw__resource_merge_frame(void)
{
    return SECTION;
}

double msw__resource_frame(uint32_t resource)
{
    return resource == MSW_RESOURCE_BYTES ? FRAME : 0;
}

static double record_bytes(const msw_plan *p)
{
    return RECORD + DIMENSION * (double)p->rank;
}

static double permutation_bytes(const uint32_t *permutation, size_t count)
{
    return permutation ? (double)count * (double)msw__index_bytes(count) : 0;
}

static double class_map_bytes(const msw_plan *p)
{
    return (double)((p->block_count + BLOCKS_PER_BYTE - 1) / BLOCKS_PER_BYTE);
}

/* Costs of a free weight; of a unified block, each of its weights and each look-up. */
typedef struct unit_amounts {
    double free, block, weight, lookup;
} unit_amounts;

static void fill_amounts(msw__share *s, const unit_amounts *u)
{
    for (size_t kind = 0; kind < MSW__BLOCK_KINDS; kind++) {
        size_t rows, columns;

        memset(s->amount[kind], 0, sizeof s->amount[kind]);
        if (!msw__share_block_size(&rows, &columns, s->plan, kind))
            continue;
        s->amount[kind][MSW_CLASS_FREE] = u->free * (double)(rows * columns);
        s->amount[kind][MSW_CLASS_UNIFIED] =
            u->block + u->weight * (double)(rows * columns) +
            u->lookup * (double)(rows * ((columns + GROUP - 1) / GROUP));
    }
}

/* Known */

static void bytes_as_they_are(msw__share *s, const msw__layer_resource *r)
{
    const double bits = r->float_bits;
    const unit_amounts u = {
        .free = bits > 0 ? bits / BITS : bytes_of(r->store.free_weights),
        .block = bits > 0 ? bits / BITS : bytes_of(r->store.magnitudes),
        .weight = 1.0 / BITS,
    };

    fill_amounts(s, &u);
    s->fixed = record_bytes(s->plan) +
               permutation_bytes(s->plan->row_permutation, s->plan->rows) +
               permutation_bytes(s->plan->column_permutation, s->plan->columns) +
               class_map_bytes(s->plan);
}

/* Of a class and of a choice whether to split, in the transport form, before there is a
 * choice to learn from. */
#define FIRST_LABEL_BITS 0.7
#define FIRST_SPLIT_BITS 0.5

void msw__resource_nodes(msw__share *s, const msw__layer_resource *r)
{
    const bool measured = msw__resource_measured(r);
    msw__node_amounts *a = &s->tree->amounts;
    size_t rows = 0, columns = 0, kind = 0;

    while (!msw__share_block_size(&rows, &columns, s->plan, kind))
        kind++;
    *a = (msw__node_amounts){
        .free = s->amount[kind][MSW_CLASS_FREE] / (double)(rows * columns),
        .sign = 1.0 / BITS,
    };
    a->magnitude = s->amount[kind][MSW_CLASS_UNIFIED] - a->sign * (double)(rows * columns);
    for (size_t l = 0; l < MSW__LEVELS; l++) {
        for (size_t k = 0; k < MSW__CLASSES; k++)
            a->label[l][k] = measured ? FIRST_LABEL_BITS / BITS : 1.0 / BLOCKS_PER_BYTE;
        a->split[l][0] = a->split[l][1] = measured ? FIRST_SPLIT_BITS / BITS : 0;
    }
    s->tree->first = *a;
    s->fixed += 1; /* the highest level */
    if (!measured)
        s->fixed += (double)msw__merge_map_bytes(s->plan, s->tree->most) -
                    class_map_bytes(s->plan);
}

static void multiply_adds(msw__share *s, const msw__layer_resource *r)
{
    const unit_amounts u = {.free = (double)r->columns, .lookup = (double)r->columns};

    fill_amounts(s, &u);
    s->fixed = 0;
}

/* Measured */

static msw_status measure_bytes(double *out, const msw__layer_resource *r, msw_context *ctx,
                                const msw_unified *u)
{
    msw_store_info info;
    msw_writer *writer;
    msw_status status = msw_writer_new(&writer, ctx);

    msw_store_info_init(&info);
    if (!status)
        status = msw_writer_add_unified(writer, "layer", u, &r->store);
    if (!status)
        status = msw_writer_get_loss(&info, writer, "layer");
    msw_writer_free(writer);
    *out = record_bytes(u->plan) + (double)info.bytes;
    return status;
}

static msw_status measure_seconds(double *out, const msw__layer_resource *r,
                                  msw_context *ctx, const msw_unified *u)
{
    msw_gemm_options options;
    msw_gemm_info info;
    msw_gemm *gemm;
    msw_status status;

    msw_gemm_options_init(&options);
    options.expected_n = r->columns;
    options.fallback = MSW_FALLBACK_NEVER;
    status = msw_gemm_new(&gemm, ctx, u, &options);
    if (status)
        return status;
    msw_gemm_info_init(&info);
    status = msw_gemm_get_info(&info, gemm, r->columns);
    *out = info.predicted;
    msw_gemm_free(gemm);
    return status;
}

msw_status msw__resource_measure(double *out, const msw__share *s,
                                 const msw__layer_resource *r, msw_plan *plan,
                                 const msw_tensor *weights)
{
    msw_unified *u;
    msw_status status;

    *out = 0;
    if (!msw__resource_measured(r)) {
        *out = msw__share_amount(s);
        return MSW_OK;
    }
    status = msw_unified_new_merged(&u, plan, weights, s->classes,
                                    s->tree ? s->tree->levels : NULL, plan->block_count);
    if (status)
        return status;
    status = r->resource == MSW_RESOURCE_BYTES ? measure_bytes(out, r, plan->ctx, u)
                                               : measure_seconds(out, r, plan->ctx, u);
    msw_unified_free(u);
    return status;
}

static double at_least(double x, double least)
{
    return x > least ? x : least;
}

/* From what the layer takes with all its blocks of one class each: a straight line in the
 * weights (SECONDS), or in bytes, the signs apart, in the magnitudes. */
static msw_status measured_amounts(msw__share *s, const msw__layer_resource *r,
                                   msw_plan *plan, const msw_tensor *weights)
{
    const double n = (double)plan->rows * (double)plan->columns;
    double of[MSW__CLASSES] = {0};
    unit_amounts u = {0};
    msw_status status = MSW_OK;

    for (int class = 0; class < MSW__CLASSES && !status; class++) {
        memset(s->classes, class, plan->block_count);
        status = msw__resource_measure(&of[class], s, r, plan, weights);
    }
    memset(s->classes, MSW_CLASS_FREE, plan->block_count);
    if (status)
        return status;
    s->fixed = of[MSW_CLASS_PRUNED];
    u.free = at_least(of[MSW_CLASS_FREE] - s->fixed, 0) / n;
    if (r->resource == MSW_RESOURCE_BYTES) {
        u.weight = 1.0 / BITS;
        u.block = at_least(of[MSW_CLASS_UNIFIED] - s->fixed - u.weight * n, 0) /
                  (double)plan->block_count;
    } else {
        u.weight = at_least(of[MSW_CLASS_UNIFIED] - s->fixed, 0) / n;
    }
    fill_amounts(s, &u);
    return MSW_OK;
}

msw_status msw__resource_amounts(msw__share *s, const msw__layer_resource *r, msw_plan *plan,
                                 const msw_tensor *weights)
{
    if (msw__resource_measured(r))
        return measured_amounts(s, r, plan, weights);
    if (r->resource == MSW_RESOURCE_BYTES)
        bytes_as_they_are(s, r);
    else
        multiply_adds(s, r);
    return MSW_OK;
}
