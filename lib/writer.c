/* SPDX-License-Identifier: BSD-2-Clause */
/* The writer's life and what it collects; writer_encode.c makes payloads, writer_save.c
 * writes it all. */
#include "writer.h"

#include "bytes.h"
#include "quantiser.h"
#include "transport_encode.h"

#include <float.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    OLDEST_OPTIONS = offsetof(msw_store_options, expected_n),
    OLDEST_INFO = sizeof(msw_store_info),
    LEAST_CAPACITY = 8
};

msw_status msw__writer_fail(msw_writer *w, msw_status status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(w->error, sizeof w->error, format, args);
    va_end(args);
    return status;
}

void msw__bytes_free(msw_context *ctx, msw__bytes *b)
{
    msw__free(ctx, b->data, b->size, 1);
    b->data = NULL;
    b->size = 0;
}

msw_status msw__bytes_alloc(msw__bytes *out, msw_context *ctx, size_t size)
{
    void *memory;
    const msw_status status = msw__alloc(&memory, ctx, size, 1);

    out->data = memory;
    out->size = memory ? size : 0;
    return status;
}

static void item_free(msw_context *ctx, msw__item *item)
{
    msw__bytes_free(ctx, &item->record);
    msw__bytes_free(ctx, &item->permutations);
    msw__bytes_free(ctx, &item->merge_map);
    msw__bytes_free(ctx, &item->payload);
}

void msw__writer_truncate(msw_writer *w, size_t tensors, size_t keys)
{
    for (size_t i = tensors; i < w->names.count; i++)
        item_free(w->ctx, &w->items[i]);
    for (size_t i = keys; i < w->keys.count; i++)
        msw__bytes_free(w->ctx, &w->metadata[i]);
    msw__names_truncate(&w->names, tensors);
    msw__names_truncate(&w->keys, keys);
}

msw_status msw_writer_new(msw_writer **out, msw_context *ctx)
{
    msw_status status;
    msw_writer *w;
    void *memory;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!ctx)
        return MSW_E_INVAL;
    status = msw__calloc(&memory, ctx, 1, sizeof *w);
    if (status)
        return status;
    w = memory;
    w->ctx = msw_context_ref(ctx);
    *out = w;
    return MSW_OK;
}

void msw_writer_free(msw_writer *writer)
{
    msw_context *ctx;

    if (!writer)
        return;
    ctx = writer->ctx;
    msw__writer_truncate(writer, 0, 0);
    msw__free(ctx, writer->items, writer->item_capacity, sizeof *writer->items);
    msw__free(ctx, writer->metadata, writer->metadata_capacity, sizeof *writer->metadata);
    msw__names_free(&writer->names, ctx);
    msw__names_free(&writer->keys, ctx);
    msw__free(ctx, writer, 1, sizeof *writer);
    msw_context_free(ctx);
}

const char *msw_writer_error(const msw_writer *writer)
{
    return writer ? writer->error : "";
}

/* Room for one more element of an array of count. */
static msw_status reserve(void **array, size_t *capacity, msw_context *ctx, size_t count,
                          size_t size)
{
    const size_t wanted = count < LEAST_CAPACITY ? LEAST_CAPACITY : count * 2;
    msw_status status;
    void *memory;

    if (count < *capacity)
        return MSW_OK;
    status = msw__alloc(&memory, ctx, wanted, size);
    if (status)
        return status;
    if (count)
        memcpy(memory, *array, count * size);
    msw__free(ctx, *array, *capacity, size);
    *array = memory;
    *capacity = wanted;
    return MSW_OK;
}

/* A name or key that may be added. */
static msw_status check_name(msw_writer *w, const msw__names *taken, const char *name,
                             const char *what)
{
    size_t at;

    if (!name)
        return msw__writer_fail(w, MSW_E_INVAL, "%s is NULL", what);
    if (!msw__name_valid(name, strlen(name)))
        return msw__writer_fail(w, MSW_E_INVAL,
                                "%s is empty, longer than %u bytes, not UTF-8 or has "
                                "control characters",
                                what, MSW__MAX_NAME);
    if (msw__names_find(&at, taken, name))
        return msw__writer_fail(w, MSW_E_EXISTS, "%s \"%.80s\" is taken", what, name);
    return MSW_OK;
}

/* Take over the item's memory, and free it if that fails. */
static msw_status add_item(msw_writer *w, msw__item *item, const msw__record *record,
                           const char *name)
{
    const size_t size = msw__record_bytes(record);
    void *items = w->items;
    msw_status status;

    item->section = record->flags & MSW__RECORD_TRANSPORT ? MSW__SECTION_TRANSPORT
                    : record->flags & MSW__RECORD_PACKED  ? MSW__SECTION_PACKED
                    : record->kind == MSW_ENTRY_UNIFIED   ? MSW__SECTION_UNIFIED
                                                          : MSW__SECTION_TENSOR;
    status = msw__bytes_alloc(&item->record, w->ctx, size);
    if (!status)
        status = msw__names_reserve(&w->names, w->ctx, 1);
    if (!status)
        status = reserve(&items, &w->item_capacity, w->ctx, w->names.count, sizeof *item);
    w->items = items;
    if (status) {
        item_free(w->ctx, item);
        return msw__writer_fail(w, status, "tensor \"%.80s\": %s", name,
                                msw_status_text(status));
    }
    msw__record_encode(item->record.data, record, name);
    w->items[w->names.count] = *item;
    msw__names_add(&w->names,
                   (const char *)item->record.data + size - record->name_length - 1);
    return MSW_OK;
}

