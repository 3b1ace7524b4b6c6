/* SPDX-License-Identifier: BSD-2-Clause */
/* Floats as whole numbers for the transport form, and back: a key is what is left of a
 * value without its sign (doc/format.md, 6.2). */
#ifndef MSW_LIB_QUANTISER_H
#define MSW_LIB_QUANTISER_H

#include "bytes.h"
#include "f16.h"
#include "internal.h"

enum {
    MSW__KEY_BITS_F32 = 31,
    MSW__KEY_BITS_F16 = 15,
    MSW__KEY_BITS_UNIFORM = 15,
    MSW__MANTISSA_BITS = 23,
    MSW__MOST_LOG_BITS = 7,     /* of the mantissa that MSW_DTYPE_LOG keeps */
    MSW__LEAST_UNIFORM_BITS = 2,
    MSW__MOST_UNIFORM_BITS = 15 /* of a number whose step is found by itself */
};

typedef struct msw__quantiser {
    uint32_t dtype;
    uint32_t parameter; /* as a record has it: the step's bits, or bits of the mantissa */
    unsigned key_bits;
    unsigned shift;     /* LOG: bits of the mantissa left out */
    double step;        /* UNIFORM */
} msw__quantiser;

/* False: no such dtype, or not a parameter of it. */
bool msw__quantiser_from(msw__quantiser *out, uint32_t dtype, uint32_t parameter);
/* The parameter of a step: of its f32. */
uint32_t msw__step_parameter(double step);
/* The step with which @p levels reach @p largest. */
double msw__step_for(float largest, uint32_t levels);

/* MSW_E_RANGE: too large; MSW_E_NUMERIC: not finite, which only f32 keeps. */
msw_status msw__quantise(uint32_t *key, const msw__quantiser *q,
                         float value) MSW_NODISCARD;

/* Of a value that is not negative. */
static inline float msw__dequantise(const msw__quantiser *q, uint32_t key)
{
    float value;

    if (q->dtype == MSW_DTYPE_UNIFORM)
        return (float)((double)key * q->step);
    if (q->dtype == MSW_DTYPE_F16)
        return msw__f16_to((uint16_t)key);
    msw__float_set(&value, key << q->shift);
    return value;
}

/* Bits of a number without zeros in front: 0 for 0. */
static inline unsigned msw__bit_length(uint32_t value)
{
#ifdef __GNUC__
    return value ? 32u - (unsigned)__builtin_clz(value) : 0;
#else
    unsigned bits = 0;

    for (; value; value >>= 1)
        bits++;
    return bits;
#endif
}

#endif /* MSW_LIB_QUANTISER_H */
