/* SPDX-License-Identifier: BSD-2-Clause */
/* What msw_gemm_new() asks of a wisdom handle. */
#ifndef MSW_LIB_WISDOM_H
#define MSW_LIB_WISDOM_H

#include "gemm.h"

/* A product and a number of columns. */
typedef struct msw__wisdom_key {
    uint64_t rows, columns, n, pruned, unified; /* the last two: blocks */
    uint32_t block_rows, block_columns;
} msw__wisdom_key;

/* Seconds per kernel; 0: not measured. */
typedef struct msw__wisdom_entry {
    msw__wisdom_key key;
    double seconds[MSW__GEMM_KINDS];
} msw__wisdom_entry;

/* NULL: not known. Valid until the next call with the handle. */
const msw__wisdom_entry *msw__wisdom_find(const msw_wisdom *w, const msw__wisdom_key *key);
msw_status msw__wisdom_add(msw_wisdom *w, const msw__wisdom_entry *entry) MSW_NODISCARD;

#endif /* MSW_LIB_WISDOM_H */
