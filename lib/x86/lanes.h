/* SPDX-License-Identifier: BSD-2-Clause */
/* The loops of lanes_body.h that an update spends its time in, by intrinsics: compilers keep
 * the eight lanes of plain C in memory. Operation by operation the same, and nothing fused:
 * the same bits. Included by lanes_body.h. */
#include <immintrin.h>

/* Eight doubles */

#ifdef __AVX512F__

typedef __m512d eight;

static inline eight eight_zero(void) { return _mm512_setzero_pd(); }
static inline eight eight_of(__m256 x) { return _mm512_cvtps_pd(x); }
static inline eight eight_load(const double *p) { return _mm512_loadu_pd(p); }
static inline void eight_store(double *p, eight x) { _mm512_storeu_pd(p, x); }
static inline eight eight_add(eight a, eight b) { return _mm512_add_pd(a, b); }
static inline eight eight_sub(eight a, eight b) { return _mm512_sub_pd(a, b); }
static inline eight eight_mul(eight a, eight b) { return _mm512_mul_pd(a, b); }

#else

typedef struct eight {
    __m256d low, high;
} eight;

static inline eight eight_zero(void)
{
    return (eight){_mm256_setzero_pd(), _mm256_setzero_pd()};
}

static inline eight eight_of(__m256 x)
{
    return (eight){_mm256_cvtps_pd(_mm256_castps256_ps128(x)),
                   _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))};
}

static inline eight eight_load(const double *p)
{
    return (eight){_mm256_loadu_pd(p), _mm256_loadu_pd(p + HALF)};
}

static inline void eight_store(double *p, eight x)
{
    _mm256_storeu_pd(p, x.low);
    _mm256_storeu_pd(p + HALF, x.high);
}

static inline eight eight_add(eight a, eight b)
{
    return (eight){_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)};
}

static inline eight eight_sub(eight a, eight b)
{
    return (eight){_mm256_sub_pd(a.low, b.low), _mm256_sub_pd(a.high, b.high)};
}

static inline eight eight_mul(eight a, eight b)
{
    return (eight){_mm256_mul_pd(a.low, b.low), _mm256_mul_pd(a.high, b.high)};
}

#endif

static inline eight eight_add_square(eight sum, eight x)
{
    return eight_add(sum, eight_mul(x, x));
}

/* Eight floats */

static inline __m256 size_of(__m256 x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

/* Bit k to the sign of lane k. */
static inline __m256 signs_from(unsigned bits)
{
    const __m256i up = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
    const __m256i all = _mm256_sllv_epi32(_mm256_set1_epi32((int)bits), up);

    return _mm256_and_ps(_mm256_castsi256_ps(all), _mm256_set1_ps(-0.0f));
}

/* lane_z() */
static inline __m256 z_of(const msw__columns *columns, size_t c, __m256 signs, __m256 free)
{
    const __m256 magnitude = _mm256_loadu_ps(columns->magnitude + c);
    const __m256i held = _mm256_loadu_si256((const __m256i *)(const void *)(columns->held + c));

    return _mm256_blendv_ps(free, _mm256_or_ps(magnitude, signs), _mm256_castsi256_ps(held));
}

#ifdef __AVX512F__

/* Sixteen floats: two times eight lanes, their signs in a mask. */

enum { SIXTEEN = 2 * LANES };

static inline __m256 low_of(__m512 x)
{
    return _mm512_castps512_ps256(x);
}

static inline __m256 high_of(__m512 x)
{
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1));
}

static inline __mmask16 sixteen_signs(const msw__sign_row *signs, size_t c)
{
    uint16_t bits;

    memcpy(&bits, signs->bits + c / LANES, sizeof bits);
    return (__mmask16)bits;
}

/* lane_z() */
static inline __m512 sixteen_z(const msw__columns *columns, size_t c, __mmask16 signs,
                               __m512 free)
{
    enum { FIRST_CHOOSES = 0xCA }; /* the second where the first is set, or the third */
    const __m512i magnitude = _mm512_loadu_si512(columns->magnitude + c);
    const __m512i held = _mm512_loadu_si512(columns->held + c);
    const __m512i z = _mm512_mask_or_epi32(magnitude, signs, magnitude,
                                           _mm512_set1_epi32((int)SIGN));

    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(held, z, _mm512_castps_si512(free),
                                                         FIRST_CHOOSES));
}

