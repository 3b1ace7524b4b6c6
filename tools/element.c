/* SPDX-License-Identifier: BSD-2-Clause */
#include "element.h"

#include <math.h>
#include <string.h>

static const struct {
    char name[8], numpy[4];
    uint8_t size;
} types[] = {
    [ELEMENT_BOOL] = {"BOOL", "b1", 1},
    [ELEMENT_U8] = {"U8", "u1", 1},
    [ELEMENT_I8] = {"I8", "i1", 1},
    [ELEMENT_F8_E5M2] = {"F8_E5M2", "", 1},
    [ELEMENT_F8_E4M3] = {"F8_E4M3", "", 1},
    [ELEMENT_I16] = {"I16", "i2", 2},
    [ELEMENT_U16] = {"U16", "u2", 2},
    [ELEMENT_F16] = {"F16", "f2", 2},
    [ELEMENT_BF16] = {"BF16", "", 2},
    [ELEMENT_I32] = {"I32", "i4", 4},
    [ELEMENT_U32] = {"U32", "u4", 4},
    [ELEMENT_F32] = {"F32", "f4", 4},
    [ELEMENT_F64] = {"F64", "f8", 8},
    [ELEMENT_I64] = {"I64", "i8", 8},
    [ELEMENT_U64] = {"U64", "u8", 8},
};
enum { TYPES = sizeof types / sizeof types[0] };

size_t element_size(enum element type)
{
    return types[type].size;
}

const char *element_name(enum element type)
{
    return types[type].name;
}

const char *element_numpy(enum element type)
{
    return types[type].numpy[0] ? types[type].numpy : NULL;
}

bool element_from_name(enum element *out, const char *name)
{
    for (int i = 0; i < TYPES; i++)
        if (strcmp(types[i].name, name) == 0) {
            *out = (enum element)i;
            return true;
        }
    return false;
}

bool element_from_numpy(enum element *out, const char *code)
{
    for (int i = 0; i < TYPES; i++)
        if (types[i].numpy[0] && strcmp(types[i].numpy, code) == 0) {
            *out = (enum element)i;
            return true;
        }
    return false;
}

bool element_is_real(enum element type)
{
    return type == ELEMENT_F16 || type == ELEMENT_BF16 || type == ELEMENT_F32 ||
           type == ELEMENT_F64;
}

static uint64_t load(const uint8_t *bytes, size_t size)
{
    uint64_t value = 0;

    for (size_t i = size; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

static void store(uint8_t *bytes, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
}

static float float_of_bits(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of_float(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of_half(uint32_t half)
{
    const uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31;
    const uint32_t mantissa = half & 0x3ffu;

    if (exponent == 31)
        return float_of_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) {
        const float value = ldexpf((float)mantissa, -24);
        return sign ? -value : value;
    }
    return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

static uint32_t half_of_float(float value)
{
    const uint32_t bits = bits_of_float(value), sign = bits >> 16 & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;

    if (magnitude > 0x7f800000u) /* NaN */
        return sign | 0x7e00u | (magnitude >> 13 & 0x3ffu);
    if (magnitude >= 0x477ff000u) /* rounds beyond 65504 */
        return sign | 0x7c00u;
    if (magnitude < 0x38800000u) /* below 2^-14: a multiple of 2^-24 */
        return sign | (uint32_t)nearbyintf(ldexpf(float_of_bits(magnitude), 24));
    return sign | ((magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13);
}

/* False when it does not fit. */
static bool float_of_double(float *out, uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    *out = (float)value;
    return isfinite(*out) || !isfinite(value);
}

bool element_to_float(float *out, const uint8_t *bytes, enum element type, size_t count)
{
    const size_t size = element_size(type);

    for (size_t i = 0; i < count; i++) {
        const uint64_t bits = load(bytes + i * size, size);

        if (type == ELEMENT_F64) {
            if (!float_of_double(&out[i], bits))
                return false;
        } else if (type == ELEMENT_F16) {
            out[i] = float_of_half((uint32_t)bits);
        } else {
            out[i] = float_of_bits((uint32_t)bits << (type == ELEMENT_BF16 ? 16 : 0));
        }
    }
    return true;
}

void element_from_float(uint8_t *out, const float *values, enum element type, size_t count)
{
    const size_t size = element_size(type);

    for (size_t i = 0; i < count; i++)
        store(out + i * size, type == ELEMENT_F16 ? half_of_float(values[i]) :
                                                    bits_of_float(values[i]), size);
}

void element_swap(uint8_t *bytes, enum element type, size_t count)
{
    const size_t size = element_size(type);

    for (; count-- > 0; bytes += size)
        for (size_t i = 0; i < size / 2; i++) {
            const uint8_t byte = bytes[i];
            bytes[i] = bytes[size - 1 - i];
            bytes[size - 1 - i] = byte;
        }
}
