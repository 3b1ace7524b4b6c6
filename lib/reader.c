/* SPDX-License-Identifier: BSD-2-Clause */
/* The reader's life and its getters. reader_table.c and reader_index.c have
 * what opening checks, reader_load.c the tensors. */
#include "reader.h"

#include "crc32c.h"
#include "gemm.h"
#include "os.h"
#include "quantiser.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    OLDEST_OPTIONS = sizeof(msw_reader_options),
    OLDEST_IO = sizeof(msw_io),
    OLDEST_ENTRY = offsetof(msw_entry, wide_layout),
    BUFFER_BYTES = 1 << 16
};

msw_status msw__reader_fail(msw_reader *r, msw_status status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(r->error, sizeof r->error, format, args);
    va_end(args);
    return status;
}

msw_status msw__reader_read(msw_reader *r, uint64_t offset, void *data, size_t size,
                            const char *what)
{
    char reason[128];
    const msw_status status =
        msw__source_read(&r->source, offset, data, size, reason, sizeof reason);

    return status ? msw__reader_fail(r, status, "%s: %s", what, reason) : MSW_OK;
}

static msw_status section_crc(uint32_t *out, msw_reader *r, const msw__section *s,
                              const char *what)
{
    uint64_t offset = s->offset, left = s->length;
    msw_status status;
    void *buffer;

    *out = 0;
    if (r->source.memory) {
        *out = msw__crc32c(0, r->source.memory + offset, (size_t)left);
        return MSW_OK;
    }
    status = msw__alloc(&buffer, r->ctx, BUFFER_BYTES, 1);
    if (status)
        return msw__reader_fail(r, status, "%s: %s", what, msw_status_text(status));
    while (left > 0 && !status) {
        const size_t part = left < BUFFER_BYTES ? (size_t)left : BUFFER_BYTES;
        status = msw__reader_read(r, offset, buffer, part, what);
        if (!status)
            *out = msw__crc32c(*out, buffer, part);
        offset += part;
        left -= part;
    }
    msw__free(r->ctx, buffer, BUFFER_BYTES, 1);
    return status;
}

