/* SPDX-License-Identifier: BSD-2-Clause */
/* What both packers need of unified weights. */
#ifndef MSW_LIB_PACKING_H
#define MSW_LIB_PACKING_H

#include "bytes.h"
#include "gemm.h"

#include <string.h>

/* What a block is to the kernels. */
enum { MSW__NOTHING, MSW__PRODUCTS, MSW__LOOKUPS };

/* Where the data of a block begin. */
typedef struct msw__block_cursor {
    uint32_t block_column;
    size_t magnitude, sign, weight;
} msw__block_cursor;

enum { MSW__CODE_PADDING = 8 };   /* words: some kernels load more than they use */
enum { MSW__COLUMN_PADDING = 1 }; /* an array even where all is pruned */

static inline uint32_t msw__ceil_div(size_t a, size_t b)
{
    return (uint32_t)((a + b - 1) / b);
}

static inline uint32_t msw__bits_of(float f)
{
    return msw__float_bits(&f);
}

/* One of the above for each block. */
void msw__find_kinds(uint8_t *kinds, const msw_unified *u);

static inline msw__block_cursor msw__cursor_at_row(const msw_unified *u, size_t block_row)
{
    return (msw__block_cursor){0, u->magnitude_start[block_row], u->sign_start[block_row],
                               u->free_start[block_row]};
}

/* Move on within a block row. */
void msw__cursor_advance(msw__block_cursor *c, const msw_unified *u, size_t block_row,
                         uint32_t block_column);

/* msw__alloc() into a pointer of any type. */
msw_status msw__alloc_array(void *out, msw_context *ctx, size_t count,
                            size_t size) MSW_NODISCARD;

/* Chunks of whole block rows and about @p rows rows; the rest of them is the packer's. */
msw_status msw__packing_alloc_chunks(msw__packing *w, msw_context *ctx, const msw_plan *plan,
                                     size_t rows) MSW_NODISCARD;
/* The arrays whose counts are known, and the padding of the code. */
msw_status msw__packing_alloc(msw__packing *w, msw_context *ctx) MSW_NODISCARD;

#endif /* MSW_LIB_PACKING_H */
