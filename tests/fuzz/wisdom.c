/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes as exported wisdom: as they are, or their entries in an export of this machine whose
 * count and checksum fit, which no fuzzer would find. A status, and then the handle is as it
 * was, or wisdom that comes back from its own export. */
#include "bytes.h"
#include "crc32c.h"
#include "fuzz.h"
#include "wisdom.h"

#include <stdlib.h>
#include <string.h>

/* Of what msw_wisdom_export() writes; tests/test_wisdom.c has the whole layout. */
enum { MEMORY = 16 << 20, CRC_SIZE = 4, COUNT_SIZE = 8, WHOLE = 1 };

typedef struct exported {
    uint8_t *data;
    size_t size;
} exported;

static void require(int condition)
{
    if (!condition)
        abort();
}

static exported export(const msw_wisdom *w)
{
    exported e = {NULL, 0};

    require(msw_wisdom_export(w, NULL, 0, &e.size) == MSW_OK);
    e.data = malloc(e.size);
    require(e.data && msw_wisdom_export(w, e.data, e.size, &e.size) == MSW_OK);
    return e;
}

static int same(exported a, exported b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* The entries behind a header of this machine's. */
static exported framed(exported header, const uint8_t *entries, size_t size,
                       size_t entry_size)
{
    const size_t head = header.size - CRC_SIZE;
    exported e = {malloc(header.size + size), header.size + size};

    require(e.data != NULL);
    memcpy(e.data, header.data, head);
    msw__store64(e.data + head - COUNT_SIZE, size / entry_size);
    if (size)
        memcpy(e.data + head, entries, size);
    msw__store32(e.data + head + size, msw__crc32c(0, e.data, head + size));
    return e;
}

/* What came from bytes goes out and comes back. */
static void check_taken(msw_context *ctx, const msw_wisdom *w)
{
    exported once = export(w), twice;
    msw_wisdom *again;

    require(msw_wisdom_new(&again, ctx) == MSW_OK);
    require(msw_wisdom_import(again, once.data, once.size) == MSW_OK);
    require(msw_wisdom_count(again) == msw_wisdom_count(w));
    twice = export(again);
    require(same(once, twice));
    msw_wisdom_free(again);
    free(once.data);
    free(twice.data);
}

/* One for all inputs: making one asks the processor what it can, which takes long where
 * that is emulated. */
static msw_context *shared_context(void)
{
    static msw_context *ctx;
    msw_context_options o;

    msw_context_options_init(&o);
    o.memory_limit = MEMORY;
    require(ctx || msw_context_new(&ctx, &o) == MSW_OK);
    return ctx;
}

/* Bytes of an entry: the difference of an export with one to one with none. */
static size_t entry_bytes(void)
{
    const size_t key = 5 * sizeof(uint64_t) + 2 * sizeof(uint32_t);

    return key + MSW__GEMM_KINDS * sizeof(uint64_t);
}

/* Twice: into a handle that has nothing, and into one that has it already. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    msw_context *ctx = shared_context();
    const uint64_t before = msw_context_memory(ctx);
    exported empty, bytes, was, is;
    msw_wisdom *w;

    if (size == 0)
        return 0;
    require(msw_wisdom_new(&w, ctx) == MSW_OK);
    empty = export(w);
    if (data[0] & WHOLE) {
        bytes.size = size - 1;
        bytes.data = malloc(size);
        require(bytes.data != NULL);
        memcpy(bytes.data, data + 1, bytes.size);
    } else {
        bytes = framed(empty, data + 1, size - 1, entry_bytes());
    }
    for (int i = 0; i < 2; i++) {
        was = export(w);
        if (msw_wisdom_import(w, bytes.data, bytes.size) == MSW_OK)
            check_taken(ctx, w);
        is = export(w);
        require(same(was, is) || (i == 0 && msw_wisdom_count(w) > 0));
        free(was.data);
        free(is.data);
    }
    free(bytes.data);
    free(empty.data);
    msw_wisdom_free(w);
    require(msw_context_memory(ctx) == before);
    return 0;
}
