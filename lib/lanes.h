/* SPDX-License-Identifier: BSD-2-Clause */
/* Eight weights at a time: what Z and U step do to them. Loops of a fixed count over
 * arrays that do not overlap, which compilers turn into vector instructions. */
#ifndef MSW_LIB_LANES_H
#define MSW_LIB_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { MSW__LANES = 8 };

#define MSW__SIGN 0x80000000u /* of a float */

static inline uint32_t msw__bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float msw__float_of(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* What Z is in a column of a block: where held is all ones, a weight of this magnitude,
 * 0 in a PRUNED block; where held is 0, in a FREE block, the weight itself. */
static inline float msw__lane_z(float magnitude, uint32_t held, uint32_t sign, float free)
{
    return msw__float_of(((msw__bits_of(magnitude) | sign) & held) |
                         (msw__bits_of(free) & ~held));
}

static const uint32_t msw__lane_bits[MSW__LANES] = {1, 2, 4, 8, 16, 32, 64, 128};

/* Z from its signs, a bit per lane. In FREE blocks Z = D. */
static inline void msw__lanes_z(float *restrict z, unsigned signs,
                                const float *restrict magnitude,
                                const uint32_t *restrict held, const float *restrict d)
{
    for (size_t k = 0; k < MSW__LANES; k++) {
        const uint32_t sign = signs & msw__lane_bits[k] ? MSW__SIGN : 0;

        z[k] = msw__lane_z(magnitude[k], held[k], sign, d[k]);
    }
}

/* V = W + U, where U = Z - D is exactly 0 in FREE blocks. */
static inline void msw__lanes_v(float *restrict v, const float *restrict w,
                                const float *restrict z, const float *restrict d)
{
    for (size_t k = 0; k < MSW__LANES; k++)
        v[k] = w[k] + (z[k] - d[k]);
}

/* Signs of V as a bit per lane; sign(-0) is +1. */
static inline unsigned msw__lanes_signs(const float *restrict v)
{
    uint32_t bit[MSW__LANES], bits = 0;

    for (size_t k = 0; k < MSW__LANES; k++)
        bit[k] = (0 - (uint32_t)(v[k] < 0)) & msw__lane_bits[k];
    for (size_t k = 0; k < MSW__LANES; k++)
        bits |= bit[k];
    return bits;
}

/* Z' of V, and D' = Z' - ratio (V - Z'). */
static inline void msw__lanes_project(float *restrict z, float *restrict d,
                                      const float *restrict v,
                                      const float *restrict magnitude,
                                      const uint32_t *restrict held, float ratio)
{
    for (size_t k = 0; k < MSW__LANES; k++) {
        const uint32_t sign = v[k] < 0 ? MSW__SIGN : 0;

        z[k] = msw__lane_z(magnitude[k], held[k], sign, v[k]);
        d[k] = z[k] - ratio * (v[k] - z[k]);
    }
}

static inline void msw__lanes_largest(float *restrict bound, const float *restrict x)
{
    for (size_t k = 0; k < MSW__LANES; k++) {
        const float size = msw__float_of(msw__bits_of(x[k]) & ~MSW__SIGN);

        bound[k] = size > bound[k] ? size : bound[k];
    }
}

/* sum += (a - b)^2 */
static inline void msw__lanes_add_squares(double *restrict sum, const float *restrict a,
                                          const float *restrict b)
{
    for (size_t k = 0; k < MSW__LANES / 2; k++) {
        const size_t l = k + MSW__LANES / 2;
        const double x = (double)a[k] - (double)b[k], y = (double)a[l] - (double)b[l];

        sum[k] += x * x + y * y;
    }
}

static inline double msw__lanes_total(const double *sum)
{
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* The first n <= 8 of a run of sign bits, from number @p i on. */
static inline unsigned msw__lanes_load_signs(const uint8_t *signs, size_t i, size_t n)
{
    const uint8_t *p = signs + i / 8;
    unsigned bits = (unsigned)p[0] >> i % 8;

    if (i % 8 + n > 8)
        bits |= (unsigned)p[1] << (8 - i % 8);
    return bits;
}

static inline void msw__lanes_store_signs(uint8_t *signs, size_t i, size_t n, unsigned bits)
{
    uint8_t *p = signs + i / 8;
    const unsigned mask = ((1u << n) - 1) << i % 8;

    bits = bits << i % 8 & mask;
    p[0] = (uint8_t)((p[0] & ~mask) | bits);
    if (i % 8 + n > 8)
        p[1] = (uint8_t)((p[1] & ~(mask >> 8)) | bits >> 8);
}

#endif /* MSW_LIB_LANES_H */
