/* SPDX-License-Identifier: BSD-2-Clause */
/** @file budget.h  Which blocks to prune and unify so that a network fits a budget.
 *
 * A budget is a number of bytes, multiply-adds or seconds for several layers together. It
 * chooses the class of every block (msw/unified.h) such that
 *
 *   the sum over layers l and their blocks of  s_l (0, a or c)  is least
 *
 * for what the blocks take: 0 for a free block, a or c what pruning or unifying it costs,
 * s_l = weight / mean w^2 of the layer, so that no layer counts more for the scale of its
 * weights. It is the Lagrangian choice: each block takes the class of least cost plus
 * price times amount, one price for all layers, found by bisection; of equal blocks, in
 * the order of layers and blocks, as many are taken as fit. No choice that takes as much
 * or less costs less.
 *
 * What a block of R x C takes
 *
 *                         free            pruned   unified
 *   BYTES (plain form)    R C floats      0        R C bits, a float
 *   MULTIPLY_ADDS         R C             0        R ceil(C / 4)
 *   SECONDS               by the cost model of the kernels, measured for each layer
 *
 * BYTES are those of a file as msw_writer_save() writes it, in any of its forms: header,
 * index, class maps and payloads. MULTIPLY_ADDS counts one for each element
 * of a free block and each look-up and multiplication of a unified one, for one column of
 * X or for `columns`. SECONDS is what msw_gemm_get_info() predicts for the library's own
 * kernels on this machine, for `columns` columns of X, the BLAS left out.
 *
 * Where blocks may be merged, the choice is that among all trees: each node takes the least
 * of what it costs as one block and of the sum of its parts, bottom-up, at the same price.
 * A node takes as many bytes as a block of its size; what saying classes and merging takes is
 * fixed in the plain form, and in the transport form learnt from choices made before.
 *
 * In the transport and the packed form and for SECONDS an amount is not a sum over blocks: the budget
 * encodes or packs the layers as chosen, and corrects the choice, until what is really
 * taken is at most the target and, as far as single blocks allow, within half a percent.
 *
 * msw_admm_set_budget() lets a solver use a budget in all its projections; this object is
 * for weights as they are. A msw_budget belongs to one thread at a time.
 */
#ifndef MSW_BUDGET_H
#define MSW_BUDGET_H

#include <msw/base.h>
#include <msw/file.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum msw_resource {
    MSW_RESOURCE_BYTES = 0, MSW_RESOURCE_MULTIPLY_ADDS = 1, MSW_RESOURCE_SECONDS = 2
} msw_resource;
typedef enum msw_layer_scale {
    MSW_SCALE_RMS = 0, /**< s_l = weight / mean w^2 */
    MSW_SCALE_NONE = 1 /**< s_l = weight */
} msw_layer_scale;

#define MSW_EXCLUDE_PRUNE 1u /**< classes that a layer never uses */
#define MSW_EXCLUDE_UNIFY 2u

/** The enums above go into uint32_t. */
typedef struct msw_budget_options {
    size_t size;
    double rest;                    /**< what all else takes of the target: plain tensors
                                         and metadata of the file, other layers */
    const msw_store_options *store; /**< BYTES: how the layers will be stored; copied.
                                         NULL: plain, all f32 */
    uint32_t resource, scale;
} msw_budget_options;

/** A layer in a budget. */
typedef struct msw_budget_layer {
    size_t size;
    double weight;                  /**< of its costs; 0: 1 */
    double prune_min, prune_max;    /**< bounds for the share of its blocks of a class; */
    double unify_min, unify_max;    /**< a maximum of 0: no bound */
    size_t columns;                 /**< of X in one product, so for a convolution the
                                         positions of its output; 0: 1 */
    const msw_store_options *store; /**< instead of that of the budget; copied */
    uint32_t float_bits;            /**< BYTES: of a magnitude or free weight, without
                                         encoding anything; 0: as stored */
    uint32_t exclude;               /**< MSW_EXCLUDE_*: both leave it as it is, counted */

    /** As in msw_projection_options; NULL in a solver, which has its own. */
    const msw_tensor *importance;

    uint32_t levels;                /**< blocks may be merged, as nodes up to this level
                                         (msw/unified.h), at most MSW_MAX_MERGE_LEVELS; 0:
                                         none. BYTES alone, and not of the packed form,
                                         which merging does not make smaller; without
                                         bounds. 0 in a solver, whose layers have it */
    uint32_t reserved;              /**< 0 */
} msw_budget_layer;

