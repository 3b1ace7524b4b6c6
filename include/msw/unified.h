/* SPDX-License-Identifier: BSD-2-Clause */
/** @file unified.h  Weights in unified-block form.
 *
 * Every block of a plan is of one class:
 *
 *   FREE      keeps its weights
 *   PRUNED    all zero
 *   UNIFIED   one magnitude m >= 0 for the block, one sign per weight: w_i = s_i m
 *
 * The handle holds the class map, one magnitude per unified block, one bit per
 * sign, and the weights of free blocks. It is what a solver, a one-shot projection
 * or a file yields, and what GEMM and convolution kernels, files and dense tensors
 * are made from.
 *
 * Mathematics. For the n weights v_i of a block, with sign(v) = -1 for v < 0 and
 * +1 otherwise (so also for both zeros):
 *
 *   m = mean |v_i|                    its magnitude when unified
 *   a = sum v_i^2                     what pruning costs (squared distance)
 *   c = sum (|v_i| - m)^2             what unifying costs; c <= a
 *
 * sign(v) m is the exact Euclidean projection onto { |z_1| = ... = |z_n| }. Given
 * shares p and u, exactly floor(p B) of the B blocks are pruned and floor(u B)
 * unified such that the sum of their costs is least: the exact joint projection,
 * not "prune first, unify the rest". Ties go to the lower block number, so the
 * result depends neither on threads nor on the machine. With importance weights
 * h_i: m = sum h|v| / sum h, a = sum h v^2, c = sum h (|v| - m)^2. Sums run in
 * double precision; costs are compared in single precision, so that near-ties are ties.
 *
 * Adaptive blocks. Blocks of the plan may be merged, as nodes of a quadtree over them: a
 * node of level l is 2^l by 2^l blocks of one class that are pruned, or unified with one
 * magnitude, the mean over the whole node. It begins at multiples of 2^l blocks, counted
 * from the beginning of its group, and is smaller at the edges; a block that is not merged
 * is a node of level 0. Masks, refits and files keep nodes as they are; a file stores one
 * class and one magnitude for each. Kernels see the blocks of the plan: merging saves
 * bytes, not time. msw_unified_from_quadtree() chooses the nodes.
 *
 * A msw_unified does not change. Thread-safety: safe for all functions here as far
 * as the msw_unified goes; tensors belong to one thread at a time.
 */
#ifndef MSW_UNIFIED_H
#define MSW_UNIFIED_H

#include <msw/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum msw_class {
    MSW_CLASS_FREE = 0, MSW_CLASS_PRUNED = 1, MSW_CLASS_UNIFIED = 2
} msw_class;

/** What an optimiser's slot holds, hence how it is projected. */
typedef enum msw_slot {
    MSW_SLOT_LINEAR = 0, /**< sums of gradients: momentum, Adam's first moment */
    MSW_SLOT_SQUARED = 1 /**< sums of squares: Adam's second moment, RMSprop */
} msw_slot;

typedef struct msw_projection_options {
    size_t size;
    double prune, unify; /**< shares of the blocks, each >= 0, sum <= 1 */

    /**
     * Optional importance h_i >= 0 of each weight (a diagonal Fisher or Hessian),
     * of the shape of the weights, any strides. Normalised to mean 1 and floored
     * at 1e-3 before use; all zero: as if NULL.
     */
    const msw_tensor *importance;

    uint32_t per_row;  /**< 1: the shares are of each block row, so that every row of
                            outputs has the same number of blocks of a class and costs a
                            product the same */
    uint32_t reserved; /**< 0 */
} msw_projection_options;

#define MSW_MAX_MERGE_LEVELS 4u

/** The quadtree of least  distance + price * bits:  the sum of what pruning and unifying
 * nodes costs (a and c above), and what they take. */
typedef struct msw_quadtree_options {
    size_t size;
    double price;          /**< of a bit, in units of the mean of w^2 (with importance, of
                                h w^2); >= 0. From about 0.01 (few blocks pruned) to 1 */
    double magnitude_bits; /**< that one takes; 0: 32. In the transport form about 3 to 8 */
    double free_bits;      /**< of a free weight; 0: 32 */

    /** As in msw_projection_options. */
    const msw_tensor *importance;

    uint32_t levels;       /**< highest level of a node, up to MSW_MAX_MERGE_LEVELS; 0:
                                blocks are not merged */
    uint32_t exclude;      /**< MSW_EXCLUDE_* of msw/budget.h: classes not to be used */

    double class_bits;     /**< of a node's class; 0: 1.6; < 0: none. In the transport form
                                about 0.2 to 1 */
    double split_bits;     /**< of each choice whether to split a node; 0: 1; < 0: none */
} msw_quadtree_options;

