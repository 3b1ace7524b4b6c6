/* SPDX-License-Identifier: BSD-2-Clause */
/* Orders of rows and columns: the object, what an order costs, and changing places. */
#ifndef MSW_LIB_PERMUTATION_H
#define MSW_LIB_PERMUTATION_H

#include "project.h"
#include "view.h"

/* What rows or columns change places along: the rows or the columns of one layer, or
 * what several layers share. */
typedef struct msw__axis_order {
    uint32_t number;   /* the host's; MSW_AXIS_OWN: one layer's */
    size_t length;
    size_t group;      /* entries stay within so many: [0, group), [group, 2 group) ... */
    uint32_t *order;   /* entry i comes from order[i]; */
    uint32_t *found;   /* the best of the search that runs, */
    uint32_t *given;   /* and the result. NULL before one */
} msw__axis_order;

#define MSW__AXIS_NONE UINT32_MAX /* a side that stays as it is */

/* The rows or the columns of a layer. */
typedef struct msw__side {
    uint32_t axis;       /* index of its msw__axis_order; MSW__AXIS_NONE */
    size_t positions;    /* of rows or columns that an entry of the axis has */
    bool entries_fast;   /* they are entry + length * position, not
                            entry * positions + position */
} msw__side;

typedef struct msw__order_layer {
    msw_plan *plan;      /* as given, without permutations */
    msw_tensor *weights;
    const msw_tensor *importance;
    msw__shares shares;
    double weight;
    msw__side rows, columns;
    double given, found; /* errors of the last search */
} msw__order_layer;

struct msw_permutation {
    msw_context *ctx;
    msw__order_layer *layers;
    msw__axis_order *axes;
    uint32_t layer_count, layer_room, axis_count, axis_room;
    bool searched;
};

/* permutation.c. All @p count rows or columns of a side whose axis has this order, NULL:
 * as it is. */
void msw__side_expand(uint32_t *out, size_t count, const msw__side *s, const uint32_t *order,
                      size_t length);
/* The plan as given with these permutations; NULL: none. */
msw_status msw__permuted_plan(msw_plan **out, const msw_plan *plan, const uint32_t *rows,
                              const uint32_t *columns) MSW_NODISCARD;

/* permutation_places.c */

/* What a block charges its weights: square times h v^2 plus linear times h |v| plus
 * constant times h. Or these sums. */
typedef struct msw__tariff {
    double square, linear, constant;
} msw__tariff;

/* A side of a layer as its axis sees it: lines, that is rows or columns, each running
 * over the blocks of the other side. */
typedef struct msw__lines {
    const msw__order_layer *layer;
    const msw__side *side;
    bool rows;
    const msw__view *weights, *importance; /* importance NULL: all 1 */
    double scale;              /* of importance */
    const uint32_t *across;    /* the other side, in its order */
    const msw__tariff *tariff; /* of block a along the axis and b of the other side:
                                  [a * others + b] */
    double factor;             /* of costs */
} msw__lines;

/* Changes places along an axis such that the sum of costs falls, tariffs held. */
msw_status msw__places_improve(msw__axis_order *axis, msw_context *ctx,
                               const msw__lines *lines, size_t line_count) MSW_NODISCARD;
/* The sum of h w^2 of each entry of an axis, scaled by the factors; no tariff needed. */
msw_status msw__places_weigh(double *weights, msw_context *ctx, size_t length,
                             const msw__lines *lines, size_t line_count) MSW_NODISCARD;

#endif /* MSW_LIB_PERMUTATION_H */