static inline __m512 sixteen_v(const float *w, const msw__z_row *old, size_t c, __m512 *z)
{
    const __m512 d = _mm512_loadu_ps(old->d + c);

    *z = sixteen_z(old->columns, c, sixteen_signs(old->signs, c), d);
    return _mm512_add_ps(_mm512_loadu_ps(w + c), _mm512_sub_ps(*z, d));
}

#endif

/* Rows */

static void v_row(float *v, const float *w, const msw__z_row *old, size_t n)
{
    size_t c = 0;

#ifdef __AVX512F__
    for (; c + SIXTEEN <= n; c += SIXTEEN) {
        __m512 z;

        PREFETCH(old->w_soon + c);
        PREFETCH(old->d_soon + c);
        _mm512_storeu_ps(v + c, sixteen_v(w, old, c, &z));
    }
#endif
    for (; c < n; c += LANES) {
        const __m256 d = _mm256_loadu_ps(old->d + c);
        const __m256 z = z_of(old->columns, c, signs_from(old->signs->bits[c / LANES]), d);

        PREFETCH(old->w_soon + c);
        PREFETCH(old->d_soon + c);
        _mm256_storeu_ps(v + c, _mm256_add_ps(_mm256_loadu_ps(w + c), _mm256_sub_ps(z, d)));
    }
}

typedef struct norms {
    eight weights, primal, dual;
} norms;

static inline void add_norms(norms *sums, __m256 w, __m256 z, __m256 before)
{
    const eight wide = eight_of(w), wide_z = eight_of(z);

    sums->weights = eight_add_square(sums->weights, wide);
    sums->primal = eight_add_square(sums->primal, eight_sub(wide, wide_z));
    sums->dual = eight_add_square(sums->dual, eight_sub(wide_z, eight_of(before)));
}

#ifdef __AVX512F__

/* Columns up to the last that are no sixteen; their number. */
static inline size_t project_sixteens(float *to, msw__sign_row *signs, norms *all,
                                      __m256 *bound, const float *w, const msw__z_row *old,
                                      const msw__columns *next, float ratio, size_t n)
{
    const __m512 by = _mm512_set1_ps(ratio);
    __m512 most = _mm512_setzero_ps();
    norms sums = *all;
    size_t c = 0;

    for (; c + SIXTEEN <= n; c += SIXTEEN) {
        const __m512 x = _mm512_loadu_ps(w + c);
        __m512 before;
        const __m512 v = sixteen_v(w, old, c, &before);
        const __mmask16 below = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_LT_OQ);
        const __m512 z = sixteen_z(next, c, below, v);
        const __m512 d = _mm512_sub_ps(z, _mm512_mul_ps(by, _mm512_sub_ps(v, z)));
        const uint16_t bits = (uint16_t)below;

        PREFETCH(old->w_soon + c);
        PREFETCH(old->d_soon + c);
        memcpy(signs->bits + c / LANES, &bits, sizeof bits);
        add_norms(&sums, low_of(x), low_of(z), low_of(before));
        add_norms(&sums, high_of(x), high_of(z), high_of(before));
        most = _mm512_max_ps(_mm512_abs_ps(d), most);
        _mm512_storeu_ps(to + c, d);
    }
    *all = sums;
    *bound = _mm256_max_ps(*bound, _mm256_max_ps(low_of(most), high_of(most)));
    return c;
}

#endif

static void project_row(float *to, msw__sign_row *signs, msw__lane_sums *all,
                        const float *w, const msw__z_row *old, const msw__columns *next,
                        float ratio, size_t n)
{
    const __m256 by = _mm256_set1_ps(ratio);
    norms sums = {eight_load(all->weights), eight_load(all->primal), eight_load(all->dual)};
    __m256 bound = _mm256_loadu_ps(all->bound);
    size_t c = 0;

#ifdef __AVX512F__
    c = project_sixteens(to, signs, &sums, &bound, w, old, next, ratio, n);
#endif
    for (; c < n; c += LANES) {
        const __m256 x = _mm256_loadu_ps(w + c), d = _mm256_loadu_ps(old->d + c);
        const __m256 before = z_of(old->columns, c, signs_from(old->signs->bits[c / LANES]), d);
        const __m256 v = _mm256_add_ps(x, _mm256_sub_ps(before, d));
        const __m256 below = _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_LT_OQ);
        const __m256 z = z_of(next, c, _mm256_and_ps(below, _mm256_set1_ps(-0.0f)), v);
        const __m256 d_next = _mm256_sub_ps(z, _mm256_mul_ps(by, _mm256_sub_ps(v, z)));

        PREFETCH(old->w_soon + c);
        PREFETCH(old->d_soon + c);
        signs->bits[c / LANES] = (uint8_t)_mm256_movemask_ps(below);
        add_norms(&sums, x, z, before);
        bound = _mm256_max_ps(size_of(d_next), bound);
        _mm256_storeu_ps(to + c, d_next);
    }
    eight_store(all->weights, sums.weights);
    eight_store(all->primal, sums.primal);
    eight_store(all->dual, sums.dual);
    _mm256_storeu_ps(all->bound, bound);
}

