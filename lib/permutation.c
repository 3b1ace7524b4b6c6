/* SPDX-License-Identifier: BSD-2-Clause */
/* The object: layers and axes. */
#include "permutation.h"
#include "sizes.h"

#include <math.h>
#include <string.h>

enum {
    OLDEST_LAYER = sizeof(msw_permutation_layer),
    OLDEST_INFO = sizeof(msw_permutation_info),
    FIRST_ROOM = 8,
    SIDES = 2 /* of a layer: what axes it adds at most */
};

msw_status msw_permutation_new(msw_permutation **out, msw_context *ctx)
{
    msw_status status;
    void *memory;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!ctx)
        return MSW_E_INVAL;
    status = msw__calloc(&memory, ctx, 1, sizeof **out);
    if (status)
        return status;
    *out = memory;
    (*out)->ctx = msw_context_ref(ctx);
    return MSW_OK;
}

static void free_axis(msw_context *ctx, msw__axis_order *a)
{
    msw__free(ctx, a->order, a->length, sizeof *a->order);
    msw__free(ctx, a->found, a->length, sizeof *a->found);
    msw__free(ctx, a->given, a->length, sizeof *a->given);
}

void msw_permutation_free(msw_permutation *p)
{
    msw_context *ctx;

    if (!p)
        return;
    ctx = p->ctx;
    for (uint32_t i = 0; i < p->layer_count; i++) {
        msw_plan_free(p->layers[i].plan);
        msw_tensor_free(p->layers[i].weights);
    }
    for (uint32_t i = 0; i < p->axis_count; i++)
        free_axis(ctx, &p->axes[i]);
    msw__free(ctx, p->layers, p->layer_room, sizeof *p->layers);
    msw__free(ctx, p->axes, p->axis_room, sizeof *p->axes);
    msw__free(ctx, p, 1, sizeof *p);
    msw_context_free(ctx);
}

/* Adding */

static msw_status grow(void **array, uint32_t *room, msw_context *ctx, uint32_t used,
                       uint32_t more, size_t size)
{
    const uint32_t wanted = *room ? 2 * *room : FIRST_ROOM;
    msw_status status;
    void *memory;

    if (*room - used >= more)
        return MSW_OK;
    if (wanted < *room)
        return MSW_E_RANGE;
    status = msw__calloc(&memory, ctx, wanted, size);
    if (status)
        return status;
    if (used)
        memcpy(memory, *array, used * size);
    msw__free(ctx, *array, *room, size);
    *array = memory;
    *room = wanted;
    return MSW_OK;
}

/* Input channels of a convolution; of other weights the columns are all there is. */
static size_t conv_channels(const msw_plan *p)
{
    return p->shape[p->weights == MSW_WEIGHTS_OIHW ? 1 : 3];
}

static bool is_conv(const msw_plan *p)
{
    return p->weights >= MSW_WEIGHTS_OIHW;
}

/* How the columns lie on the axis, without it. */
static msw_status take_columns(msw__side *side, size_t *length, const msw_plan *plan,
                               const msw_permutation_layer *o)
{
    const bool tied = o->column_axis != MSW_AXIS_OWN && o->column_axis != MSW_AXIS_FIXED;

    *side = (msw__side){.axis = MSW__AXIS_NONE, .positions = 1};
    *length = plan->columns;
    if ((!tied || is_conv(plan)) && (o->positions || o->reduction))
        return MSW_E_INVAL;
    if (!tied)
        return MSW_OK;
    if (is_conv(plan)) {
        *length = conv_channels(plan);
        side->entries_fast = plan->reduction == MSW_REDUCTION_CHANNELS;
    } else {
        if (o->positions && plan->columns % o->positions)
            return MSW_E_INVAL;
        *length = o->positions ? plan->columns / o->positions : plan->columns;
        side->entries_fast = o->reduction == MSW_REDUCTION_CHANNELS;
    }
    side->positions = plan->columns / *length;
    return MSW_OK;
}

