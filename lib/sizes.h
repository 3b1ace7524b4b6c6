/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MSW_LIB_SIZES_H
#define MSW_LIB_SIZES_H

#include <stddef.h>

static inline size_t msw__min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t msw__max(size_t a, size_t b)
{
    return a > b ? a : b;
}

static inline size_t msw__divide_up(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

#endif /* MSW_LIB_SIZES_H */
