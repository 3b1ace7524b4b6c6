/* SPDX-License-Identifier: BSD-2-Clause */
/* The loops of lanes.h, for the file that includes this: it defines LANE_KERNELS, the
 * name of its table. Inner loops have a fixed count, and arrays that do not overlap:
 * compilers turn them into vector instructions. Where that is not enough there are
 * intrinsics. */
#include "lanes.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { LANES = MSW__LANES, HALF = MSW__LANES / 2 };

#define SIGN 0x80000000u /* of a float */

#ifdef __GNUC__
#define PREFETCH(p) __builtin_prefetch(p)
#else
#define PREFETCH(p) ((void)0)
#endif

static inline uint32_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float absolute(float x)
{
    return float_of(bits_of(x) & ~SIGN);
}

static inline float lane_z(float magnitude, uint32_t held, uint32_t sign, float free)
{
    return float_of(((bits_of(magnitude) | sign) & held) | (bits_of(free) & ~held));
}

/* Signs: a bit per lane */

static const uint32_t lane_bits[LANES] = {1, 2, 4, 8, 16, 32, 64, 128};

/* sign(-0) is +1. */
#ifdef __SSE2__
static inline unsigned signs_of(const float *v)
{
    const __m128 zero = _mm_setzero_ps();
    const int low = _mm_movemask_ps(_mm_cmplt_ps(_mm_loadu_ps(v), zero));
    const int high = _mm_movemask_ps(_mm_cmplt_ps(_mm_loadu_ps(v + HALF), zero));

    return (unsigned)(low | high << HALF);
}
#else
static inline unsigned signs_of(const float *v)
{
    unsigned bits = 0;

    for (size_t k = 0; k < LANES; k++)
        bits |= (unsigned)(v[k] < 0) << k;
    return bits;
}
#endif

/* Rows */

/* Eight of the old Z from column c on. */
static inline void old_z(float *restrict z, const msw__z_row *old, size_t c)
{
    const unsigned signs = old->signs->bits[c / LANES];
    const float *magnitude = old->columns->magnitude + c, *d = old->d + c;
    const uint32_t *held = old->columns->held + c;

    for (size_t k = 0; k < LANES; k++)
        z[k] = lane_z(magnitude[k], held[k], signs & lane_bits[k] ? SIGN : 0, d[k]);
}

static void z_row(float *z, const msw__z_row *old, size_t n)
{
    for (size_t c = 0; c < n; c += LANES)
        old_z(z + c, old, c);
}

/* Poison: x * 0 is NaN for NaN and for infinities alone. */
static inline float penalty_one(float *g, float w, float d, float factor)
{
    *g += factor * (w - d);
    return *g * 0;
}

#ifdef __AVX2__
#include "x86/lanes.h"
#else

static inline void sum_u(float *restrict v, const float *restrict w, const float *restrict z,
                         const float *restrict d)
{
    for (size_t k = 0; k < LANES; k++)
        v[k] = w[k] + (z[k] - d[k]);
}

static void v_row(float *v, const float *w, const msw__z_row *old, size_t n)
{
    for (size_t c = 0; c < n; c += LANES) {
        float z[LANES];

        PREFETCH(old->w_soon + c);
        PREFETCH(old->d_soon + c);
        old_z(z, old, c);
        sum_u(v + c, w + c, z, old->d + c);
    }
}

/* sum += (a - b)^2 */
static inline void add_squares(double *restrict sum, const float *restrict a,
                               const float *restrict b)
{
    for (size_t k = 0; k < LANES; k++) {
        const double x = (double)a[k] - (double)b[k];

        sum[k] += x * x;
    }
}

static inline void project_lanes(float *restrict z, float *restrict d,
                                 const float *restrict v, const float *restrict magnitude,
                                 const uint32_t *restrict held, float ratio)
{
    for (size_t k = 0; k < LANES; k++) {
        z[k] = lane_z(magnitude[k], held[k], v[k] < 0 ? SIGN : 0, v[k]);
        d[k] = z[k] - ratio * (v[k] - z[k]);
    }
}

static inline void largest(float *restrict bound, const float *restrict x)
{
    for (size_t k = 0; k < LANES; k++) {
        const float size = absolute(x[k]);

        bound[k] = size > bound[k] ? size : bound[k];
    }
}

