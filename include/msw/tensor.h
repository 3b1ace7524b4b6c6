/* SPDX-License-Identifier: BSD-2-Clause */
/** @file tensor.h  Float32 arrays of rank 1 to 4, owned or borrowed from the host.
 *
 * A tensor tells the library where numbers lie. A borrowed one uses the host's
 * array in place, with the host's strides: a view into a larger row (a bias
 * behind the weights of each neuron, say) or a transposed matrix needs no copy.
 *
 * A tensor belongs to one thread at a time. Solvers and other objects that were
 * given a tensor keep the handle alive, never the host's array.
 */
#ifndef MSW_TENSOR_H
#define MSW_TENSOR_H

#include <msw/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MSW_MAX_RANK 4u

/**
 * An owned tensor, contiguous, 64-byte aligned, all zero. @p shape has @p rank
 * entries, outermost dimension first. MSW_E_INVAL: rank 0 or above MSW_MAX_RANK,
 * or a dimension of 0. MSW_E_RANGE: the size overflows.
 */
MSW_API msw_status msw_tensor_new(msw_tensor **out, msw_context *ctx, const size_t *shape,
                                  uint32_t rank) MSW_NODISCARD;

/**
 * A tensor over the host's @p data, which must outlive its use here. @p strides
 * are in elements, one per dimension, NULL: contiguous. No two indices may
 * share an element, and so strides must, sorted by size, each exceed what the
 * smaller ones span; a dimension of 1 may have any stride. MSW_E_INVAL
 * otherwise, or for NULL or misaligned (for float) data.
 */
MSW_API msw_status msw_tensor_borrow(msw_tensor **out, msw_context *ctx, float *data,
                                     const size_t *shape, const size_t *strides,
                                     uint32_t rank) MSW_NODISCARD;

/**
 * Let a borrowed tensor point to other data of the same shape and strides:
 * frameworks reallocate gradients at will. No allocation. MSW_E_STATE for an
 * owned tensor; MSW_E_INVAL for NULL or misaligned data.
 */
MSW_API msw_status msw_tensor_repoint(msw_tensor *tensor, float *data) MSW_NODISCARD;

/** One reference more; returns @p tensor. Thread-safety: safe. */
MSW_API msw_tensor *msw_tensor_ref(msw_tensor *tensor);
/** Release one reference. NULL is allowed. Thread-safety: safe. */
MSW_API void msw_tensor_free(msw_tensor *tensor);

/** First element. Thread-safety of the getters: as the tensor. */
MSW_API float *msw_tensor_data(const msw_tensor *tensor);
MSW_API uint32_t msw_tensor_rank(const msw_tensor *tensor);
/** Dimension @p axis; 0 when there is no such axis. */
MSW_API size_t msw_tensor_dim(const msw_tensor *tensor, uint32_t axis);
/** Stride of @p axis in elements; 0 when there is no such axis. */
MSW_API size_t msw_tensor_stride(const msw_tensor *tensor, uint32_t axis);
/** Number of elements. */
MSW_API size_t msw_tensor_count(const msw_tensor *tensor);

#ifdef __cplusplus
}
#endif
#endif /* MSW_TENSOR_H */
