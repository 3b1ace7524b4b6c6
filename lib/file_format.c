/* SPDX-License-Identifier: BSD-2-Clause */
#include "file_format.h"

#include "bytes.h"
#include "crc32c.h"

#include <string.h>

/* Where the fields lie. */
enum {
    HEADER_VERSION = 8,
    HEADER_FLAGS = 12,
    HEADER_LENGTH = 16,
    HEADER_SECTIONS = 20,
    HEADER_FILE_LENGTH = 24,
    HEADER_TABLE_CRC = 32,
    HEADER_ZERO = 36,
    HEADER_CRC = 60,

    SECTION_TYPE = 0,
    SECTION_FLAGS = 4,
    SECTION_OFFSET = 8,
    SECTION_LENGTH = 16,
    SECTION_EXPANDED = 24,
    SECTION_CRC = 32,
    SECTION_RESERVED = 36
};

uint32_t msw__section_flags(uint32_t type)
{
    return type == MSW__SECTION_METADATA ? 0 : MSW__SECTION_CRITICAL;
}

void msw__header_encode(uint8_t *out, const msw__header *h)
{
    memset(out, 0, MSW__HEADER_BYTES);
    memcpy(out, MSW__FILE_MAGIC, HEADER_VERSION);
    msw__store32(out + HEADER_VERSION, h->version);
    msw__store32(out + HEADER_FLAGS, h->flags);
    msw__store32(out + HEADER_LENGTH, h->header_length);
    msw__store32(out + HEADER_SECTIONS, h->section_count);
    msw__store64(out + HEADER_FILE_LENGTH, h->file_length);
    msw__store32(out + HEADER_TABLE_CRC, h->table_crc);
    msw__store32(out + HEADER_CRC, msw__crc32c(0, out, HEADER_CRC));
}

msw_status msw__header_decode(msw__header *out, const uint8_t *bytes)
{
    if (memcmp(bytes, MSW__FILE_MAGIC, HEADER_VERSION) != 0)
        return MSW_E_FORMAT;
    if (msw__load32(bytes + HEADER_CRC) != msw__crc32c(0, bytes, HEADER_CRC))
        return MSW_E_CORRUPT;
    out->version = msw__load32(bytes + HEADER_VERSION);
    out->flags = msw__load32(bytes + HEADER_FLAGS);
    out->header_length = msw__load32(bytes + HEADER_LENGTH);
    out->section_count = msw__load32(bytes + HEADER_SECTIONS);
    out->file_length = msw__load64(bytes + HEADER_FILE_LENGTH);
    out->table_crc = msw__load32(bytes + HEADER_TABLE_CRC);
    for (int i = HEADER_ZERO; i < HEADER_CRC; i++)
        if (bytes[i] && out->version <= MSW__FILE_VERSION)
            return MSW_E_FORMAT;
    return MSW_OK;
}

void msw__section_encode(uint8_t *out, const msw__section *s)
{
    msw__store32(out + SECTION_TYPE, s->type);
    msw__store32(out + SECTION_FLAGS, s->flags);
    msw__store64(out + SECTION_OFFSET, s->offset);
    msw__store64(out + SECTION_LENGTH, s->length);
    msw__store64(out + SECTION_EXPANDED, s->expanded);
    msw__store32(out + SECTION_CRC, s->crc);
    msw__store32(out + SECTION_RESERVED, s->reserved);
}

void msw__section_decode(msw__section *out, const uint8_t *bytes)
{
    out->type = msw__load32(bytes + SECTION_TYPE);
    out->flags = msw__load32(bytes + SECTION_FLAGS);
    out->offset = msw__load64(bytes + SECTION_OFFSET);
    out->length = msw__load64(bytes + SECTION_LENGTH);
    out->expanded = msw__load64(bytes + SECTION_EXPANDED);
    out->crc = msw__load32(bytes + SECTION_CRC);
    out->reserved = msw__load32(bytes + SECTION_RESERVED);
}

/* A record: kind, rank, two dtypes, flags, classes (one byte each), the name's length
 * (two), the shape (eight per dimension); for unified weights their kind, reduction and
 * block's sides (one each), groups (four) and payload (eight); for the transport form
 * the payload of a plain tensor (eight) and two parameters (four each); for the packed
 * form two layouts (four each); the name and a zero. */
size_t msw__record_bytes(const msw__record *r)
{
    size_t bytes = 8 * (size_t)r->rank + r->name_length + 1;

    bytes += r->kind == MSW_ENTRY_UNIFIED ? MSW__UNIFIED_RECORD_BYTES
                                          : MSW__TENSOR_RECORD_BYTES;
    if (r->flags & MSW__RECORD_TRANSPORT) {
        bytes += MSW__TRANSPORT_RECORD_BYTES;
        if (r->kind != MSW_ENTRY_UNIFIED)
            bytes += MSW__PAYLOAD_RECORD_BYTES;
    }
    if (r->flags & MSW__RECORD_PACKED)
        bytes += MSW__PACKED_RECORD_BYTES;
    return bytes;
}

