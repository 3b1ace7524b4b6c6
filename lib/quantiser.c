/* SPDX-License-Identifier: BSD-2-Clause */
#include "quantiser.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define MAGNITUDE_BITS 0x7fffffffu /* of an f32: all but its sign */
#define INFINITY_BITS 0x7f800000u

bool msw__quantiser_from(msw__quantiser *out, uint32_t dtype, uint32_t parameter)
{
    float step;

    memset(out, 0, sizeof *out);
    out->dtype = dtype;
    out->parameter = parameter;
    switch (dtype) {
    case MSW_DTYPE_F32:
        out->key_bits = MSW__KEY_BITS_F32;
        return parameter == 0;
    case MSW_DTYPE_F16:
        out->key_bits = MSW__KEY_BITS_F16;
        return parameter == 0;
    case MSW_DTYPE_UNIFORM:
        msw__float_set(&step, parameter);
        out->key_bits = MSW__KEY_BITS_UNIFORM;
        out->step = (double)step;
        return isnormal(step) && step > 0;
    case MSW_DTYPE_LOG:
        if (parameter > MSW__MOST_LOG_BITS)
            return false;
        out->shift = MSW__MANTISSA_BITS - parameter;
        out->key_bits = MSW__KEY_BITS_F32 - out->shift;
        return true;
    default:
        return false;
    }
}

uint32_t msw__step_parameter(double step)
{
    const float stored = (float)step;

    return msw__float_bits(&stored);
}

double msw__step_for(float largest, uint32_t levels)
{
    const double step = (double)largest / levels;

    if (largest == 0)
        return 1;
    return step < (double)FLT_MIN ? (double)FLT_MIN : step;
}

static msw_status quantise_uniform(uint32_t *key, const msw__quantiser *q, float value)
{
    const double multiple = floor(fabs((double)value) / q->step + 0.5);

    if (multiple >= (double)(1u << MSW__KEY_BITS_UNIFORM))
        return MSW_E_RANGE;
    *key = (uint32_t)multiple;
    return MSW_OK;
}

/* The nearest of the floats that have few bits, but never infinity. */
static uint32_t quantise_log(const msw__quantiser *q, uint32_t bits)
{
    const uint32_t key = (bits + (1u << (q->shift - 1))) >> q->shift;

    return key < INFINITY_BITS >> q->shift ? key : (INFINITY_BITS >> q->shift) - 1;
}

msw_status msw__quantise(uint32_t *key, const msw__quantiser *q, float value)
{
    const uint32_t bits = msw__float_bits(&value) & MAGNITUDE_BITS;

    if (q->dtype == MSW_DTYPE_F32) {
        *key = bits;
        return MSW_OK;
    }
    if (bits >= INFINITY_BITS)
        return MSW_E_NUMERIC;
    if (q->dtype == MSW_DTYPE_UNIFORM)
        return quantise_uniform(key, q, value);
    if (q->dtype == MSW_DTYPE_LOG) {
        *key = quantise_log(q, bits);
        return MSW_OK;
    }
    if (fabsf(value) > MSW__F16_MAX)
        return MSW_E_RANGE;
    *key = msw__f16_from(value) & 0x7fffu;
    return MSW_OK;
}
