/* SPDX-License-Identifier: BSD-2-Clause */
/* Weights, a file of them in memory that is aligned or is not, and products with them. */
#ifndef MSW_TESTS_PACKED_FIXTURE_H
#define MSW_TESTS_PACKED_FIXTURE_H

#include "weights.h"

/* One unified tensor "w" in a file. */
typedef struct packed_file {
    uint8_t *memory, *data; /* data is at a multiple of 64 */
    size_t size;
} packed_file;

/* The functions exit on failure: that is for memory, and for what other tests cover. */

/* @p shift: so many bytes behind a multiple of 64. */
packed_file packed_file_make(msw_context *ctx, const msw_unified *u,
                             const msw_store_options *o, size_t shift);
void packed_file_free(packed_file *f);
msw_store_options packed_options(size_t expected_n, uint32_t cpu);
msw_context *packed_context(uint32_t cpu, msw_context_options *base);
msw_reader *packed_open(msw_context *ctx, const packed_file *f, bool trusted);

/* For machines that are not little-endian, which have no packed form: says so, in TAP, where
 * a test is left out. That they refuse it is for test_packed_convert. */
bool packed_missing(void);

/* Every bit of them, classes and plan. */
bool packed_same(const msw_unified *a, const msw_unified *b);

/* Y = W X for n columns of fixed random numbers, rows x n; y has room for it, and what is
 * not written has all bits set. */
msw_status packed_run(float *y, const msw_gemm *g, size_t rows, size_t columns, size_t n);

#endif /* MSW_TESTS_PACKED_FIXTURE_H */
