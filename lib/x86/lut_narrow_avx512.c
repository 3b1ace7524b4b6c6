/* SPDX-License-Identifier: BSD-2-Clause */
#include <immintrin.h>

#define KERNEL msw__narrow_avx512

static inline __m256 lookup(const float *table, __m256i index)
{
    return _mm256_permutex2var_ps(_mm256_load_ps(table), index, _mm256_load_ps(table + 8));
}

#include "narrow.h"
