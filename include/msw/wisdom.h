/* SPDX-License-Identifier: BSD-2-Clause */
/** @file wisdom.h  What msw_gemm_new() and msw_conv_new() have measured, kept for the next
 * time.
 *
 * A product that is tuned (msw_gemm_options.tune) is timed when it is made, and so are the
 * products of a convolution (msw_conv_options.tune). With a wisdom handle in the options
 * the times are kept there, and a product of
 * the same shape, blocks, numbers of pruned and unified blocks and columns takes them
 * from there instead, whether it asks for tuning or not. Exported, they serve later runs
 * of the program, too: on the same processor, instruction sets, number of threads, BLAS
 * and version of libmsw, because elsewhere they would be wrong.
 *
 * Thread-safety: one thread at a time for each handle, msw_gemm_new() and msw_conv_new()
 * with it included.
 */
#ifndef MSW_WISDOM_H
#define MSW_WISDOM_H

#include <msw/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** An empty one, for products made from @p ctx or a context with the same settings. */
MSW_API msw_status msw_wisdom_new(msw_wisdom **out, msw_context *ctx) MSW_NODISCARD;
/** NULL is allowed. Products made with it do not need it any more. */
MSW_API void msw_wisdom_free(msw_wisdom *wisdom);

/** How many products, with their numbers of columns, it knows. */
MSW_API size_t msw_wisdom_count(const msw_wisdom *wisdom);

/**
 * Write it to @p data. *size is the number of bytes it takes, also on MSW_E_RANGE,
 * which means that @p capacity is less. @p data NULL with capacity 0: only ask.
 */
MSW_API msw_status msw_wisdom_export(const msw_wisdom *wisdom, void *data, size_t capacity,
                                     size_t *size) MSW_NODISCARD;

/**
 * Add what was exported; what is known twice is taken from @p data. Every byte is
 * checked: MSW_E_FORMAT: it is no wisdom; MSW_E_CORRUPT: it was changed;
 * MSW_E_UNSUPPORTED: it is that of another machine, number of threads, BLAS or version.
 * The handle is then as it was.
 */
MSW_API msw_status msw_wisdom_import(msw_wisdom *wisdom, const void *data,
                                     size_t size) MSW_NODISCARD;

#ifdef __cplusplus
}
#endif
#endif /* MSW_WISDOM_H */