/* Columns */

static inline void sum_columns(msw__column_sums *sums, const float *v, const float *h,
                               size_t ld, size_t rows, size_t n)
{
    for (size_t c = 0; c < n; c += LANES) {
        eight absolutes = eight_zero(), squares = eight_zero(), importance = eight_zero();

        for (size_t r = 0; r < rows; r++) {
            const eight x = eight_of(size_of(_mm256_loadu_ps(v + r * ld + c)));
            eight hx = x;

            if (h) {
                const eight weight = eight_of(_mm256_loadu_ps(h + r * ld + c));

                hx = eight_mul(weight, x);
                importance = eight_add(importance, weight);
            }
            absolutes = eight_add(absolutes, hx);
            squares = eight_add(squares, eight_mul(hx, x));
        }
        eight_store(sums->absolute + c, absolutes);
        eight_store(sums->square + c, squares);
        if (h)
            eight_store(sums->importance + c, importance);
    }
}

static inline void spread_columns(double *spread, const double *m, const float *v,
                                  const float *h, size_t ld, size_t rows, size_t n)
{
    for (size_t c = 0; c < n; c += LANES) {
        const eight mean = eight_load(m + c);
        eight sum = eight_zero();

        for (size_t r = 0; r < rows; r++) {
            const eight size = eight_of(size_of(_mm256_loadu_ps(v + r * ld + c)));
            const eight x = eight_sub(size, mean);

            if (h)
                sum = eight_add(sum, eight_mul(eight_mul(
                          eight_of(_mm256_loadu_ps(h + r * ld + c)), x), x));
            else
                sum = eight_add_square(sum, x);
        }
        eight_store(spread + c, sum);
    }
}

/* Elements */

static inline __m256 penalty_eight(__m256 poison, float *g, const float *w, const float *d,
                                   const float *h, __m256 factor)
{
    const __m256 by = h ? _mm256_mul_ps(factor, _mm256_loadu_ps(h)) : factor;
    const __m256 off = _mm256_sub_ps(_mm256_loadu_ps(w), _mm256_loadu_ps(d));
    const __m256 sum = _mm256_add_ps(_mm256_loadu_ps(g), _mm256_mul_ps(by, off));

    _mm256_storeu_ps(g, sum);
    return _mm256_add_ps(poison, _mm256_mul_ps(sum, _mm256_setzero_ps()));
}

/* Several at a time, which do not wait for each other; poison is 0 or NaN in any order. */
static inline void penalty_lanes(float *poison, float *g, const float *w, const float *d,
                                 const float *h, float factor, size_t n)
{
    enum { AT_ONCE = 4, STEP = AT_ONCE * LANES };
    const __m256 by = _mm256_set1_ps(factor);
    __m256 sums[AT_ONCE];
    size_t i = 0;

    for (size_t k = 0; k < AT_ONCE; k++)
        sums[k] = _mm256_setzero_ps();
    for (; i + STEP <= n; i += STEP)
        for (size_t k = 0; k < AT_ONCE; k++) {
            const size_t at = i + k * LANES;

            sums[k] = penalty_eight(sums[k], g + at, w + at, d + at, h ? h + at : NULL, by);
        }
    for (; i < n; i += LANES)
        sums[0] = penalty_eight(sums[0], g + i, w + i, d + i, h ? h + i : NULL, by);
    for (size_t k = 1; k < AT_ONCE; k++)
        sums[0] = _mm256_add_ps(sums[0], sums[k]);
    _mm256_storeu_ps(poison, sums[0]);
}
