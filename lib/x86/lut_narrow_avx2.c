/* SPDX-License-Identifier: BSD-2-Clause */
#include <immintrin.h>

#define KERNEL msw__narrow_avx2

/* Bit 3 of the index chooses the half. */
static inline __m256 lookup(const float *table, __m256i index)
{
    const __m256 low = _mm256_permutevar8x32_ps(_mm256_load_ps(table), index);
    const __m256 high = _mm256_permutevar8x32_ps(_mm256_load_ps(table + 8), index);

    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}

#include "narrow.h"