/** Made by the library: read a field only if it lies within @c size. */
typedef struct msw_budget_info {
    size_t size;
    double target;           /**< of the last choice */
    double amount;           /**< that the layers and the rest take */
    double price;            /**< cost of a unit of the resource there */
    double distance;         /**< sum of the scaled costs */
    double all_free;         /**< what they take with all blocks free */
} msw_budget_info;

MSW_API void msw_budget_options_init_sized(msw_budget_options *o, size_t size);
MSW_API void msw_budget_layer_init_sized(msw_budget_layer *l, size_t size);
MSW_API void msw_budget_info_init_sized(msw_budget_info *i, size_t size);
#define msw_budget_options_init(o) msw_budget_options_init_sized((o), sizeof(*(o)))
#define msw_budget_layer_init(l) msw_budget_layer_init_sized((l), sizeof(*(l)))
#define msw_budget_info_init(i) msw_budget_info_init_sized((i), sizeof(*(i)))

/** @p options NULL: the defaults. MSW_E_INVAL: a value out of range. Thread-safety:
 * safe. */
MSW_API msw_status msw_budget_new(msw_budget **out, msw_context *ctx,
                                  const msw_budget_options *options) MSW_NODISCARD;
/** NULL is allowed. */
MSW_API void msw_budget_free(msw_budget *budget);

/**
 * Add a layer; they are numbered from 0. The costs of its blocks are taken now. The plan
 * is retained; so are the weights, which must then stay as they are, where amounts are
 * measured (see above), and otherwise not. @p options NULL: the defaults. MSW_E_INVAL:
 * bounds that no choice can keep; levels together with bounds, with another resource, or
 * with the packed form. MSW_E_NUMERIC: a weight is not finite. MSW_E_UNSUPPORTED: SECONDS of
 * a plan with groups.
 */
MSW_API msw_status msw_budget_add(msw_budget *budget, msw_plan *plan, msw_tensor *weights,
                                  const msw_budget_layer *options) MSW_NODISCARD;

/**
 * The same for weights that may be cut into blocks in any of several ways, in blocks of
 * other sizes or along another order of the reduction: msw_budget_choose() picks for each
 * layer the plan that costs least together with the price of what it takes, at the price
 * at which all layers fit; of equals the first. msw_budget_plan() tells which.
 */
MSW_API msw_status msw_budget_add_any(msw_budget *budget, msw_plan *const *plans,
                                      size_t plan_count, msw_tensor *weights,
                                      const msw_budget_layer *options) MSW_NODISCARD;

/**
 * Choose the classes of all blocks so that everything takes at most @p target. May be
 * called again, with another one. MSW_E_RANGE: even the least that the bounds allow takes
 * more; msw_budget_get_info() has it in `amount`, and the classes are those of the least.
 * MSW_E_INVAL: no layers, or a target that is not positive. After another failure all
 * blocks are free.
 */
MSW_API msw_status msw_budget_choose(msw_budget *budget, double target) MSW_NODISCARD;

MSW_API msw_status msw_budget_get_info(msw_budget_info *out,
                                       const msw_budget *budget) MSW_NODISCARD;
MSW_API uint32_t msw_budget_layer_count(const msw_budget *budget);
/** One msw_class per block of the layer's plan, as last chosen (before: all free); they
 * live until the next choice. msw_unified_new() takes them, or where blocks may be merged
 * msw_unified_new_merged(). NULL: no such layer. */
MSW_API const uint8_t *msw_budget_classes(const msw_budget *budget, uint32_t layer);
/** The merge level of each block, with the same life. NULL: no such layer, or one without
 * levels. */
MSW_API const uint8_t *msw_budget_merge_levels(const msw_budget *budget, uint32_t layer);
/** The layer's plan, of several the one last picked (before: the first); owned by the
 * budget: msw_plan_ref() to keep it. NULL: no such layer. */
MSW_API msw_plan *msw_budget_plan(const msw_budget *budget, uint32_t layer);

#ifdef __cplusplus
}
#endif
#endif /* MSW_BUDGET_H */
