/* SPDX-License-Identifier: BSD-2-Clause */
/* A class for every block of every layer, such that all of them fit a number of bits and
 * the weights change least: the sum over blocks of squared change / mean square of the
 * layer's weights, so that no layer counts more for the scale of its weights. */
#ifndef MSW_TOOLS_BUDGET_H
#define MSW_TOOLS_BUDGET_H

#include "tool.h"

struct block_cost {
    float prune, unify; /* of that sum */
    uint16_t weights;
    uint8_t class;      /* msw_class, as chosen */
};

struct budget_layer {
    struct block_cost *blocks;
    size_t count;
    uint32_t float_bits; /* of a magnitude or a free weight, as stored */
};

struct budget {
    struct budget_layer *layers;
    size_t count;
};

msw_status budget_add(struct budget *b, const msw_tensor *weights, const msw_plan *plan,
                      uint32_t float_bits);
/* Sets the classes; gives the bits they take, without class maps. */
uint64_t budget_choose(struct budget *b, uint64_t bits);
void budget_free(struct budget *b);

#endif /* MSW_TOOLS_BUDGET_H */