/* Other plain tensors have as many bytes as their shape says. */
static bool has_payload(const msw__record *r)
{
    return r->kind == MSW_ENTRY_UNIFIED || r->flags & MSW__RECORD_TRANSPORT;
}

void msw__record_encode(uint8_t *out, const msw__record *r, const char *name)
{
    out[0] = (uint8_t)r->kind;
    out[1] = (uint8_t)r->rank;
    out[2] = (uint8_t)r->magnitudes;
    out[3] = (uint8_t)r->free_weights;
    out[4] = (uint8_t)r->flags;
    out[5] = (uint8_t)r->classes;
    msw__store16(out + 6, (uint16_t)r->name_length);
    out += 8;
    for (uint32_t i = 0; i < r->rank; i++, out += 8)
        msw__store64(out, r->shape[i]);
    if (r->kind == MSW_ENTRY_UNIFIED) {
        out[0] = (uint8_t)r->weights;
        out[1] = (uint8_t)r->reduction;
        out[2] = (uint8_t)r->block_rows;
        out[3] = (uint8_t)r->block_columns;
        msw__store32(out + 4, r->groups);
        out += 8;
    }
    if (has_payload(r)) {
        msw__store64(out, r->payload);
        out += 8;
    }
    if (r->flags & MSW__RECORD_TRANSPORT) {
        msw__store32(out, r->magnitude_parameter);
        msw__store32(out + 4, r->free_parameter);
        out += 8;
    }
    for (int i = 0; r->flags & MSW__RECORD_PACKED && i < MSW__LAYOUTS; i++, out += 4)
        msw__store32(out, r->layouts[i]);
    memcpy(out, name, r->name_length + 1);
}

bool msw__record_decode(msw__record *out, const char **name, const uint8_t *p,
                        size_t size)
{
    memset(out, 0, sizeof *out);
    if (size < MSW__TENSOR_RECORD_BYTES)
        return false;
    out->kind = p[0];
    out->rank = p[1];
    out->magnitudes = p[2];
    out->free_weights = p[3];
    out->flags = p[4];
    out->classes = p[5];
    out->name_length = msw__load16(p + 6);
    if (out->kind > MSW_ENTRY_TENSOR || out->rank > MSW_MAX_RANK ||
        msw__record_bytes(out) > size)
        return false;
    p += 8;
    for (uint32_t i = 0; i < out->rank; i++, p += 8)
        out->shape[i] = msw__load64(p);
    if (out->kind == MSW_ENTRY_UNIFIED) {
        out->weights = p[0];
        out->reduction = p[1];
        out->block_rows = p[2];
        out->block_columns = p[3];
        out->groups = msw__load32(p + 4);
        p += 8;
    }
    if (has_payload(out)) {
        out->payload = msw__load64(p);
        p += 8;
    }
    if (out->flags & MSW__RECORD_TRANSPORT) {
        out->magnitude_parameter = msw__load32(p);
        out->free_parameter = msw__load32(p + 4);
        p += 8;
    }
    for (int i = 0; out->flags & MSW__RECORD_PACKED && i < MSW__LAYOUTS; i++, p += 4)
        out->layouts[i] = msw__load32(p);
    *name = (const char *)p;
    return true;
}

bool msw__class_code_from(msw__class_code *out, uint32_t set)
{
    memset(out, 0, sizeof *out);
    if (set == 0 || set >> MSW__MAX_CLASSES)
        return false;
    for (uint8_t c = 0; c < MSW__MAX_CLASSES; c++)
        if (set >> c & 1)
            out->class_of[out->count++] = c;
    out->base = out->count == 3 ? 3 : 2;
    out->digits = out->base == 3 ? 5 : 8;
    return true;
}

void msw__class_map_encode(uint8_t *out, const uint8_t *classes, size_t blocks,
                           const msw__class_code *code)
{
    uint8_t digit_of[MSW__MAX_CLASSES] = {0};

    for (uint8_t d = 0; d < code->count; d++)
        digit_of[code->class_of[d]] = d;
    for (size_t first = 0; first < blocks; first += code->digits) {
        unsigned value = 0;
        for (size_t i = code->digits; i-- > 0;)
            value = value * code->base +
                    (first + i < blocks ? digit_of[classes[first + i]] : 0u);
        *out++ = (uint8_t)value;
    }
}

bool msw__class_map_decode(uint8_t *out, const uint8_t *bytes, size_t blocks,
                           const msw__class_code *code)
{
    uint32_t seen = 0;

    for (size_t first = 0; first < blocks; first += code->digits) {
        const size_t left = blocks - first;
        const size_t digits = left < code->digits ? left : code->digits;
        unsigned value = *bytes++;

        for (size_t i = 0; i < digits; i++) {
            const unsigned digit = value % code->base;
            if (digit >= code->count)
                return false;
            value /= code->base;
            seen |= 1u << digit;
            out[first + i] = code->class_of[digit];
        }
        if (value)
            return false;
    }
    return seen == (1u << code->count) - 1;
}