/** Counts, sizes and arithmetic. */
typedef struct msw_unified_info {
    size_t size;
    size_t rows, columns;                                /**< of the GEMM view */
    uint64_t blocks, free_blocks, pruned_blocks, unified_blocks;
    uint64_t weights, free_weights, pruned_weights, unified_weights;

    /** 2 bits per block, 1 per sign, 32 per magnitude and free weight, merged blocks
     * sharing a magnitude; without headers. bits_per_weight = 8 * bytes / weights;
     * bytes_dense is 4 * weights. */
    uint64_t bytes, bytes_dense;
    double bits_per_weight;

    /** Per column of X: dense needs `weights` of both. A unified block of R x C
     * needs R * C additions and R multiplications. */
    uint64_t multiplications, additions;

    uint64_t magnitudes; /**< stored: one for each unified block or node of them */

    uint64_t nodes[MSW_MAX_MERGE_LEVELS + 1]; /**< of each level: blocks that are not merged
                                                   first */
} msw_unified_info;

/** What msw_unified_verify() found in a dense tensor. */
typedef struct msw_verify_info {
    size_t size;
    uint64_t free_blocks, pruned_blocks, unified_blocks; /**< that are as they must be */
    uint64_t violations;    /**< blocks that are not; 0: the structure is there */
    uint64_t first;         /**< number of the first violating block; UINT64_MAX: none */
    size_t row, column;     /**< its first offending weight, in the GEMM view */
    double value, expected; /**< that weight and what it should be */
} msw_verify_info;

MSW_API void msw_projection_options_init_sized(msw_projection_options *o, size_t size);
MSW_API void msw_quadtree_options_init_sized(msw_quadtree_options *o, size_t size);
MSW_API void msw_unified_info_init_sized(msw_unified_info *i, size_t size);
MSW_API void msw_verify_info_init_sized(msw_verify_info *i, size_t size);
#define msw_projection_options_init(o) \
    msw_projection_options_init_sized((o), sizeof(*(o)))
#define msw_quadtree_options_init(o) msw_quadtree_options_init_sized((o), sizeof(*(o)))
#define msw_unified_info_init(i) msw_unified_info_init_sized((i), sizeof(*(i)))
#define msw_verify_info_init(i) msw_verify_info_init_sized((i), sizeof(*(i)))

/* In all functions below tensors have the shape the plan was made for, any
 * strides (MSW_E_INVAL otherwise), and NaN or infinity in one is MSW_E_NUMERIC. When
 * the host's parallel_for fails (MSW_E_HOST), a tensor that a call writes to may have
 * been written in part. */

/**
 * One-shot projection: the closest tensor to @p weights with the wanted shares of
 * pruned and unified blocks. @p weights is only read. @p options NULL: all free.
 * MSW_E_INVAL: shares out of range.
 */
MSW_API msw_status msw_unified_from(msw_unified **out, msw_plan *plan,
                                    const msw_tensor *weights,
                                    const msw_projection_options *options) MSW_NODISCARD;

/**
 * The same onto a given class map: classes[b] is the msw_class of block b,
 * @p class_count the plan's number of blocks.
 */
MSW_API msw_status msw_unified_new(msw_unified **out, msw_plan *plan,
                                   const msw_tensor *weights, const uint8_t *classes,
                                   size_t class_count) MSW_NODISCARD;

/**
 * One-shot projection onto adaptive blocks: the classes and nodes of least distance +
 * price * bits among all trees, found bottom-up; ties to smaller nodes. A node is merged
 * where that costs less than the best of its parts. Counted are 1 bit per sign and, as
 * given, the bits of classes, of choices whether to split a node, and of floats. Where they
 * are not known, msw_budget (msw/budget.h) finds those of the file and the price as well.
 * MSW_E_INVAL: an option out of range. Takes time linear in the weights.
 */
