/* SPDX-License-Identifier: BSD-2-Clause */
#include "order.h"

#include <stdio.h>

/* What two layers have in common: the rows of one are the input channels of the next. */
enum axis { AXIS_FILTERS1 = 1, AXIS_FILTERS2, AXIS_UNITS };

/* What the output of a filter has in fc1, one behind the other. */
enum { POSITIONS = POOL2_SIDE * POOL2_SIDE };

static const struct place {
    uint32_t row_axis, column_axis, positions;
} places[PARAMETERS] = {
    [CONV1_WEIGHT] = {AXIS_FILTERS1, MSW_AXIS_FIXED, 0},
    [CONV1_BIAS] = {AXIS_FILTERS1, MSW_AXIS_FIXED, 0},
    [CONV2_WEIGHT] = {AXIS_FILTERS2, AXIS_FILTERS1, 0},
    [CONV2_BIAS] = {AXIS_FILTERS2, MSW_AXIS_FIXED, 0},
    [FC1_WEIGHT] = {AXIS_UNITS, AXIS_FILTERS2, POSITIONS},
    [FC1_BIAS] = {AXIS_UNITS, MSW_AXIS_FIXED, 0},
    [FC2_WEIGHT] = {MSW_AXIS_FIXED, AXIS_UNITS, 0},
    [FC2_BIAS] = {MSW_AXIS_FIXED, MSW_AXIS_FIXED, 0},
};

struct order {
    msw_context *context;
    msw_permutation *found;
    msw_tensor *tensors[PARAMETERS];
};

static uint32_t reduction(const struct place *place)
{
    return place->positions ? MSW_REDUCTION_KERNEL : 0;
}

static msw_status add_layer(struct order *o, const struct layer_recipe *layer)
{
    const struct place *place = &places[layer->parameter];
    msw_permutation_layer options;
    msw_plan *plan;
    msw_status status = layer_plan(&plan, o->context, layer);

    msw_permutation_layer_init(&options);
    options.prune = layer->prune;
    options.unify = layer->unify;
    options.row_axis = place->row_axis;
    options.column_axis = place->column_axis;
    options.positions = place->positions;
    options.reduction = reduction(place);
    if (status == MSW_OK)
        status = msw_permutation_add(o->found, plan, o->tensors[layer->parameter], &options);
    msw_plan_free(plan);
    return status;
}

static msw_status search(struct order *o, struct values *weights,
                         const struct recipe *recipe)
{
    msw_status status = msw_context_new(&o->context, NULL);

    if (status == MSW_OK)
        status = msw_permutation_new(&o->found, o->context);
    for (int i = 0; status == MSW_OK && i < PARAMETERS; i++) {
        const struct parameter *p = &network_parameters[i];

        status = msw_tensor_borrow(&o->tensors[i], o->context, weights->of[i], p->shape,
                                   NULL, (uint32_t)p->rank);
    }
    for (int i = 0; status == MSW_OK && i < LAYERS; i++)
        status = add_layer(o, &recipe->layer[i]);
    return status == MSW_OK ? msw_permutation_search(o->found, 0) : status;
}

static msw_status apply(const struct order *o)
{
    msw_status status = MSW_OK;

    for (int i = 0; status == MSW_OK && i < PARAMETERS; i++) {
        const struct place *p = &places[i];

        if (p->row_axis != MSW_AXIS_FIXED)
            status = msw_permutation_apply(o->tensors[i], 0, o->found, p->row_axis, 0, 0);
        if (status == MSW_OK && p->column_axis != MSW_AXIS_FIXED)
            status = msw_permutation_apply(o->tensors[i], 1, o->found, p->column_axis,
                                           p->positions, reduction(p));
    }
    return status;
}

static msw_status print_errors(const struct order *o, const struct recipe *recipe)
{
    msw_status status = MSW_OK;

    for (uint32_t i = 0; status == MSW_OK && i < LAYERS; i++) {
        msw_permutation_info info;

        msw_permutation_info_init(&info);
        status = msw_permutation_get_info(&info, o->found, i);
        if (status == MSW_OK)
            printf("order.%s %.4f %.4f\n", recipe->layer[i].name, info.given, info.found);
    }
    return status;
}

bool order_network(struct values *weights, const struct recipe *recipe)
{
    struct order o = {0};
    msw_status status = search(&o, weights, recipe);

    if (status == MSW_OK)
        status = print_errors(&o, recipe);
    if (status == MSW_OK)
        status = apply(&o);
    for (int i = 0; i < PARAMETERS; i++)
        msw_tensor_free(o.tensors[i]);
    msw_permutation_free(o.found);
    msw_context_free(o.context);
    if (status != MSW_OK)
        fprintf(stderr, "order: %s\n", msw_status_text(status));
    return status == MSW_OK;
}
