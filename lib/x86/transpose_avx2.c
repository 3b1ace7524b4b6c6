/* SPDX-License-Identifier: BSD-2-Clause */
#include "../transpose.h"
#include "transpose.h"

enum { SIDE = 8 };

static void square(float *to, size_t ld_to, const float *from, size_t ld_from)
{
    __m256 r[SIDE];

    for (size_t i = 0; i < SIDE; i++)
        r[i] = _mm256_loadu_ps(from + i * ld_from);
    transpose_8x8(r);
    for (size_t i = 0; i < SIDE; i++)
        _mm256_storeu_ps(to + i * ld_to, r[i]);
}

/* Pairs of squares, so that cache lines of `to` are written at once; then what is left at
 * the right and below. */
void msw__transpose_avx2(float *to, size_t ld_to, const float *from, size_t ld_from,
                         size_t rows, size_t columns)
{
    const size_t whole_rows = rows / SIDE * SIDE, whole_columns = columns / SIDE * SIDE;

    for (size_t i = 0; i < whole_rows; i += 2 * SIDE)
        for (size_t j = 0; j < whole_columns; j += SIDE) {
            square(to + j * ld_to + i, ld_to, from + i * ld_from + j, ld_from);
            if (i + SIDE < whole_rows)
                square(to + j * ld_to + i + SIDE, ld_to, from + (i + SIDE) * ld_from + j,
                       ld_from);
        }
    msw__transpose_c(to + whole_rows, ld_to, from + whole_rows * ld_from, ld_from,
                     rows - whole_rows, whole_columns);
    msw__transpose_c(to + whole_columns * ld_to, ld_to, from + whole_columns, ld_from,
                     rows, columns - whole_columns);
}
