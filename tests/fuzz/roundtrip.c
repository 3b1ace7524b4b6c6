/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes as a recipe for a model, which is written, read, compared and written again. */
#include "fuzz.h"
#include "internal.h"
#include "sample_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LAYERS = 6, MEMORY = 256 << 20 };

typedef struct recipe {
    const uint8_t *at, *end;
} recipe;

static void require(int condition)
{
    if (!condition)
        abort();
}

static uint32_t next(recipe *r, uint32_t limit)
{
    return r->at < r->end ? *r->at++ % limit : 0;
}

/* In the transport form, any floats; false: plain after all. Values are below 1, steps
 * are not too many. */
static int next_store(recipe *r, msw_store_options *o)
{
    static const double steps[] = {0.5, 0.01, 1e-3, 4e-5};

    msw_store_options_init(o);
    if (next(r, 3) == 0)
        return 0;
    o->encoding = MSW_ENCODING_TRANSPORT;
    o->magnitudes = next(r, 4);
    o->free_weights = next(r, 4);
    if (o->magnitudes == MSW_DTYPE_LOG)
        o->magnitude_bits = next(r, 8);
    if (o->magnitudes == MSW_DTYPE_UNIFORM)
        o->magnitude_bits = 2 + next(r, 14);
    if (o->free_weights == MSW_DTYPE_LOG)
        o->free_bits = next(r, 8);
    if (o->free_weights == MSW_DTYPE_UNIFORM)
        o->free_step = steps[next(r, 4)] * 1.0001;
    return 1;
}

static sample_layer next_layer(recipe *r, char *name, msw_store_options *store)
{
    sample_layer l;

    memset(&l, 0, sizeof l);
    l.name = name;
    l.weights = next(r, 5);
    l.groups = 1;
    if (l.weights == 4) {
        l.weights = SAMPLE_PLAIN;
        l.rank = 1 + next(r, 4);
    } else {
        l.rank = l.weights < MSW_WEIGHTS_OIHW ? 2 : 4;
        l.reduction = next(r, 2);
        l.block_rows = 1 + next(r, 9);
        l.block_columns = 1 + next(r, 64);
        l.groups = 1 + next(r, 3);
        l.permuted = next(r, 4);
        l.prune = next(r, 11) / 10.0;
        l.unify = (1 - l.prune) * next(r, 11) / 10.0;
        l.magnitudes = next(r, 2);
    }
    l.free_weights = next(r, 2);
    if (next_store(r, store)) {
        l.store = store;
        l.magnitudes = store->magnitudes;
        l.free_weights = store->free_weights;
        if (l.weights == SAMPLE_PLAIN) {
            store->magnitudes = store->magnitude_bits = 0;
            store->magnitude_step = 0;
        }
    }
    l.seed = next(r, 256);
    for (uint32_t i = 0; i < l.rank; i++)
        l.shape[i] = 1 + next(r, l.rank == 4 ? 4 : 15);
    if (l.weights == MSW_WEIGHTS_IO)
        l.shape[1] = 1 + l.shape[1] % 5 * l.groups + l.groups - 1;
    else if (l.weights != SAMPLE_PLAIN)
        l.shape[0] = 1 + l.shape[0] % 5 * l.groups + l.groups - 1;
    if (l.weights != SAMPLE_PLAIN)
        l.levels = next(r, MSW_MAX_MERGE_LEVELS + 1);
    return l;
}

static int same(const void *a, const void *b, size_t size)
{
    return size == 0 || memcmp(a, b, size) == 0;
}

/* What is stored as f32 comes back bit for bit, the rest at least of the same size. */
static void compare_unified(const msw_unified *a, const msw_unified *b, const sample_layer *l)
{
    const size_t end = a->plan->block_row_count;

    require(end == b->plan->block_row_count);
    require(same(a->classes, b->classes, a->plan->block_count));
    require(!a->levels == !b->levels);
    require(!a->levels || same(a->levels, b->levels, a->plan->block_count));
    require(same(a->magnitude_start, b->magnitude_start, (end + 1) * sizeof(size_t)));
    require(same(a->free_start, b->free_start, (end + 1) * sizeof(size_t)));
    require(same(a->signs, b->signs, (a->sign_start[end] + 7) / 8));
    if (l->magnitudes == MSW_DTYPE_F32)
        require(same(a->magnitudes, b->magnitudes, a->magnitude_start[end] * sizeof(float)));
    if (l->free_weights == MSW_DTYPE_F32)
        require(same(a->free_weights, b->free_weights, a->free_start[end] * sizeof(float)));
}

static void compare(msw_context *ctx, msw_reader *r, const sample_layer *l)
{
    if (l->weights == SAMPLE_PLAIN) {
        msw_tensor *a = sample_tensor(ctx, l), *b = NULL;

        require(a && msw_reader_tensor(&b, r, l->name) == MSW_OK);
        require(msw__tensor_same_shape(a, b));
        if (l->free_weights == MSW_DTYPE_F32)
            require(same(a->data, b->data, a->count * sizeof(float)));
        msw_tensor_free(a);
        msw_tensor_free(b);
    } else {
        msw_unified *a = sample_unified(ctx, l), *b = NULL;

        require(a && msw_reader_unified(&b, r, l->name) == MSW_OK);
        compare_unified(a, b, l);
        msw_unified_free(a);
        msw_unified_free(b);
    }
}

static uint8_t *written(msw_writer *w, size_t *size)
{
    uint8_t *data;

    *size = (size_t)msw_writer_bytes(w);
    data = malloc(*size);
    require(data && msw_writer_write_buffer(w, data, *size) == MSW_OK);
    return data;
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
    recipe from = {data, data + size};
    sample_layer layers[MOST_LAYERS];
    msw_store_options stores[MOST_LAYERS];
    char names[MOST_LAYERS][8];
    const uint32_t count = next(&from, MOST_LAYERS + 1);
    size_t bytes, again_bytes;
    uint8_t *file, *again;
    msw_writer *w, *copy;
    msw_context *ctx = shared_context();
    const uint64_t before = msw_context_memory(ctx);
    msw_reader *r;

    require(msw_writer_new(&w, ctx) == MSW_OK);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "%u", (unsigned)i);
        layers[i] = next_layer(&from, names[i], &stores[i]);
        require(sample_add(w, ctx, &layers[i]) == MSW_OK);
    }
    if (from.at < from.end)
        require(msw_writer_add_metadata(w, "rest", from.at, (size_t)(from.end - from.at)) ==
                MSW_OK);
    file = written(w, &bytes);
    require(msw_reader_open_buffer(&r, ctx, file, bytes, NULL) == MSW_OK);
    for (uint32_t i = 0; i < count; i++)
        compare(ctx, r, &layers[i]);
    require(msw_writer_new(&copy, ctx) == MSW_OK);
    require(sample_copy(copy, r) == MSW_OK);
    again = written(copy, &again_bytes);
    require(again_bytes == bytes && memcmp(again, file, bytes) == 0);
    msw_reader_free(r);
    msw_writer_free(w);
    msw_writer_free(copy);
    require(msw_context_memory(ctx) == before);
    free(again);
    free(file);
    return 0;
}
