/* SPDX-License-Identifier: BSD-2-Clause */
#include "wisdom.h"
#include "blas.h"
#include "bytes.h"
#include "crc32c.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The exported form, little-endian: magic, version, machine, number of entries, the
 * entries (msw__wisdom_key and the times, field by field), CRC-32C of all before it. */
enum {
    MACHINE_SIZE = 192,
    KEY_SIZE = 5 * 8 + 2 * 4, ENTRY_SIZE = KEY_SIZE + 8 * MSW__GEMM_KINDS,
    AT_VERSION = 8, AT_MACHINE = 12, AT_COUNT = AT_MACHINE + MACHINE_SIZE,
    HEADER_SIZE = AT_COUNT + 8, CRC_SIZE = 4,
    FORMAT_VERSION = 1, FIRST_CAPACITY = 16
};
static const char magic[AT_VERSION + 1] = "\x89MSWwis\n";

struct msw_wisdom {
    msw_context *ctx;
    char machine[MACHINE_SIZE]; /* what the times depend on; unused bytes 0 */
    msw__wisdom_entry *entries;
    size_t count, capacity;
};

static void describe_machine(char out[MACHINE_SIZE], const msw_context *ctx)
{
    char cpu[MSW__CPU_MODEL_SIZE];

    memset(out, 0, MACHINE_SIZE);
    msw__cpu_model(cpu);
    snprintf(out, MACHINE_SIZE, "%s|%s|%s%u|%s|%x", cpu, msw__cpu_name(ctx->cpu),
             ctx->options.parallel_for ? "pool" : "threads ", (unsigned)ctx->threads,
             msw_context_blas(ctx), (unsigned)msw_version());
}

msw_status msw_wisdom_new(msw_wisdom **out, msw_context *ctx)
{
    void *memory;
    msw_status status;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!ctx)
        return MSW_E_INVAL;
    status = msw__calloc(&memory, ctx, 1, sizeof **out);
    if (status)
        return status;
    *out = memory;
    (*out)->ctx = msw_context_ref(ctx);
    describe_machine((*out)->machine, ctx);
    return MSW_OK;
}

void msw_wisdom_free(msw_wisdom *wisdom)
{
    msw_context *ctx;

    if (!wisdom)
        return;
    ctx = wisdom->ctx;
    msw__free(ctx, wisdom->entries, wisdom->capacity, sizeof *wisdom->entries);
    msw__free(ctx, wisdom, 1, sizeof *wisdom);
    msw_context_free(ctx);
}

size_t msw_wisdom_count(const msw_wisdom *wisdom)
{
    return wisdom ? wisdom->count : 0;
}

/* Entries */

static bool same(const msw__wisdom_key *a, const msw__wisdom_key *b)
{
    return a->rows == b->rows && a->columns == b->columns && a->n == b->n &&
           a->pruned == b->pruned && a->unified == b->unified &&
           a->block_rows == b->block_rows && a->block_columns == b->block_columns;
}

const msw__wisdom_entry *msw__wisdom_find(const msw_wisdom *w, const msw__wisdom_key *key)
{
    for (size_t i = 0; i < w->count; i++)
        if (same(&w->entries[i].key, key))
            return &w->entries[i];
    return NULL;
}

/* Room for @p more entries. */
static msw_status reserve(msw_wisdom *w, size_t more)
{
    size_t capacity = w->capacity ? w->capacity : FIRST_CAPACITY, need;
    void *memory;
    msw_status status;

    if (!msw__size_add(&need, w->count, more))
        return MSW_E_NOMEM;
    if (need <= w->capacity)
        return MSW_OK;
    while (capacity < need)
        capacity = capacity > need / 2 ? need : 2 * capacity;
    status = msw__alloc(&memory, w->ctx, capacity, sizeof *w->entries);
    if (status)
        return status;
    if (w->count)
        memcpy(memory, w->entries, w->count * sizeof *w->entries);
    msw__free(w->ctx, w->entries, w->capacity, sizeof *w->entries);
    w->entries = memory;
    w->capacity = capacity;
    return MSW_OK;
}

/* There is room. */
static void put(msw_wisdom *w, const msw__wisdom_entry *entry)
{
    size_t i = 0;

    while (i < w->count && !same(&w->entries[i].key, &entry->key))
        i++;
    w->entries[i] = *entry;
    w->count += i == w->count;
}

msw_status msw__wisdom_add(msw_wisdom *w, const msw__wisdom_entry *entry)
{
    const msw_status status = reserve(w, 1);

    if (!status)
        put(w, entry);
    return status;
}