static void project_row(float *to, msw__sign_row *signs, msw__lane_sums *all,
                        const float *w, const msw__z_row *old, const msw__columns *next,
                        float ratio, size_t n)
{
    static const float zero[LANES] = {0};
    msw__lane_sums sums = *all;

    for (size_t c = 0; c < n; c += LANES) {
        float z_old[LANES], v[LANES], z[LANES], d[LANES];

        PREFETCH(old->w_soon + c);
        PREFETCH(old->d_soon + c);
        old_z(z_old, old, c);
        sum_u(v, w + c, z_old, old->d + c);
        project_lanes(z, d, v, next->magnitude + c, next->held + c, ratio);
        signs->bits[c / LANES] = (uint8_t)signs_of(v);
        add_squares(sums.weights, w + c, zero);
        add_squares(sums.primal, w + c, z);
        add_squares(sums.dual, z, z_old);
        largest(sums.bound, d);
        memcpy(to + c, d, sizeof d);
    }
    *all = sums;
}

/* Columns */

static inline void add_row(double *restrict absolutes, double *restrict squares,
                           double *restrict importance, const float *restrict v,
                           const float *restrict h)
{
    for (size_t k = 0; k < LANES; k++) {
        const double x = (double)absolute(v[k]), weight = h ? (double)h[k] : 1;
        const double hx = h ? weight * x : x;

        absolutes[k] += hx;
        squares[k] += hx * x;
        if (h)
            importance[k] += weight;
    }
}

static inline void sum_columns(msw__column_sums *sums, const float *v, const float *h,
                               size_t ld, size_t rows, size_t n)
{
    for (size_t c = 0; c < n; c += LANES) {
        double absolutes[LANES] = {0}, squares[LANES] = {0}, importance[LANES] = {0};

        for (size_t r = 0; r < rows; r++)
            add_row(absolutes, squares, importance, v + r * ld + c, h ? h + r * ld + c : NULL);
        memcpy(sums->absolute + c, absolutes, sizeof absolutes);
        memcpy(sums->square + c, squares, sizeof squares);
        if (h)
            memcpy(sums->importance + c, importance, sizeof importance);
    }
}

static inline void spread_row(double *restrict spread, const double *restrict m,
                              const float *restrict v, const float *restrict h)
{
    for (size_t k = 0; k < LANES; k++) {
        const double x = (double)absolute(v[k]) - m[k];

        spread[k] += h ? (double)h[k] * x * x : x * x;
    }
}

static inline void spread_columns(double *spread, const double *m, const float *v,
                                  const float *h, size_t ld, size_t rows, size_t n)
{
    for (size_t c = 0; c < n; c += LANES) {
        double sums[LANES] = {0};

        for (size_t r = 0; r < rows; r++)
            spread_row(sums, m + c, v + r * ld + c, h ? h + r * ld + c : NULL);
        memcpy(spread + c, sums, sizeof sums);
    }
}

/* Elements */

/* Of the first n weights, a multiple of eight, to poison. */
static inline void penalty_lanes(float *restrict poison, float *restrict g,
                                 const float *restrict w, const float *restrict d,
                                 const float *restrict h, float factor, size_t n)
{
    for (size_t i = 0; i < n; i += LANES)
        for (size_t k = i; k < i + LANES; k++)
            poison[k - i] += penalty_one(g + k, w[k], d[k], h ? factor * h[k] : factor);
}

#endif

static void column_sums(msw__column_sums *sums, const float *v, const float *h, size_t ld,
                        size_t rows, size_t n)
{
    if (h)
        sum_columns(sums, v, h, ld, rows, n);
    else
        sum_columns(sums, v, NULL, ld, rows, n);
}

static void column_spread(double *spread, const double *m, const float *v, const float *h,
                          size_t ld, size_t rows, size_t n)
{
    if (h)
        spread_columns(spread, m, v, h, ld, rows, n);
    else
        spread_columns(spread, m, v, NULL, ld, rows, n);
}

/* Elements */

static inline float penalty_run(float *g, const float *w, const float *d, const float *h,
                                float factor, size_t n)
{
    const size_t whole = n / LANES * LANES;
    float poison[LANES] = {0};

    penalty_lanes(poison, g, w, d, h, factor, whole);
    for (size_t i = whole; i < n; i++)
        poison[0] += penalty_one(g + i, w[i], d[i], h ? factor * h[i] : factor);
    for (size_t k = 1; k < LANES; k++)
        poison[0] += poison[k];
    return poison[0];
}

static float penalty(float *g, const float *w, const float *d, const float *h, float factor,
                     size_t n)
{
    return h ? penalty_run(g, w, d, h, factor, n) : penalty_run(g, w, d, NULL, factor, n);
}

static bool within(const float *x, float limit, size_t n)
{
    uint32_t outside[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            outside[k] |= !(absolute(x[i + k]) <= limit);
    for (; i < n; i++)
        outside[0] |= !(absolute(x[i]) <= limit);
    for (size_t k = 1; k < LANES; k++)
        outside[0] |= outside[k];
    return !outside[0];
}

const msw__lane_kernels LANE_KERNELS = {z_row, v_row, column_sums, column_spread,
                                        project_row, penalty, within};
