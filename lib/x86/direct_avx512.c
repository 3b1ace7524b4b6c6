/* SPDX-License-Identifier: BSD-2-Clause */
#include <immintrin.h>

typedef __m512 vector;
typedef __mmask16 mask;

enum { LANES = 16 };
#define VECTORS_4 4
#define KERNEL msw__direct_avx512
#define DEPTHWISE_KERNEL msw__depthwise_avx512

#define zero_v() _mm512_setzero_ps()
#define set1_v(f) _mm512_set1_ps(f)
#define load_v(p) _mm512_loadu_ps(p)
#define store_v(p, a) _mm512_storeu_ps(p, a)
#define add_v(a, b) _mm512_add_ps(a, b)
#define fma_v(a, b, c) _mm512_fmadd_ps(a, b, c)
#define min_v(a, b) _mm512_min_ps(a, b)
#define max_v(a, b) _mm512_max_ps(a, b)
#define mask_of(n) ((mask)((n) < 16 ? (1u << (n)) - 1 : 0xffff))
#define load_mask(p, m) _mm512_maskz_loadu_ps(m, p)
#define store_lanes(p, a, n) _mm512_mask_storeu_ps(p, mask_of(n), a)

#include "taps.h"

#include "channels.h"