MSW_API msw_status msw_unified_from_quadtree(msw_unified **out, msw_plan *plan,
                                             const msw_tensor *weights,
                                             const msw_quadtree_options *options)
    MSW_NODISCARD;

/**
 * The same onto given classes and merge levels, one of each per block: level[b] is that of
 * the node that block b lies in. @p levels NULL: none is merged. MSW_E_INVAL: not the
 * levels of a quadtree, a node with several classes, or a free one above level 0.
 */
MSW_API msw_status msw_unified_new_merged(msw_unified **out, msw_plan *plan,
                                          const msw_tensor *weights,
                                          const uint8_t *classes, const uint8_t *levels,
                                          size_t block_count) MSW_NODISCARD;

/**
 * New values for the same classes and signs, after retraining: a unified block gets
 * m = mean of s_i w_i; where that is negative the block's signs are flipped, where
 * it is 0 they are kept. Bit for bit what msw_unified_project() leaves in the tensor.
 */
MSW_API msw_status msw_unified_refit(msw_unified **out, const msw_unified *u,
                                     const msw_tensor *weights) MSW_NODISCARD;

/** One reference more; returns @p u. */
MSW_API msw_unified *msw_unified_ref(msw_unified *u);
/** Release one reference. NULL is allowed. */
MSW_API void msw_unified_free(msw_unified *u);

/** Write all weights to @p out. */
MSW_API msw_status msw_unified_to_dense(msw_tensor *out,
                                        const msw_unified *u) MSW_NODISCARD;

/* Masked retraining without a solver: project the gradient before, and the
 * weights after, each step of any optimiser; project its slots once when the
 * structure is fixed (momentum would otherwise revive pruned weights). */

/**
 * Orthogonal projection of a gradient, in place: pruned 0, free untouched, unified
 * g_i = s_i mean_j(s_j g_j), which trains the block's one magnitude. A gradient may
 * not be finite; then its block is not either, and nothing is reported.
 */
MSW_API msw_status msw_unified_project_gradient(msw_tensor *gradient,
                                                const msw_unified *u) MSW_NODISCARD;

/** Project an optimiser's slot, in place: MSW_SLOT_LINEAR as a gradient,
 * MSW_SLOT_SQUARED to the mean of each unified block, pruned 0. */
MSW_API msw_status msw_unified_project_slot(msw_tensor *slot, const msw_unified *u,
                                            msw_slot kind) MSW_NODISCARD;

/**
 * Restore the structure, in place: pruned 0, unified s_i mean_j(s_j w_j) with the
 * signs of @p u; that mean may become negative (see msw_unified_refit()).
 * Projecting twice changes nothing, bit for bit. On MSW_E_NUMERIC the tensor is
 * untouched.
 */
MSW_API msw_status msw_unified_project(msw_tensor *weights,
                                       const msw_unified *u) MSW_NODISCARD;

/**
 * Check a dense tensor against the structure of @p u: pruned blocks exactly zero,
 * unified blocks of one magnitude with the signs of @p u, all flipped or none, free
 * blocks finite; NaN and infinity are violations here. The check itself succeeds with
 * MSW_OK: look at @c violations.
 */
MSW_API msw_status msw_unified_verify(msw_verify_info *out, const msw_unified *u,
                                      const msw_tensor *weights) MSW_NODISCARD;

MSW_API msw_status msw_unified_get_info(msw_unified_info *out,
                                        const msw_unified *u) MSW_NODISCARD;
/** The plan it is on; owned by @p u: msw_plan_ref() to keep it. */
MSW_API msw_plan *msw_unified_plan(const msw_unified *u);
/** One msw_class per block of the plan; lives as long as @p u. */
MSW_API const uint8_t *msw_unified_classes(const msw_unified *u);
/** One merge level per block of the plan; lives as long as @p u. NULL: none is merged. */
MSW_API const uint8_t *msw_unified_merge_levels(const msw_unified *u);
/** Magnitude of block @p block; 0 when it is not unified or does not exist. Takes
 * time linear in the blocks of a block row. */
MSW_API float msw_unified_magnitude(const msw_unified *u, size_t block);

#ifdef __cplusplus
}
#endif
#endif /* MSW_UNIFIED_H */