/* The exported form */

static void write_entry(uint8_t *to, const msw__wisdom_entry *e)
{
    const uint64_t fields[] = {e->key.rows, e->key.columns, e->key.n, e->key.pruned,
                               e->key.unified};

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++, to += 8)
        msw__store64(to, fields[i]);
    msw__store32(to, e->key.block_rows);
    msw__store32(to + 4, e->key.block_columns);
    to += 8;
    for (int i = 0; i < MSW__GEMM_KINDS; i++, to += 8)
        msw__store64(to, msw__double_bits(e->seconds[i]));
}

static msw__wisdom_entry read_entry(const uint8_t *from)
{
    msw__wisdom_entry e = {.key = {
        msw__load64(from), msw__load64(from + 8), msw__load64(from + 16),
        msw__load64(from + 24), msw__load64(from + 32), msw__load32(from + 40),
        msw__load32(from + 44)}};

    from += KEY_SIZE;
    for (int i = 0; i < MSW__GEMM_KINDS; i++, from += 8)
        e.seconds[i] = msw__double_of(msw__load64(from));
    return e;
}

static bool sound(const msw__wisdom_entry *e)
{
    bool any = false;

    for (int i = 0; i < MSW__GEMM_KINDS; i++) {
        if (!(e->seconds[i] >= 0) || !isfinite(e->seconds[i]))
            return false;
        any = any || e->seconds[i] > 0;
    }
    return any && e->key.rows && e->key.columns && e->key.n && e->key.block_rows &&
           e->key.block_columns;
}

msw_status msw_wisdom_export(const msw_wisdom *wisdom, void *data, size_t capacity,
                             size_t *size)
{
    uint8_t *to = data;

    if (!wisdom || !size || (!data && capacity))
        return MSW_E_INVAL;
    *size = HEADER_SIZE + wisdom->count * ENTRY_SIZE + CRC_SIZE;
    if (!data)
        return MSW_OK;
    if (capacity < *size)
        return MSW_E_RANGE;
    memcpy(to, magic, AT_VERSION);
    msw__store32(to + AT_VERSION, FORMAT_VERSION);
    memcpy(to + AT_MACHINE, wisdom->machine, MACHINE_SIZE);
    msw__store64(to + AT_COUNT, wisdom->count);
    for (size_t i = 0; i < wisdom->count; i++)
        write_entry(to + HEADER_SIZE + i * ENTRY_SIZE, &wisdom->entries[i]);
    msw__store32(to + *size - CRC_SIZE, msw__crc32c(0, to, *size - CRC_SIZE));
    return MSW_OK;
}

static msw_status check(const msw_wisdom *w, const uint8_t *data, size_t size)
{
    uint64_t count;

    if (size < HEADER_SIZE + CRC_SIZE || memcmp(data, magic, AT_VERSION) != 0)
        return MSW_E_FORMAT;
    if (msw__load32(data + AT_VERSION) != FORMAT_VERSION)
        return MSW_E_UNSUPPORTED;
    if (msw__crc32c(0, data, size - CRC_SIZE) != msw__load32(data + size - CRC_SIZE))
        return MSW_E_CORRUPT;
    count = msw__load64(data + AT_COUNT);
    if (count != (size - HEADER_SIZE - CRC_SIZE) / ENTRY_SIZE ||
        (size - HEADER_SIZE - CRC_SIZE) % ENTRY_SIZE)
        return MSW_E_FORMAT;
    for (size_t i = 0; i < count; i++) {
        const msw__wisdom_entry e = read_entry(data + HEADER_SIZE + i * ENTRY_SIZE);
        if (!sound(&e))
            return MSW_E_FORMAT;
    }
    return memcmp(data + AT_MACHINE, w->machine, MACHINE_SIZE) ? MSW_E_UNSUPPORTED : MSW_OK;
}

msw_status msw_wisdom_import(msw_wisdom *wisdom, const void *data, size_t size)
{
    const uint8_t *from = data;
    size_t count;
    msw_status status;

    if (!wisdom || !data)
        return MSW_E_INVAL;
    status = check(wisdom, from, size);
    if (status)
        return status;
    count = (size - HEADER_SIZE - CRC_SIZE) / ENTRY_SIZE;
    status = reserve(wisdom, count);
    for (size_t i = 0; !status && i < count; i++) {
        const msw__wisdom_entry e = read_entry(from + HEADER_SIZE + i * ENTRY_SIZE);
        put(wisdom, &e);
    }
    return status;
}
