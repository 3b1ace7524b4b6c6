/* SPDX-License-Identifier: BSD-2-Clause */
/** @file plan.h  Partition of a weight tensor into small blocks.
 *
 * A weight tensor is seen as its GEMM view: the matrix W of Y = W X with one row
 * per output and one column per reduction element.
 *
 *   weights                     rows   columns, in order
 *   MSW_WEIGHTS_OI    [O][I]      O    I
 *   MSW_WEIGHTS_IO    [I][O]      O    I
 *   MSW_WEIGHTS_OIHW  [O][I/g][H][W]   O    (h, w, i) or (i, h, w), see msw_reduction
 *   MSW_WEIGHTS_OHWI  [O][H][W][I/g]   O    (h, w, i) or (i, h, w)
 *
 * A block "RxC" is R rows by C consecutive columns of the view. Where R or C does
 * not divide, the last blocks are smaller. A grouped convolution has g groups of
 * O/g rows; the partition restarts at each group, so no block spans two.
 *
 * Blocks are numbered row by row: block b of a plan lies in block row
 * b / block_columns and block column b % block_columns.
 *
 * A plan does not change. Thread-safety of every function here: safe.
 */
#ifndef MSW_PLAN_H
#define MSW_PLAN_H

#include <msw/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum msw_weights {
    MSW_WEIGHTS_OI = 0,   /**< fully connected, [out][in] */
    MSW_WEIGHTS_IO = 1,   /**< fully connected, [in][out] */
    MSW_WEIGHTS_OIHW = 2, /**< convolution, [out][in / groups][kh][kw] */
    MSW_WEIGHTS_OHWI = 3  /**< convolution, [out][kh][kw][in / groups] */
} msw_weights;

/** Order of the reduction elements of a convolution. */
typedef enum msw_reduction {
    MSW_REDUCTION_CHANNELS = 0, /**< input channel fastest: (h, w, i). A block covers
                                     channels at one kernel position */
    MSW_REDUCTION_KERNEL = 1    /**< kernel position fastest: (i, h, w) */
} msw_reduction;

#define MSW_MAX_BLOCK 64u

/** The enums above go into uint32_t. */
typedef struct msw_plan_options {
    size_t size;
    uint32_t weights;       /**< msw_weights: what the tensor's dimensions mean */
    uint32_t reduction;     /**< msw_reduction; convolutions only */
    uint32_t block_rows;    /**< R, 1 to MSW_MAX_BLOCK; 0: 8 */
    uint32_t block_columns; /**< C, 1 to MSW_MAX_BLOCK; 0: 8 */
    uint32_t groups;        /**< 0 or 1: not grouped; must divide the rows */
    uint32_t reserved;      /**< 0 */

    /**
     * Optional order of rows and columns before the partition: row r of the view
     * is row row_permutation[r] of the tensor. Copied. One entry per row or
     * column, each index once; rows stay within their group. NULL: as they are.
     */
    const uint32_t *row_permutation;
    const uint32_t *column_permutation;
} msw_plan_options;

/** Where a block lies in the GEMM view. */
typedef struct msw_block {
    size_t size;
    size_t row, column;   /**< first row and column */
    size_t rows, columns; /**< smaller than R x C at the edges */
} msw_block;

typedef struct msw_plan_info {
    size_t size;
    size_t rows, columns;             /**< of the view */
    size_t block_count;               /**< block_row_count * block_column_count */
    size_t block_row_count, block_column_count;
    size_t shape[4];                  /**< of the tensor, unused entries 0 */
    uint32_t rank;
    uint32_t weights, reduction;
    uint32_t block_rows, block_columns;
    uint32_t groups;
    uint32_t row_permuted, column_permuted; /**< 1: a permutation was given */
} msw_plan_info;

MSW_API void msw_plan_options_init_sized(msw_plan_options *o, size_t size);
MSW_API void msw_block_init_sized(msw_block *b, size_t size);
MSW_API void msw_plan_info_init_sized(msw_plan_info *i, size_t size);
#define msw_plan_options_init(o) msw_plan_options_init_sized((o), sizeof(*(o)))
#define msw_block_init(b) msw_block_init_sized((b), sizeof(*(b)))
#define msw_plan_info_init(i) msw_plan_info_init_sized((i), sizeof(*(i)))

/**
 * Partition tensors of @p shape. @p options NULL: [out][in] in 8x8 blocks.
 * MSW_E_INVAL: a shape whose rank does not fit the kind of weights, a zero
 * dimension, groups that do not divide the rows, a block side beyond
 * MSW_MAX_BLOCK, no permutation. MSW_E_RANGE: more than 2^32 - 1 rows, columns
 * or blocks.
 */
MSW_API msw_status msw_plan_new(msw_plan **out, msw_context *ctx, const size_t *shape,
                                uint32_t rank,
                                const msw_plan_options *options) MSW_NODISCARD;

/** One reference more; returns @p plan. */
MSW_API msw_plan *msw_plan_ref(msw_plan *plan);
/** Release one reference. NULL is allowed. */
MSW_API void msw_plan_free(msw_plan *plan);

MSW_API msw_status msw_plan_get_info(msw_plan_info *out, const msw_plan *plan) MSW_NODISCARD;
/** Where block @p block lies; constant time. MSW_E_RANGE: no such block. */
MSW_API msw_status msw_plan_get_block(msw_block *out, const msw_plan *plan,
                                      size_t block) MSW_NODISCARD;
/** The permutations as given, NULL when none; they live as long as the plan. */
MSW_API const uint32_t *msw_plan_row_permutation(const msw_plan *plan);
MSW_API const uint32_t *msw_plan_column_permutation(const msw_plan *plan);

#ifdef __cplusplus
}
#endif
#endif /* MSW_PLAN_H */
