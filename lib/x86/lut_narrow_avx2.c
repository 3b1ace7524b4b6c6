/* SPDX-License-Identifier: BSD-2-Clause */
#include "tables.h"
#include "transpose.h"

#define KERNEL msw__narrow_avx2
#define LANES_OF_ONE 8

/* Bit 3 of the index chooses the half. */
INLINE __m256 lookup(table t, __m256i index)
{
    const __m256 low = _mm256_permutevar8x32_ps(t.low, index);
    const __m256 high = _mm256_permutevar8x32_ps(t.high, index);

    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}

INLINE __m256 load_rows(const float *p, uint32_t n)
{
    return _mm256_maskload_ps(p, first_lanes(n));
}

INLINE void store_rows(float *p, uint32_t n, __m256 a)
{
    _mm256_maskstore_ps(p, first_lanes(n), a);
}

#include "narrow.h"
