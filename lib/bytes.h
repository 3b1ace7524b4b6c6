/* SPDX-License-Identifier: BSD-2-Clause */
/* Little-endian numbers in byte arrays, on every machine and at any alignment. */
#ifndef MSW_LIB_BYTES_H
#define MSW_LIB_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t msw__load16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t msw__load32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t msw__load64(const uint8_t *p)
{
    return msw__load32(p) | (uint64_t)msw__load32(p + 4) << 32;
}

static inline void msw__store16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static inline void msw__store32(uint8_t *p, uint32_t value)
{
    msw__store16(p, (uint16_t)value);
    msw__store16(p + 2, (uint16_t)(value >> 16));
}

static inline void msw__store64(uint8_t *p, uint64_t value)
{
    msw__store32(p, (uint32_t)value);
    msw__store32(p + 4, (uint32_t)(value >> 32));
}

/* A float's bits, by pointer: where floats pass through wider registers, loading a
 * signalling NaN as a value would change it. */
static inline uint32_t msw__float_bits(const float *value)
{
    uint32_t bits;

    memcpy(&bits, value, sizeof bits);
    return bits;
}

static inline void msw__float_set(float *value, uint32_t bits)
{
    memcpy(value, &bits, sizeof bits);
}

/* The doubles >= 0 keep their order as integers. */
static inline uint64_t msw__double_bits(double x)
{
    uint64_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double msw__double_of(uint64_t bits)
{
    double x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif /* MSW_LIB_BYTES_H */
