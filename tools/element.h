/* SPDX-License-Identifier: BSD-2-Clause */
/* Types of the numbers in foreign files. Their bytes are little-endian here, always. */
#ifndef MSW_TOOLS_ELEMENT_H
#define MSW_TOOLS_ELEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum element {
    ELEMENT_BOOL, ELEMENT_U8, ELEMENT_I8, ELEMENT_F8_E5M2, ELEMENT_F8_E4M3,
    ELEMENT_I16, ELEMENT_U16, ELEMENT_F16, ELEMENT_BF16,
    ELEMENT_I32, ELEMENT_U32, ELEMENT_F32, ELEMENT_F64, ELEMENT_I64, ELEMENT_U64
};

size_t element_size(enum element type);
/* As safetensors has it. */
const char *element_name(enum element type);
bool element_from_name(enum element *out, const char *name);
/* Kind and size as NumPy has them, "f4"; NULL when it has no such type. */
const char *element_numpy(enum element type);
bool element_from_numpy(enum element *out, const char *code);

/* F16, BF16, F32, F64: what becomes a float32 tensor. */
bool element_is_real(enum element type);
/* False: a finite f64 is too large for f32. */
bool element_to_float(float *out, const uint8_t *bytes, enum element type, size_t count);
/* To F32 or F16 (rounded to nearest, ties to even). */
void element_from_float(uint8_t *out, const float *values, enum element type, size_t count);
/* Reverse the bytes of each number. */
void element_swap(uint8_t *bytes, enum element type, size_t count);

#endif /* MSW_TOOLS_ELEMENT_H */
