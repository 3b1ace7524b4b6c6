/* SPDX-License-Identifier: BSD-2-Clause */
/** @file permutation.h  Orders of rows and columns that suit the blocks.
 *
 * Which weights share a block is a matter of the order of rows and columns. Where rows
 * (and columns) with weights of similar magnitude lie side by side, pruning and unifying
 * the same share of blocks changes the weights less. This object searches for such
 * orders. There are two kinds:
 *
 * - an order of a layer's own becomes a part of its plan: msw_permutation_plan(). Files
 *   store it; products and convolutions take their input and leave their output in the
 *   layer's original order, without copying. It takes 1, 2 or 4 bytes per row or column of
 *   the file (doc/format.md, 4.1).
 * - a numbered axis is what several layers have in common, such as the hidden units that are
 *   the rows of one layer and the columns of the next. Its order is found for all of them
 *   together, and costs nothing: the host puts the tensors themselves in that order, with
 *   msw_permutation_apply(), and the network computes what it did. Everything that lies
 *   along the axis must be reordered: rows, columns, biases, batch normalisation. An
 *   order of the network's inputs or outputs is none to give a number.
 *
 * Searching. Given the shares of pruned and unified blocks of each layer, a and c of
 * msw/unified.h and classes by the exact joint projection, it minimises
 *
 *   sum over layers of  weight (sum of a over pruned + sum of c over unified blocks) /
 *                       (sum of h w^2)
 *
 * one axis at a time: with classes and magnitudes held, what a row would cost in each
 * block row is known; rows change places in pairs as long as that lowers the sum, then
 * classes and magnitudes are chosen anew. Each step lowers the sum, so this ends, as
 * k-means does, where no step helps. It begins once with the order as it is and once sorted
 * by magnitude, and keeps what is better: the result is never worse than the order as it
 * is. It depends on neither threads nor the machine's instruction set.
 *
 * A step takes time in rows x weights / R for the rows of a layer in blocks of R x C,
 * memory for a float per row and block row, likewise for columns, and 64 bytes per block.
 *
 * A msw_permutation belongs to one thread at a time.
 */
#ifndef MSW_PERMUTATION_H
#define MSW_PERMUTATION_H

#include <msw/base.h>
#include <msw/plan.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MSW_AXIS_OWN 0u            /**< an order for this layer's plan */
#define MSW_AXIS_FIXED UINT32_MAX  /**< stays as it is */

/** A layer in the search. */
typedef struct msw_permutation_layer {
    size_t size;
    double prune, unify;    /**< shares of the blocks, as in msw_projection_options */
    double weight;          /**< of its error; 0: 1 */
    const msw_tensor *importance; /**< as in msw_projection_options; used by
                                       msw_permutation_search(), must live until then */

    /**
     * MSW_AXIS_OWN, MSW_AXIS_FIXED or a number of the host's. The rows of a layer are one
     * entry of the axis each. So are the columns with MSW_AXIS_OWN; of a numbered axis
     * the input channels are the entries, with all columns of a channel.
     */
    uint32_t row_axis, column_axis;

    /**
     * Fully connected, numbered column axis: how many columns belong to a channel, for
     * an input that is a flattened image, and whether it lies with channels fastest
     * (NHWC: MSW_REDUCTION_CHANNELS) or positions fastest (NCHW: MSW_REDUCTION_KERNEL).
     * 0: 1. A convolution's plan says it all: 0 and 0.
     */
    uint32_t positions, reduction;

    uint32_t per_row;       /**< as in msw_projection_options */
    uint32_t reserved;      /**< 0 */
} msw_permutation_layer;

/** Squared errors of a layer's projection, divided by the sum of its h w^2. */
typedef struct msw_permutation_info {
    size_t size;
    double given;  /**< in the order as it is */
    double found;  /**< in the order that was found */
} msw_permutation_info;

MSW_API void msw_permutation_layer_init_sized(msw_permutation_layer *l, size_t size);
MSW_API void msw_permutation_info_init_sized(msw_permutation_info *i, size_t size);
#define msw_permutation_layer_init(l) msw_permutation_layer_init_sized((l), sizeof(*(l)))
#define msw_permutation_info_init(i) msw_permutation_info_init_sized((i), sizeof(*(i)))

/** Thread-safety: safe. */
MSW_API msw_status msw_permutation_new(msw_permutation **out,
                                       msw_context *ctx) MSW_NODISCARD;
/** NULL is allowed. */
MSW_API void msw_permutation_free(msw_permutation *p);

/**
 * Add a layer; they are numbered from 0. Plan and weights are retained; the weights must
 * stay as they are until the search. MSW_E_INVAL: a plan that has a permutation already; an
 * axis of another length than in layers before, or twice in one layer; values out of range.
 */
MSW_API msw_status msw_permutation_add(msw_permutation *p, msw_plan *plan,
                                       msw_tensor *weights,
                                       const msw_permutation_layer *layer) MSW_NODISCARD;

/**
 * Search. @p rounds: over all axes, at most; 0: 20. Fewer where they gain less than a
 * thousandth. Ends with the orders of an earlier search where it fails. MSW_E_NUMERIC: a
 * weight or its importance is not finite. MSW_E_INVAL: no layers.
 */
MSW_API msw_status msw_permutation_search(msw_permutation *p,
                                          uint32_t rounds) MSW_NODISCARD;

/** MSW_E_STATE before a search. */
MSW_API msw_status msw_permutation_get_info(msw_permutation_info *out,
                                            const msw_permutation *p,
                                            uint32_t layer) MSW_NODISCARD;

/**
 * The layer's plan with the orders of its own. Those of numbered axes are not in it: it
 * is for weights that msw_permutation_apply() has put into them. MSW_E_STATE before a search.
 */
MSW_API msw_status msw_permutation_plan(msw_plan **out, const msw_permutation *p,
                                        uint32_t layer) MSW_NODISCARD;

/** The order of a numbered axis: entry i of it comes from order[i]. Lives until the next
 * search; NULL: none yet, or no such axis. @p count, its length, may be NULL. */
MSW_API const uint32_t *msw_permutation_order(size_t *count, const msw_permutation *p,
                                              uint32_t axis);

/**
 * Put @p tensor, of any strides, in the order of a numbered axis along its dimension
 * @p dimension. @p positions, @p reduction: as in msw_permutation_layer, where an entry of the
 * axis is several of the dimension; 0 and 0 otherwise. MSW_E_INVAL: the dimension is not as
 * long as the axis. MSW_E_STATE before a search.
 */
MSW_API msw_status msw_permutation_apply(msw_tensor *tensor, uint32_t dimension,
                                         const msw_permutation *p, uint32_t axis,
                                         uint32_t positions,
                                         uint32_t reduction) MSW_NODISCARD;

#ifdef __cplusplus
}
#endif
#endif /* MSW_PERMUTATION_H */
