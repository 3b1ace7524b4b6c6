/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes as the payload of a tensor in the transport form, in a file that is otherwise
 * right: a status, or a model that written again gives the same bytes. Without this, a
 * fuzzer would spend its time on the container around it. */
#include "bytes.h"
#include "container.h"
#include "file_format.h"
#include "fuzz.h"
#include "sample_model.h"

#include <stdlib.h>
#include <string.h>

/* What comes before the payload: kind and levels of merged blocks, the two floats and their parameters, rows,
 * columns, rows and columns of a block, groups, classes. */
enum { RECIPE = 11, MEMORY = 256 << 20, ONE = 127 << 23, EXPONENT = 1 << 23 };

static void require(int condition)
{
    if (!condition)
        abort();
}

/* A byte as parameter of a kind of floats: steps are powers of two. */
static uint32_t parameter(uint32_t dtype, uint8_t byte)
{
    if (dtype == MSW_DTYPE_UNIFORM)
        return (uint32_t)ONE - byte % 32u * (uint32_t)EXPONENT;
    return dtype == MSW_DTYPE_LOG ? byte % 8u : 0;
}

static msw__record record_from(const uint8_t *recipe, size_t payload)
{
    msw__record r = {0};

    r.kind = recipe[0] & 1;
    r.rank = 2;
    r.flags = MSW__RECORD_TRANSPORT;
    r.name_length = 1;
    r.payload = payload;
    r.shape[0] = 1 + recipe[5] % 64u;
    r.shape[1] = 1 + recipe[6];
    r.free_weights = recipe[2] & 3;
    r.free_parameter = parameter(r.free_weights, recipe[4]);
    if (r.kind == MSW_ENTRY_TENSOR)
        return r;
    r.magnitudes = recipe[1] & 3;
    r.magnitude_parameter = parameter(r.magnitudes, recipe[3]);
    r.block_rows = 1 + recipe[7] % 64u;
    r.block_columns = 1 + recipe[8] % 64u;
    r.groups = 1 + recipe[9] % 3u;
    r.shape[0] *= r.groups;
    r.classes = 1 + recipe[10] % 7u;
    r.flags |= (recipe[0] >> 1) % (MSW_MAX_MERGE_LEVELS + 1) << MSW__RECORD_LEVELS_SHIFT;
    return r;
}

/* The file, from malloc(). */
static uint8_t *file_from(size_t *size, const uint8_t *data, size_t data_size)
{
    uint8_t index[128], *payload = malloc(data_size - RECIPE + 1), *file;
    const msw__record record = record_from(data, data_size - RECIPE);
    uint8_t level = (uint8_t)msw__record_levels(&record);
    container_section sections[3] = {
        {MSW__SECTION_INDEX, MSW__SECTION_CRITICAL, index, 0},
        {MSW__SECTION_MERGE_MAP, MSW__SECTION_CRITICAL, &level, 1},
        {MSW__SECTION_TRANSPORT, MSW__SECTION_CRITICAL, payload, data_size - RECIPE},
    };

    require(payload != NULL);
    memcpy(payload, data + RECIPE, data_size - RECIPE);
    msw__store32(index, 1);
    msw__record_encode(index + MSW__COUNT_BYTES, &record, "t");
    sections[0].size = MSW__COUNT_BYTES + msw__record_bytes(&record);
    if (!level)
        sections[1] = sections[2];
    file = container_build(size, sections, level ? 3 : 2);
    free(payload);
    require(file != NULL);
    return file;
}

static void check_rewrite(msw_context *ctx, msw_reader *r, const uint8_t *file, size_t size)
{
    uint8_t *again = malloc(size);
    msw_writer *w;

    require(again != NULL);
    require(msw_writer_new(&w, ctx) == MSW_OK);
    require(sample_copy(w, r) == MSW_OK);
    require(msw_writer_bytes(w) == size);
    require(msw_writer_write_buffer(w, again, size) == MSW_OK);
    require(memcmp(again, file, size) == 0);
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
    size_t file_size;
    uint8_t *file;
    msw_reader *r;

    if (size <= RECIPE)
        return 0;
    file = file_from(&file_size, data, size);
    if (msw_reader_open_buffer(&r, ctx, file, file_size, NULL) == MSW_OK) {
        if (sample_load_all(r) == MSW_OK)
            check_rewrite(ctx, r, file, file_size);
        else
            require(msw_reader_error(r)[0] != 0);
        msw_reader_free(r);
    }
    require(msw_context_memory(ctx) == before);
    free(file);
    return 0;
}