/* The index of the axis, made if need be; MSW_E_INVAL when it has another length. */
static msw_status find_axis(uint32_t *out, msw_permutation *p, uint32_t number,
                            size_t length, size_t group)
{
    msw__axis_order a = {.number = number, .length = length, .group = group};
    msw_status status;
    void *memory;

    *out = MSW__AXIS_NONE;
    if (number == MSW_AXIS_FIXED)
        return MSW_OK;
    for (uint32_t i = 0; number != MSW_AXIS_OWN && i < p->axis_count; i++)
        if (p->axes[i].number == number) {
            *out = i;
            return p->axes[i].length == length &&
                           (p->axes[i].group % group == 0 || group % p->axes[i].group == 0)
                       ? MSW_OK : MSW_E_INVAL;
        }
    status = msw__alloc(&memory, p->ctx, length, sizeof *a.order);
    if (status)
        return status;
    a.order = memory;
    status = msw__alloc(&memory, p->ctx, length, sizeof *a.found);
    if (!status) {
        a.found = memory;
        status = msw__alloc(&memory, p->ctx, length, sizeof *a.given);
    }
    if (status) {
        free_axis(p->ctx, &a);
        return status;
    }
    a.given = memory;
    *out = p->axis_count;
    p->axes[p->axis_count++] = a;
    return MSW_OK;
}

static msw_status find_axes(msw__order_layer *l, msw_permutation *p,
                            const msw_permutation_layer *o)
{
    const size_t group = l->plan->group_rows;
    size_t length;
    msw_status status = take_columns(&l->columns, &length, l->plan, o);

    l->rows = (msw__side){.positions = 1};
    if (!status)
        status = find_axis(&l->rows.axis, p, o->row_axis, l->plan->rows, group);
    if (!status)
        status = find_axis(&l->columns.axis, p, o->column_axis, length, length);
    if (!status && l->rows.axis != MSW__AXIS_NONE && l->rows.axis == l->columns.axis)
        status = MSW_E_INVAL;
    if (!status && l->rows.axis != MSW__AXIS_NONE)
        p->axes[l->rows.axis].group = msw__min(p->axes[l->rows.axis].group, group);
    return status;
}

static msw_status take_layer(msw_permutation_layer *o, const msw_permutation_layer *given,
                             const msw_plan *plan, const msw_tensor *weights)
{
    msw_status status;

    msw_permutation_layer_init(o);
    status = given ? msw__take_options(o, sizeof *o, OLDEST_LAYER, given) : MSW_OK;
    if (status)
        return status;
    if (o->reserved)
        return MSW_E_VERSION;
    o->weight = o->weight == 0 ? 1 : o->weight;
    return plan->row_permutation || plan->column_permutation ||
                   !msw__plan_fits(plan, weights) ||
                   (o->importance && !msw__plan_fits(plan, o->importance)) ||
                   !msw__shares_valid(o->prune, o->unify) || o->per_row > 1 ||
                   o->reduction > MSW_REDUCTION_KERNEL || !(o->weight > 0) ||
                   !isfinite(o->weight)
               ? MSW_E_INVAL : MSW_OK;
}

msw_status msw_permutation_add(msw_permutation *p, msw_plan *plan, msw_tensor *weights,
                               const msw_permutation_layer *layer)
{
    msw__order_layer l = {.plan = plan, .weights = weights};
    msw_permutation_layer o;
    void *layers, *axes;
    uint32_t axis_count;
    msw_status status;

    if (!p || !plan || !weights)
        return MSW_E_INVAL;
    status = take_layer(&o, layer, plan, weights);
    if (status)
        return status;
    layers = p->layers;
    status = grow(&layers, &p->layer_room, p->ctx, p->layer_count, 1, sizeof *p->layers);
    p->layers = layers;
    axes = p->axes;
    if (!status)
        status = grow(&axes, &p->axis_room, p->ctx, p->axis_count, SIDES, sizeof *p->axes);
    p->axes = axes;
    if (status)
        return status;
    axis_count = p->axis_count;
    l.importance = o.importance;
    l.shares = (msw__shares){o.prune, o.unify, o.per_row};
    l.weight = o.weight;
    status = find_axes(&l, p, &o);
    if (status) {
        while (p->axis_count > axis_count)
            free_axis(p->ctx, &p->axes[--p->axis_count]);
        return status;
    }
    msw_plan_ref(plan);
    msw_tensor_ref(weights);
    p->layers[p->layer_count++] = l;
    p->searched = false;
    return MSW_OK;
}

/* Results */

msw_status msw_permutation_get_info(msw_permutation_info *out, const msw_permutation *p,
                                    uint32_t layer)
{
    msw_permutation_info info;

    if (!out || !p || layer >= p->layer_count)
        return MSW_E_INVAL;
    if (!p->searched)
        return MSW_E_STATE;
    msw_permutation_info_init(&info);
    info.given = p->layers[layer].given;
    info.found = p->layers[layer].found;
    return msw__give_output(out, &info, sizeof info, OLDEST_INFO);
}

