/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables and magnitudes of the narrow kernel (narrow.h) in registers. */
#ifndef MSW_LIB_X86_TABLES_H
#define MSW_LIB_X86_TABLES_H

#include "gemm.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef struct table { __m256 low, high; } table; /* entries 0 ... 7, 8 ... 15 */

static const float table_signs[MSW__GROUP - 1][8] __attribute__((aligned(32))) = {
    {1, -1, 1, -1, 1, -1, 1, -1},
    {1, 1, -1, -1, 1, 1, -1, -1},
    {1, 1, 1, 1, -1, -1, -1, -1},
};

/* All signed sums of 4, which are `step` apart. */
INLINE table build_table_of(const float *x, size_t step)
{
    const __m256 last = _mm256_set1_ps(x[3 * step]);
    __m256 sum = _mm256_mul_ps(_mm256_load_ps(table_signs[0]), _mm256_set1_ps(x[0]));

    sum = _mm256_fmadd_ps(_mm256_load_ps(table_signs[1]), _mm256_set1_ps(x[step]), sum);
    sum = _mm256_fmadd_ps(_mm256_load_ps(table_signs[2]), _mm256_set1_ps(x[2 * step]), sum);
    return (table){_mm256_add_ps(sum, last), _mm256_sub_ps(sum, last)};
}

INLINE table build_table(const float *x)
{
    return build_table_of(x, 1);
}

INLINE size_t magnitude_words(const uint32_t BANDS, const bool PAIRED)
{
    return (size_t)BANDS * (PAIRED ? 1 : MSW__UNIT_GROUPS);
}

/* Where the rows of X of a stage are: element i of unit u for column c is
 * x[u * unit + c * column + i * row]. */
typedef struct source {
    const float *x;
    size_t unit, column, row;
} source;

/* Of a stage, for all its units. */
typedef struct quads {
    uint32_t count;
    const uint32_t *strips, *index;
    const float *magnitudes;
} quads;

/* Lane l: p[l % bands]. */
INLINE __m256 repeat(const uint32_t BANDS, const float *p)
{
    double two;

    switch (BANDS) {
    case 1:
        return _mm256_set1_ps(*p);
    case 2:
        memcpy(&two, p, sizeof two);
        return _mm256_castpd_ps(_mm256_set1_pd(two));
    case 4:
        return _mm256_broadcast_ps((const __m128 *)(const void *)p);
    default:
        return _mm256_loadu_ps(p);
    }
}

#endif /* MSW_LIB_X86_TABLES_H */