/* Whether floats may be stored so. @p step and @p bits: one of the two for UNIFORM,
 * bits for LOG, none otherwise. */
static bool floats_valid(uint32_t dtype, uint32_t encoding, double step, uint32_t bits)
{
    msw__quantiser q;

    if (dtype > MSW_DTYPE_LOG ||
        (dtype > MSW_DTYPE_F16 && encoding != MSW_ENCODING_TRANSPORT))
        return false;
    if (dtype != MSW_DTYPE_UNIFORM)
        return step == 0 && msw__quantiser_from(&q, dtype, bits);
    if (step == 0)
        return bits >= MSW__LEAST_UNIFORM_BITS && bits <= MSW__MOST_UNIFORM_BITS;
    return bits == 0 && step <= (double)FLT_MAX &&
           msw__quantiser_from(&q, dtype, msw__step_parameter(step));
}

/* Whether floats and what is only for the packed form go together. */
static bool packing_valid(const msw_store_options *o)
{
    const uint32_t levels = MSW_CPU_C | MSW_CPU_AVX2 | MSW_CPU_AVX512;

    if (o->encoding != MSW_ENCODING_PACKED)
        return !o->expected_n && !o->cpu;
    return !(o->cpu & ~levels) && o->magnitudes == MSW_DTYPE_F32 &&
           o->free_weights == MSW_DTYPE_F32;
}

msw_status msw__writer_take_options(msw_writer *w, msw_store_options *o,
                                    const msw_store_options *options)
{
    msw_status status;

    msw_store_options_init(o);
    if (!options)
        return MSW_OK;
    status = msw__take_options(o, sizeof *o, OLDEST_OPTIONS, options);
    if (!status && (o->reserved || o->reserved2))
        status = MSW_E_VERSION;
    if (!status && (o->encoding > MSW_ENCODING_PACKED || !packing_valid(o) ||
                    !floats_valid(o->magnitudes, o->encoding, o->magnitude_step,
                                  o->magnitude_bits) ||
                    !floats_valid(o->free_weights, o->encoding, o->free_step,
                                  o->free_bits)))
        status = MSW_E_INVAL;
    return status
               ? msw__writer_fail(w, status, "store options: %s", msw_status_text(status))
               : MSW_OK;
}

/* What adding a tensor begins with; @p values: it is there. */
static msw_status begin_tensor(msw_writer *w, msw_store_options *o, const char *name,
                               bool values, const msw_store_options *options)
{
    msw_status status;

    if (!w)
        return MSW_E_INVAL;
    w->error[0] = 0;
    if (!values)
        return msw__writer_fail(w, MSW_E_INVAL, "tensor is NULL");
    status = check_name(w, &w->names, name, "tensor name");
    return status ? status : msw__writer_take_options(w, o, options);
}

/* Its values were refused. */
static msw_status fail_values(msw_writer *w, msw__item *item, msw_status status,
                              const char *name)
{
    item_free(w->ctx, item);
    return msw__writer_fail(w, status, "tensor \"%.80s\": %s", name,
                            status == MSW_E_UNSUPPORTED
                                ? "no packed form for such processors"
                            : status == MSW_E_RANGE
                                ? "a value above 65504 as f16, or 2^15 steps"
                            : status == MSW_E_NUMERIC ? "NaN or infinity, not as f32"
                                                      : msw_status_text(status));
}

/* Unified weights */

static uint32_t class_set(const uint8_t *classes, size_t count)
{
    uint32_t set = 0;

    for (size_t i = 0; i < count; i++)
        set |= 1u << classes[i];
    return set;
}

static void describe_plan(msw__record *r, const msw_plan *p)
{
    r->kind = MSW_ENTRY_UNIFIED;
    r->rank = p->rank;
    for (uint32_t i = 0; i < p->rank; i++)
        r->shape[i] = p->shape[i];
    r->weights = p->weights;
    r->reduction = p->reduction;
    r->block_rows = p->block_rows;
    r->block_columns = p->block_columns;
    r->groups = p->groups;
    r->flags = (p->row_permutation ? MSW__RECORD_ROWS_PERMUTED : 0u) |
               (p->column_permutation ? MSW__RECORD_COLUMNS_PERMUTED : 0u);
}