void msw__side_expand(uint32_t *out, size_t count, const msw__side *s, const uint32_t *order,
                      size_t length)
{
    for (size_t i = 0; i < count; i++) {
        if (!order)
            out[i] = (uint32_t)i;
        else if (s->entries_fast)
            out[i] = (uint32_t)(i / length * length) + order[i % length];
        else
            out[i] = order[i / s->positions] * (uint32_t)s->positions +
                     (uint32_t)(i % s->positions);
    }
}

msw_status msw__permuted_plan(msw_plan **out, const msw_plan *plan, const uint32_t *rows,
                              const uint32_t *columns)
{
    msw_plan_options o;

    msw_plan_options_init(&o);
    o.weights = plan->weights;
    o.reduction = plan->reduction;
    o.block_rows = plan->block_rows;
    o.block_columns = plan->block_columns;
    o.groups = plan->groups;
    o.row_permutation = rows;
    o.column_permutation = columns;
    return msw_plan_new(out, plan->ctx, plan->shape, plan->rank, &o);
}

/* The order of a layer's own; NULL: none, or nothing has moved. */
static const uint32_t *own_order(const msw_permutation *p, const msw__side *side)
{
    const msw__axis_order *a;

    if (side->axis == MSW__AXIS_NONE || p->axes[side->axis].number != MSW_AXIS_OWN)
        return NULL;
    a = &p->axes[side->axis];
    for (size_t i = 0; i < a->length; i++)
        if (a->given[i] != i)
            return a->given;
    return NULL;
}

msw_status msw_permutation_plan(msw_plan **out, const msw_permutation *p, uint32_t layer)
{
    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!p || layer >= p->layer_count)
        return MSW_E_INVAL;
    if (!p->searched)
        return MSW_E_STATE;
    return msw__permuted_plan(out, p->layers[layer].plan,
                              own_order(p, &p->layers[layer].rows),
                              own_order(p, &p->layers[layer].columns));
}

static const msw__axis_order *numbered(const msw_permutation *p, uint32_t number)
{
    for (uint32_t i = 0; number != MSW_AXIS_OWN && i < p->axis_count; i++)
        if (p->axes[i].number == number)
            return &p->axes[i];
    return NULL;
}

const uint32_t *msw_permutation_order(size_t *count, const msw_permutation *p, uint32_t axis)
{
    const msw__axis_order *a = p && p->searched ? numbered(p, axis) : NULL;

    if (count)
        *count = a ? a->length : 0;
    return a ? a->given : NULL;
}

/* Reorders along a dimension, one line of it after another through a buffer. */
static void reorder(msw_tensor *t, uint32_t dimension, const msw__side *side,
                    const msw__axis_order *a, float *buffer)
{
    const size_t count = t->shape[dimension], stride = t->stride[dimension];
    size_t lines = t->count / count;

    for (size_t line = 0; line < lines; line++) {
        size_t rest = line;
        float *at = t->data;

        for (uint32_t d = t->rank; d-- > 0;)
            if (d != dimension) {
                at += rest % t->shape[d] * t->stride[d];
                rest /= t->shape[d];
            }
        for (size_t i = 0; i < count; i++)
            buffer[i] = at[i * stride];
        for (size_t i = 0; i < count; i++) {
            const size_t from =
                side->entries_fast
                    ? i / a->length * a->length + a->given[i % a->length]
                    : a->given[i / side->positions] * side->positions + i % side->positions;

            at[i * stride] = buffer[from];
        }
    }
}

msw_status msw_permutation_apply(msw_tensor *tensor, uint32_t dimension,
                                 const msw_permutation *p, uint32_t axis,
                                 uint32_t positions, uint32_t reduction)
{
    const msw__side side = {.positions = positions ? positions : 1,
                            .entries_fast = reduction == MSW_REDUCTION_CHANNELS};
    const msw__axis_order *a = p ? numbered(p, axis) : NULL;
    msw_status status;
    size_t length;
    void *buffer;

    if (!tensor || !p || dimension >= tensor->rank || reduction > MSW_REDUCTION_KERNEL)
        return MSW_E_INVAL;
    if (!p->searched)
        return MSW_E_STATE;
    if (!a || !msw__size_mul(&length, a->length, side.positions) ||
        tensor->shape[dimension] != length)
        return MSW_E_INVAL;
    status = msw__alloc(&buffer, p->ctx, length, sizeof(float));
    if (status)
        return status;
    reorder(tensor, dimension, &side, a, buffer);
    msw__free(p->ctx, buffer, length, sizeof(float));
    return MSW_OK;
}
