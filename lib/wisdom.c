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
    msw__wisdom_entry *entries; /* in the order of their keys */
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

static int compare(const msw__wisdom_key *a, const msw__wisdom_key *b)
{
    const uint64_t x[] = {a->rows, a->columns, a->n, a->pruned, a->unified, a->block_rows,
                          a->block_columns};
    const uint64_t y[] = {b->rows, b->columns, b->n, b->pruned, b->unified, b->block_rows,
                          b->block_columns};

    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

/* Where the key is, or else would be. */
static size_t place(const msw_wisdom *w, const msw__wisdom_key *key)
{
    size_t begin = 0, end = w->count;

    while (begin < end) {
        const size_t middle = begin + (end - begin) / 2;

        if (compare(&w->entries[middle].key, key) < 0)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

static bool is_at(const msw_wisdom *w, size_t i, const msw__wisdom_key *key)
{
    return i < w->count && compare(&w->entries[i].key, key) == 0;
}

const msw__wisdom_entry *msw__wisdom_find(const msw_wisdom *w, const msw__wisdom_key *key)
{
    const size_t i = place(w, key);

    return is_at(w, i, key) ? &w->entries[i] : NULL;
}

static msw_status alloc_entries(msw__wisdom_entry **out, msw_context *ctx, size_t count)
{
    void *memory;
    const msw_status status = msw__alloc(&memory, ctx, count, sizeof **out);

    *out = memory;
    return status;
}

/* Takes the place of the entries that there were. */
static void replace(msw_wisdom *w, msw__wisdom_entry *entries, size_t capacity)
{
    msw__free(w->ctx, w->entries, w->capacity, sizeof *w->entries);
    w->entries = entries;
    w->capacity = capacity;
}

/* Room for another one. */
static msw_status reserve(msw_wisdom *w)
{
    const size_t capacity = w->capacity ? 2 * w->capacity : FIRST_CAPACITY;
    msw__wisdom_entry *entries;
    msw_status status;

    if (w->count < w->capacity)
        return MSW_OK;
    status = alloc_entries(&entries, w->ctx, capacity);
    if (status)
        return status;
    if (w->count)
        memcpy(entries, w->entries, w->count * sizeof *entries);
    replace(w, entries, capacity);
    return MSW_OK;
}

msw_status msw__wisdom_add(msw_wisdom *w, const msw__wisdom_entry *entry)
{
    const size_t i = place(w, &entry->key);
    msw_status status;

    if (is_at(w, i, &entry->key)) {
        w->entries[i] = *entry;
        return MSW_OK;
    }
    status = reserve(w);
    if (status)
        return status;
    memmove(&w->entries[i + 1], &w->entries[i], (w->count - i) * sizeof *w->entries);
    w->entries[i] = *entry;
    w->count++;
    return MSW_OK;
}

/* from[0 ... middle - 1] and from[middle ... n - 1], both in order, of equals the former
 * first. */
static void merge(msw__wisdom_entry *to, const msw__wisdom_entry *from, size_t middle,
                  size_t n)
{
    size_t i = 0, j = middle;

    while (i < middle && j < n)
        *to++ = compare(&from[j].key, &from[i].key) < 0 ? from[j++] : from[i++];
    while (i < middle)
        *to++ = from[i++];
    while (j < n)
        *to++ = from[j++];
}

/* Stable; the result is in one of the two arrays. Files choose the keys: no hashing, no
 * quicksort. */
static msw__wisdom_entry *sort(msw__wisdom_entry *entries, msw__wisdom_entry *spare,
                               size_t n)
{
    for (size_t width = 1; width < n; width *= 2) {
        msw__wisdom_entry *const sorted = spare;

        for (size_t i = 0; i < n;) {
            const size_t left = n - i, end = left / 2 < width ? left : 2 * width;

            merge(spare + i, entries + i, width < end ? width : end, end);
            i += end;
        }
        spare = entries;
        entries = sorted;
    }
    return entries;
}

/* Of entries in order with equal keys the last one stays; how many are left. */
static size_t drop_equal(msw__wisdom_entry *entries, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        kept += kept == 0 || compare(&entries[kept - 1].key, &entries[i].key) != 0;
        entries[kept - 1] = entries[i];
    }
    return kept;
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

/* @p from: entries as exported, checked. */
static msw_status add_all(msw_wisdom *w, const uint8_t *from, size_t count)
{
    msw__wisdom_entry *entries, *spare, *sorted;
    size_t most;
    msw_status status;

    if (!msw__size_add(&most, w->count, count))
        return MSW_E_NOMEM;
    status = alloc_entries(&entries, w->ctx, most);
    if (status)
        return status;
    status = alloc_entries(&spare, w->ctx, most);
    if (status) {
        msw__free(w->ctx, entries, most, sizeof *entries);
        return status;
    }
    if (w->count)
        memcpy(entries, w->entries, w->count * sizeof *entries);
    for (size_t i = 0; i < count; i++)
        entries[w->count + i] = read_entry(from + i * ENTRY_SIZE);
    sorted = sort(entries, spare, most);
    w->count = drop_equal(sorted, most);
    msw__free(w->ctx, sorted == entries ? spare : entries, most, sizeof *entries);
    replace(w, sorted, most);
    return MSW_OK;
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
    return count ? add_all(wisdom, from + HEADER_SIZE, count) : MSW_OK;
}
