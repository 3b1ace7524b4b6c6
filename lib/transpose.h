/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MSW_LIB_TRANSPOSE_H
#define MSW_LIB_TRANSPOSE_H

#include <stddef.h>
#include <stdint.h>

/* to[j * ld_to + i] = from[i * ld_from + j] for i < rows, j < columns. */
typedef void msw__transpose(float *to, size_t ld_to, const float *from, size_t ld_from,
                            size_t rows, size_t columns);
msw__transpose msw__transpose_c, msw__transpose_avx2;

/* The best that these processor levels allow. */
msw__transpose *msw__transpose_choose(uint32_t cpu);

#endif /* MSW_LIB_TRANSPOSE_H */
