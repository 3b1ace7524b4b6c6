/* SPDX-License-Identifier: BSD-2-Clause */
#include "container.h"

#include "bytes.h"
#include "crc32c.h"

#include <stdlib.h>

static const uint8_t magic[8] = {0x89, 'M', 'S', 'W', '\r', '\n', 0x1a, '\n'};

size_t container_sections(container_section *out, uint8_t *data, size_t size)
{
    const size_t count = msw__load32(data + 20);

    if (size < CONTAINER_HEADER || count > CONTAINER_MOST)
        return 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *entry = data + CONTAINER_HEADER + i * CONTAINER_ENTRY;
        out[i].type = msw__load32(entry);
        out[i].flags = msw__load32(entry + 4);
        out[i].data = data + msw__load64(entry + 8);
        out[i].size = (size_t)msw__load64(entry + 16);
    }
    return count;
}

container_section container_find(uint8_t *data, size_t size, uint32_t type)
{
    container_section sections[CONTAINER_MOST], none = {0, 0, NULL, 0};
    const size_t count = container_sections(sections, data, size);

    for (size_t i = 0; i < count; i++)
        if (sections[i].type == type)
            return sections[i];
    return none;
}

static size_t aligned(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

uint8_t *container_build(size_t *size, const container_section *sections, size_t count)
{
    size_t end = CONTAINER_HEADER + count * CONTAINER_ENTRY;
    uint8_t *data;

    for (size_t i = 0; i < count; i++)
        end = aligned(end) + sections[i].size;
    data = calloc(end, 1);
    if (!data)
        return NULL;
    *size = end;
    memcpy(data, magic, sizeof magic);
    msw__store32(data + 8, 1);
    msw__store32(data + 16, CONTAINER_HEADER);
    msw__store32(data + 20, (uint32_t)count);
    msw__store64(data + 24, end);
    end = CONTAINER_HEADER + count * CONTAINER_ENTRY;
    for (size_t i = 0; i < count; i++) {
        uint8_t *entry = data + CONTAINER_HEADER + i * CONTAINER_ENTRY;
        end = aligned(end);
        msw__store32(entry, sections[i].type);
        msw__store32(entry + 4, sections[i].flags);
        msw__store64(entry + 8, end);
        msw__store64(entry + 16, sections[i].size);
        msw__store64(entry + 24, sections[i].size);
        memcpy(data + end, sections[i].data, sections[i].size);
        end += sections[i].size;
    }
    container_repair(data, *size);
    return data;
}

/* Entries of the section table that lie within size, 0 when not even the header does. */
static size_t entries(const uint8_t *data, size_t size)
{
    size_t count, room;

    if (size < CONTAINER_HEADER)
        return 0;
    count = msw__load32(data + 20);
    room = (size - CONTAINER_HEADER) / CONTAINER_ENTRY;
    return count < room ? count : room;
}

void container_relayout(uint8_t *data, size_t size)
{
    const size_t count = entries(data, size);
    size_t end = CONTAINER_HEADER + count * CONTAINER_ENTRY;

    if (size < CONTAINER_HEADER)
        return;
    msw__store32(data + 20, (uint32_t)count);
    msw__store64(data + 24, size);
    for (size_t i = 0; i < count; i++) {
        uint8_t *entry = data + CONTAINER_HEADER + i * CONTAINER_ENTRY;
        const size_t from = aligned(end);
        uint64_t length = msw__load64(entry + 16);

        if (from >= size)
            return;
        memset(data + end, 0, from - end);
        if (length > size - from || i + 1 == count)
            length = size - from;
        msw__store64(entry + 8, from);
        msw__store64(entry + 16, length);
        msw__store64(entry + 24, length);
        end = from + (size_t)length;
    }
}

void container_repair(uint8_t *data, size_t size)
{
    const size_t count = entries(data, size);

    if (size < CONTAINER_HEADER)
        return;
    for (size_t i = 0; i < count; i++) {
        uint8_t *entry = data + CONTAINER_HEADER + i * CONTAINER_ENTRY;
        const uint64_t offset = msw__load64(entry + 8), length = msw__load64(entry + 16);
        if (offset <= size && length <= size - offset)
            msw__store32(entry + 32, msw__crc32c(0, data + offset, (size_t)length));
    }
    msw__store32(data + 32,
                 msw__crc32c(0, data + CONTAINER_HEADER, count * CONTAINER_ENTRY));
    msw__store32(data + 60, msw__crc32c(0, data, 60));
}
