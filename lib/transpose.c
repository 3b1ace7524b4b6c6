/* SPDX-License-Identifier: BSD-2-Clause */
#include "transpose.h"
#include "sizes.h"

#include <msw/base.h>

/* In squares, so that each cache line is used at once on both sides. */
enum { SQUARE = 16 };

static void square(float *to, size_t ld_to, const float *from, size_t ld_from,
                   size_t rows, size_t columns)
{
    for (size_t j = 0; j < columns; j++)
        for (size_t i = 0; i < rows; i++)
            to[j * ld_to + i] = from[i * ld_from + j];
}

void msw__transpose_c(float *to, size_t ld_to, const float *from, size_t ld_from,
                      size_t rows, size_t columns)
{
    for (size_t j = 0; j < columns; j += SQUARE)
        for (size_t i = 0; i < rows; i += SQUARE)
            square(to + j * ld_to + i, ld_to, from + i * ld_from + j, ld_from,
                   msw__min(rows - i, SQUARE), msw__min(columns - j, SQUARE));
}

msw__transpose *msw__transpose_choose(uint32_t cpu)
{
#ifdef MSW_HAVE_AVX2
    if (cpu & MSW_CPU_AVX2)
        return msw__transpose_avx2;
#endif
    (void)cpu;
    return msw__transpose_c;
}