msw_status msw_writer_add_unified(msw_writer *writer, const char *name,
                                  const msw_unified *u, const msw_store_options *options)
{
    msw__record record = {0};
    msw__item item = {0};
    msw_store_options o;
    msw__class_code code;
    msw_status status = begin_tensor(writer, &o, name, u != NULL, options);

    if (status)
        return status;
    describe_plan(&record, u->plan);
    record.classes = class_set(u->classes, u->plan->block_count);
    if (o.encoding == MSW_ENCODING_TRANSPORT)
        record.flags |= MSW__RECORD_TRANSPORT;
    if (o.encoding == MSW_ENCODING_PACKED)
        record.flags |= MSW__RECORD_PACKED;
    record.flags |= (uint32_t)u->most_level << MSW__RECORD_LEVELS_SHIFT;
    record.magnitudes = o.magnitudes;
    record.free_weights = o.free_weights;
    record.name_length = (uint32_t)strlen(name);
    msw__class_code_from(&code, record.classes);
    status = msw__encode_permutations(&item, writer->ctx, u->plan);
    if (!status)
        status = msw__encode_merge_map(&item, writer->ctx, u,
                                       o.encoding == MSW_ENCODING_TRANSPORT);
    if (!status && o.encoding == MSW_ENCODING_TRANSPORT)
        status = msw__transport_unified(&item, &record, writer->ctx, u, &o);
    else if (!status && o.encoding == MSW_ENCODING_PACKED)
        status = msw__encode_packed(&item, &record, writer->ctx, u, &o, &code);
    else if (!status)
        status = msw__encode_unified(&item, writer->ctx, u, &o, &code);
    if (status)
        return fail_values(writer, &item, status, name);
    record.payload = item.payload.size;
    return add_item(writer, &item, &record, name);
}

/* Plain tensors */

msw_status msw_writer_add_tensor(msw_writer *writer, const char *name,
                                 const msw_tensor *tensor,
                                 const msw_store_options *options)
{
    msw__record record = {0};
    msw__item item = {0};
    msw_store_options o;
    msw_status status = begin_tensor(writer, &o, name, tensor != NULL, options);

    if (status)
        return status;
    if (o.encoding == MSW_ENCODING_TRANSPORT)
        status = msw__transport_tensor(&item, &record, writer->ctx, tensor, &o);
    else
        status = msw__encode_tensor(&item, writer->ctx, tensor, o.free_weights);
    if (status)
        return fail_values(writer, &item, status, name);
    record.payload = item.payload.size;
    if (o.encoding == MSW_ENCODING_TRANSPORT)
        record.flags = MSW__RECORD_TRANSPORT;
    record.kind = MSW_ENTRY_TENSOR;
    record.rank = tensor->rank;
    for (uint32_t i = 0; i < tensor->rank; i++)
        record.shape[i] = tensor->shape[i];
    record.free_weights = o.free_weights;
    record.name_length = (uint32_t)strlen(name);
    return add_item(writer, &item, &record, name);
}

/* Metadata */

msw_status msw_writer_add_metadata(msw_writer *writer, const char *key, const void *value,
                                   size_t size)
{
    size_t length, bytes;
    msw__bytes record = {NULL, 0};
    msw_status status;
    void *metadata;
    uint8_t *out;

    if (!writer)
        return MSW_E_INVAL;
    writer->error[0] = 0;
    status = check_name(writer, &writer->keys, key, "metadata key");
    if (status)
        return status;
    if (!value && size)
        return msw__writer_fail(writer, MSW_E_INVAL, "metadata \"%.80s\": value is NULL",
                                key);
    length = strlen(key);
    metadata = writer->metadata;
    if (!msw__size_add(&bytes, MSW__METADATA_RECORD_BYTES + length + 2, size))
        status = MSW_E_RANGE;
    if (!status)
        status = msw__bytes_alloc(&record, writer->ctx, bytes);
    if (!status)
        status = msw__names_reserve(&writer->keys, writer->ctx, 1);
    if (!status)
        status = reserve(&metadata, &writer->metadata_capacity, writer->ctx,
                         writer->keys.count, sizeof record);
    writer->metadata = metadata;
    if (status) {
        msw__bytes_free(writer->ctx, &record);
        return msw__writer_fail(writer, status, "metadata \"%.80s\": %s", key,
                                msw_status_text(status));
    }
    out = record.data;
    msw__store16(out, (uint16_t)length);
    msw__store64(out + 2, size);
    out += MSW__METADATA_RECORD_BYTES;
    memcpy(out, key, length + 1);
    if (size)
        memcpy(out + length + 1, value, size);
    out[length + 1 + size] = 0;
    writer->metadata[writer->keys.count] = record;
    msw__names_add(&writer->keys, (const char *)out);
    return MSW_OK;
}

msw_status msw_writer_get_loss(msw_store_info *out, const msw_writer *writer,
                               const char *name)
{
    size_t at;

    if (!out || !writer || !name)
        return MSW_E_INVAL;
    if (!msw__names_find(&at, &writer->names, name))
        return MSW_E_NOTFOUND;
    return msw__give_output(out, &writer->items[at].info, sizeof *out, OLDEST_INFO);
}
