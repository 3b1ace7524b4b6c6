/* SPDX-License-Identifier: BSD-2-Clause */
/* Any bytes as a file: a status, or a model that written again gives the same bytes.
 * Built twice: as it is, and with MSW_FUZZ_REPAIR, where after each mutation layout and
 * checksums are made to fit, which no fuzzer would find. */
#include "bytes.h"
#include "container.h"
#include "file_format.h"
#include "fuzz.h"
#include "sample_model.h"

#include <stdlib.h>
#include <string.h>

enum { MEMORY = 64 << 20 };

static void require(int condition)
{
    if (!condition)
        abort();
}

/* Skipped sections are not written again, and a packed form may be cut in other ways than
 * the writer's. */
static int one_way(const uint8_t *data)
{
    const uint8_t *entry = data + CONTAINER_HEADER;

    for (unsigned i = data[20] + 256u * data[21]; i-- > 0; entry += CONTAINER_ENTRY)
        if (!msw__section_known(msw__load32(entry)) ||
            msw__load32(entry) == MSW__SECTION_PACKED)
            return 0;
    return 1;
}

static void check_rewrite(msw_context *ctx, msw_reader *r, const uint8_t *data, size_t size)
{
    uint8_t *again = malloc(size);
    msw_writer *w;

    require(again != NULL);
    require(msw_writer_new(&w, ctx) == MSW_OK);
    require(sample_copy(w, r) == MSW_OK);
    require(msw_writer_bytes(w) == size);
    require(msw_writer_write_buffer(w, again, size) == MSW_OK);
    require(memcmp(again, data, size) == 0);
    msw_writer_free(w);
    free(again);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    msw_context *ctx = shared_context();
    const uint64_t before = msw_context_memory(ctx);
    msw_reader *r;

    if (msw_reader_open_buffer(&r, ctx, data, size, NULL) == MSW_OK) {
        const msw_status status = sample_load_all(r);

        if (status)
            require(msw_reader_error(r)[0] != 0);
        else if (one_way(data))
            check_rewrite(ctx, r, data, size);
        msw_reader_free(r);
    } else {
        require(r == NULL);
    }
    require(msw_context_memory(ctx) == before);
    return 0;
}

#ifdef MSW_FUZZ_REPAIR
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, capacity);
    if (seed % 8)
        container_relayout(data, size);
    container_repair(data, size);
    return size;
}
#endif