/* The first section that ends behind an offset. */
static size_t find_section(const msw_reader *r, uint64_t offset)
{
    size_t low = 0, high = r->section_count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (r->sections[middle].offset + r->sections[middle].length <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

msw_status msw__reader_check(msw_reader *r, msw__span span, const char *what)
{
    const uint64_t end = span.offset + span.length;

    for (size_t i = find_section(r, span.offset);
         i < r->section_count && r->sections[i].offset < end; i++) {
        uint32_t crc;
        msw_status status;

        if (r->checked[i])
            continue;
        status = section_crc(&crc, r, &r->sections[i], what);
        if (status)
            return status;
        if (crc != r->sections[i].crc)
            return msw__reader_fail(r, MSW_E_CORRUPT, "%s: checksum of section %llu",
                                    what, (unsigned long long)i);
        r->checked[i] = 1;
    }
    return MSW_OK;
}

static void kept_free(msw_context *ctx, msw__kept *k)
{
    msw__free(ctx, k->owned, k->size, 1);
}

/* A failing constructor must not call the release hook: the buffer gets it last. */
static void destroy(msw_reader *r)
{
    msw_context *ctx = r->ctx;

    msw__source_close(&r->source);
    msw__buffer_free(r->buffer);
    msw__free(ctx, r->sections, r->section_count, sizeof *r->sections);
    msw__free(ctx, r->checked, r->section_count, sizeof *r->checked);
    kept_free(ctx, &r->index);
    kept_free(ctx, &r->metadata);
    msw__names_free(&r->names, ctx);
    msw__names_free(&r->keys, ctx);
    msw__free(ctx, r->entries, r->entry_count, sizeof *r->entries);
    msw__free(ctx, r->values, r->value_count, sizeof *r->values);
    msw__free(ctx, r, 1, sizeof *r);
    msw_context_free(ctx);
}

void msw_reader_free(msw_reader *reader)
{
    if (reader)
        destroy(reader);
}

/* What is being opened: the source, its name for the log, and how. */
typedef struct opening {
    msw__source source;
    const char *what;
    msw_reader_options options;
} opening;

static msw_status load(msw_reader *r)
{
    msw_status status = msw__reader_load_table(r);

    if (!status)
        status = msw__reader_load_index(r);
    return status ? status : msw__reader_load_metadata(r);
}

/* A reader of the source, which is closed on failure. */
static msw_status open_source(msw_reader **out, msw_context *ctx, opening *o)
{
    msw_status status;
    msw_reader *r;
    void *memory;

    status = msw__calloc(&memory, ctx, 1, sizeof *r);
    if (status) {
        msw__source_close(&o->source);
        return status;
    }
    r = memory;
    r->ctx = msw_context_ref(ctx);
    r->source = o->source;
    if (o->source.memory)
        status = msw__buffer_new(&r->buffer, ctx, o->source.memory);
    if (!status)
        status = load(r);
    if (status) {
        msw__log(ctx, MSW_LOG_ERROR, "%s: %s", o->what,
                 r->error[0] ? r->error : msw_status_text(status));
        destroy(r);
        return status;
    }
    if (r->buffer) {
        r->buffer->release = o->options.release;
        r->buffer->release_user = o->options.release_user;
    }
    r->trusted = o->options.trusted != 0;
    *out = r;
    return MSW_OK;
}

/* What each of the three begins with: no source yet. @p from: there is one. */
static msw_status begin(opening *o, msw_reader **out, msw_context *ctx, const void *from,
                        const msw_reader_options *options)
{
    msw_status status;

    memset(&o->source, 0, sizeof o->source);
    o->source.file = -1;
    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!ctx || !from)
        return MSW_E_INVAL;
    msw_reader_options_init(&o->options);
    if (!options)
        return MSW_OK;
    status = msw__take_options(&o->options, sizeof o->options, OLDEST_OPTIONS, options);
    return !status && o->options.reserved ? MSW_E_VERSION : status;
}

msw_status msw_reader_open(msw_reader **out, msw_context *ctx, const char *path,
                           const msw_reader_options *options)
{
    opening o;
    const msw_status status = begin(&o, out, ctx, path, options);

    if (status)
        return status;
    o.what = path;
    o.source.file = msw__os_open(path, &o.source.length);
    if (o.source.file < 0) {
        char reason[128];
        msw__os_error_text(reason, sizeof reason, o.source.file);
        msw__log(ctx, MSW_LOG_ERROR, "%s: %s", path, reason);
        return MSW_E_IO;
    }
    return open_source(out, ctx, &o);
}

msw_status msw_reader_open_buffer(msw_reader **out, msw_context *ctx, const void *data,
                                  size_t size, const msw_reader_options *options)
{
    opening o;
    const msw_status status = begin(&o, out, ctx, data, options);

    if (status)
        return status;
    o.what = "buffer";
    o.source.memory = data;
    o.source.length = size;
    return open_source(out, ctx, &o);
}

msw_status msw_reader_open_io(msw_reader **out, msw_context *ctx, const msw_io *io,
                              const msw_reader_options *options)
{
    opening o;
    msw_status status = begin(&o, out, ctx, io, options);

    if (!status)
        status = msw__take_options(&o.source.io, sizeof o.source.io, OLDEST_IO, io);
    if (status)
        return status;
    if (!o.source.io.read_at || !o.source.io.length)
        return MSW_E_INVAL;
    o.what = "msw_io";
    o.source.length = o.source.io.length(o.source.io.user);
    return open_source(out, ctx, &o);
}

const char *msw_reader_error(const msw_reader *reader)
{
    return reader ? reader->error : "";
}

size_t msw_reader_count(const msw_reader *reader)
{
    return reader ? reader->entry_count : 0;
}

/* A parameter as the options of the writer had it. */
static void describe(double *step, uint32_t *bits, uint32_t dtype, uint32_t parameter)
{
    msw__quantiser q;

    if (!msw__quantiser_from(&q, dtype, parameter))
        return;
    *step = q.step;
    *bits = dtype == MSW_DTYPE_LOG ? parameter : 0;
}

msw_status msw_reader_get_entry(msw_entry *out, const msw_reader *reader, size_t index)
{
    const msw__entry *from;
    msw_entry e;

    if (!out || !reader)
        return MSW_E_INVAL;
    if (index >= reader->entry_count)
        return MSW_E_RANGE;
    from = &reader->entries[index];
    msw_entry_init(&e);
    e.name = reader->names.names[index];
    for (uint32_t i = 0; i < from->record.rank; i++)
        e.shape[i] = (size_t)from->record.shape[i];
    e.bytes = from->payload.length + from->permutations.length;
    e.kind = from->record.kind;
    e.rank = from->record.rank;
    e.magnitudes = from->record.magnitudes;
    e.free_weights = from->record.free_weights;
    e.block_rows = from->record.block_rows;
    e.block_columns = from->record.block_columns;
    if (from->record.flags & MSW__RECORD_TRANSPORT)
        e.encoding = MSW_ENCODING_TRANSPORT;
    if (from->record.flags & MSW__RECORD_PACKED)
        e.encoding = MSW_ENCODING_PACKED;
    e.wide_layout = from->record.layouts[MSW__GEMM_WIDE];
    e.narrow_layout = from->record.layouts[MSW__GEMM_NARROW];
    e.merge_levels = msw__record_levels(&from->record);
    describe(&e.magnitude_step, &e.magnitude_bits, e.magnitudes,
             from->record.magnitude_parameter);
    describe(&e.free_step, &e.free_bits, e.free_weights, from->record.free_parameter);
    return msw__give_output(out, &e, sizeof e, OLDEST_ENTRY);
}

msw_status msw_reader_find(size_t *out, const msw_reader *reader, const char *name)
{
    if (!out || !reader || !name)
        return MSW_E_INVAL;
    return msw__names_find(out, &reader->names, name) ? MSW_OK : MSW_E_NOTFOUND;
}

size_t msw_reader_metadata_count(const msw_reader *reader)
{
    return reader ? reader->value_count : 0;
}

const char *msw_reader_metadata_key(const msw_reader *reader, size_t index)
{
    return reader && index < reader->value_count ? reader->keys.names[index] : NULL;
}

msw_status msw_reader_get_metadata(const void **value, size_t *size,
                                   const msw_reader *reader, const char *key)
{
    size_t at;

    if (!value || !size)
        return MSW_E_INVAL;
    *value = NULL;
    *size = 0;
    if (!reader || !key)
        return MSW_E_INVAL;
    if (!msw__names_find(&at, &reader->keys, key))
        return MSW_E_NOTFOUND;
    *value = reader->values[at].data;
    *size = reader->values[at].size;
    return MSW_OK;
}
