/* SPDX-License-Identifier: BSD-2-Clause */
/* Orders of a layer's rows and columns in which its blocks suit the weights better. */
#include "compress.h"

#include <stdlib.h>

static msw_status search(msw_plan **out, const struct job *j, msw_plan *plan,
                         msw_tensor *weights)
{
    msw_permutation_layer layer;
    msw_permutation *orders;
    msw_status status = msw_permutation_new(&orders, j->ctx);

    *out = NULL;
    if (status)
        return status;
    msw_permutation_layer_init(&layer);
    layer.prune = j->options.prune;
    layer.unify = j->options.unify;
    status = msw_permutation_add(orders, plan, weights, &layer);
    if (!status)
        status = msw_permutation_search(orders, 0);
    if (!status)
        status = msw_permutation_plan(out, orders, 0);
    msw_permutation_free(orders);
    return status;
}

/* A search takes long, and a target projects again and again: each layer has one. */
int compress_order(msw_plan **plan, struct job *j, const struct item *item,
                   msw_tensor *weights)
{
    msw_plan **order;
    msw_status status;

    if (!j->options.permute)
        return j->p->code;
    order = &j->orders[item - j->model.items];
    if (!*order) {
        status = search(order, j, *plan, weights);
        if (status)
            return compress_problem(j, status, item);
    }
    msw_plan_free(*plan);
    *plan = msw_plan_ref(*order);
    return j->p->code;
}

void compress_orders_free(struct job *j)
{
    for (size_t i = 0; j->orders && i < j->model.count; i++)
        msw_plan_free(j->orders[i]);
    free(j->orders);
}
