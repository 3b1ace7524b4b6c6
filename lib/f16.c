/* SPDX-License-Identifier: BSD-2-Clause */
#include "f16.h"

#include "bytes.h"

enum { MANTISSA_LOSS = 13 }; /* 23 mantissa bits become 10 */

static const uint32_t f32_infinity = 0x7f800000u;
static const uint32_t least_normal = 0x38800000u;   /* 2^-14 as f32 */
static const uint32_t least_infinite = 0x477ff000u; /* 65520, which rounds to 2^16 */

/* value / 2^shift, to nearest, ties to even. shift is at least 1. */
static uint32_t shift_round(uint32_t value, uint32_t shift)
{
    return (value + (1u << (shift - 1)) - 1 + (value >> shift & 1)) >> shift;
}

uint16_t msw__f16_from(float value)
{
    const uint32_t bits = msw__float_bits(&value);
    const uint32_t magnitude = bits & 0x7fffffffu, exponent = magnitude >> 23;
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    uint32_t half;

    if (magnitude > f32_infinity)
        half = 0x7e00u;
    else if (magnitude >= least_infinite)
        half = 0x7c00u;
    else if (magnitude >= least_normal) /* exponent bias 127 to 15 */
        half = shift_round(magnitude - (112u << 23), MANTISSA_LOSS);
    else if (exponent >= 102) /* a multiple of 2^-24 */
        half = shift_round((magnitude & 0x7fffffu) | 0x800000u, 126 - exponent);
    else
        half = 0;
    return (uint16_t)(sign | half);
}

float msw__f16_to(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t magnitude = half & 0x7fffu;
    float value;

    if (magnitude < 0x400u) { /* zero or subnormal: a multiple of 2^-24 */
        value = (float)magnitude * 0x1p-24f;
        msw__float_set(&value, sign | msw__float_bits(&value));
    } else if (magnitude < 0x7c00u) {
        msw__float_set(&value, sign | ((magnitude << MANTISSA_LOSS) + (112u << 23)));
    } else {
        msw__float_set(&value,
                       sign | f32_infinity | (magnitude & 0x3ffu) << MANTISSA_LOSS);
    }
    return value;
}
