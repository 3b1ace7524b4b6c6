/* SPDX-License-Identifier: BSD-2-Clause */
/* Writing what a writer collected: sections are laid out, checksummed, then written from
 * front to back. */
#include "writer.h"

#include "bytes.h"
#include "crc32c.h"

#include <string.h>

enum { BUFFER_BYTES = 1 << 16, OLDEST_IO = sizeof(msw_io) };

typedef msw_status put_fn(void *target, const void *data, size_t size);

static msw_status put_bytes(const msw__bytes *b, put_fn *put, void *target)
{
    return b->size ? put(target, b->data, b->size) : MSW_OK;
}

static msw_status put_count(size_t count, put_fn *put, void *target)
{
    uint8_t bytes[MSW__COUNT_BYTES];

    msw__store32(bytes, (uint32_t)count);
    return count ? put(target, bytes, sizeof bytes) : MSW_OK;
}

/* The stream of a type, piece by piece; empty when there is nothing of it. */
static msw_status put_stream(const msw_writer *w, uint32_t type, put_fn *put,
                             void *target)
{
    msw_status status = MSW_OK;

    if (type == MSW__SECTION_INDEX)
        status = put_count(w->names.count, put, target);
    if (type == MSW__SECTION_METADATA) {
        status = put_count(w->keys.count, put, target);
        for (size_t i = 0; i < w->keys.count && !status; i++)
            status = put_bytes(&w->metadata[i], put, target);
        return status;
    }
    for (size_t i = 0; i < w->names.count && !status; i++) {
        const msw__item *item = &w->items[i];

        if (type == MSW__SECTION_INDEX)
            status = put_bytes(&item->record, put, target);
        else if (type == MSW__SECTION_PERMUTATION)
            status = put_bytes(&item->permutations, put, target);
        else if (type == MSW__SECTION_MERGE_MAP)
            status = put_bytes(&item->merge_map, put, target);
        else if (type == item->section)
            status = put_bytes(&item->payload, put, target);
    }
    return status;
}

static msw_status add_size(void *target, const void *data, size_t size)
{
    uint64_t *sum = target;

    (void)data;
    *sum += size;
    return MSW_OK;
}

static uint64_t stream_bytes(const msw_writer *w, uint32_t type)
{
    uint64_t bytes = 0;
    const msw_status never = put_stream(w, type, add_size, &bytes);

    (void)never;
    return bytes;
}

static uint64_t section_count(const msw_writer *w)
{
    uint64_t count = 0;

    for (uint32_t type = 1; type <= MSW__SECTION_LAST; type++)
        count += (stream_bytes(w, type) + MSW__MAX_SECTION - 1) / MSW__MAX_SECTION;
    return count;
}

uint64_t msw_writer_bytes(const msw_writer *writer)
{
    uint64_t end;

    if (!writer)
        return 0;
    end = MSW__HEADER_BYTES + section_count(writer) * MSW__SECTION_BYTES;
    for (uint32_t type = 1; type <= MSW__SECTION_LAST; type++) {
        const uint64_t bytes = stream_bytes(writer, type);
        if (bytes)
            end = msw__file_aligned(end) + bytes;
    }
    return end;
}

/* Header, section table and padding up to the first section, as they will be written. */
typedef struct layout {
    uint8_t *head;
    size_t head_bytes;
    uint32_t type; /* of the stream being checksummed */
    size_t count;
    msw__section *sections;
} layout;

/* A put_fn: distribute a stream to sections and sum them up. */
static msw_status add_to_sections(void *target, const void *data, size_t size)
{
    layout *l = target;
    const uint8_t *p = data;

    while (size > 0) {
        msw__section *s = l->count ? &l->sections[l->count - 1] : NULL;
        size_t part;

        if (!s || s->type != l->type || s->length == MSW__MAX_SECTION) {
            s = &l->sections[l->count++];
            memset(s, 0, sizeof *s);
            s->type = l->type;
            s->flags = msw__section_flags(l->type);
        }
        part = MSW__MAX_SECTION - (size_t)s->length;
        if (part > size)
            part = size;
        s->crc = msw__crc32c(s->crc, p, part);
        s->length += part;
        p += part;
        size -= part;
    }
    return MSW_OK;
}

static void encode_head(layout *l)
{
    const size_t table_bytes = l->count * MSW__SECTION_BYTES;
    uint8_t *table = l->head + MSW__HEADER_BYTES;
    uint64_t end = MSW__HEADER_BYTES + table_bytes;
    msw__header h = {0};

    for (size_t i = 0; i < l->count; i++) {
        msw__section *s = &l->sections[i];
        s->offset = msw__file_aligned(end);
        s->expanded = s->length;
        end = s->offset + s->length;
        msw__section_encode(table + i * MSW__SECTION_BYTES, s);
    }
    h.version = MSW__FILE_VERSION;
    h.header_length = MSW__HEADER_BYTES;
    h.section_count = (uint32_t)l->count;
    h.file_length = end;
    h.table_crc = msw__crc32c(0, table, table_bytes);
    msw__header_encode(l->head, &h);
}

static msw_status layout_new(layout *out, const msw_writer *w)
{
    const uint64_t count = section_count(w);
    msw_status status;
    void *memory;

    memset(out, 0, sizeof *out);
    if (count > MSW__MAX_SECTIONS)
        return MSW_E_RANGE;
    out->head_bytes = (size_t)(MSW__HEADER_BYTES + count * MSW__SECTION_BYTES);
    if (count)
        out->head_bytes = (size_t)msw__file_aligned(out->head_bytes);
    status = msw__calloc(&memory, w->ctx, out->head_bytes, 1);
    out->head = memory;
    if (status)
        return status;
    status = msw__alloc(&memory, w->ctx, (size_t)count, sizeof *out->sections);
    if (status) {
        msw__free(w->ctx, out->head, out->head_bytes, 1);
        return status;
    }
    out->sections = memory;
    for (uint32_t type = 1; type <= MSW__SECTION_LAST && !status; type++) {
        out->type = type;
        status = put_stream(w, type, add_to_sections, out);
    }
    encode_head(out);
    return status;
}

static void layout_free(layout *l, const msw_writer *w)
{
    msw__free(w->ctx, l->head, l->head_bytes, 1);
    msw__free(w->ctx, l->sections, l->count, sizeof *l->sections);
}

/* Where the bytes go. Small pieces are gathered in a buffer, if there is one. */
typedef struct output {
    msw_writer *writer;
    put_fn *put;       /* to the target */
    void *target;
    uint8_t *buffer;
    size_t used, capacity;
    uint64_t position;
} output;

static msw_status output_flush(output *o)
{
    const size_t used = o->used;

    o->used = 0;
    return used ? o->put(o->target, o->buffer, used) : MSW_OK;
}

/* A put_fn. */
static msw_status output_put(void *target, const void *data, size_t size)
{
    output *o = target;

    if (size == 0) /* padding that is not needed */
        return MSW_OK;
    o->position += size;
    if (size > o->capacity - o->used) {
        const msw_status status = output_flush(o);
        if (status)
            return status;
    }
    if (size > o->capacity)
        return o->put(o->target, data, size);
    memcpy(o->buffer + o->used, data, size);
    o->used += size;
    return MSW_OK;
}

static msw_status output_pad(output *o)
{
    static const uint8_t zeros[MSW__FILE_ALIGN];

    return output_put(o, zeros, (size_t)(msw__file_aligned(o->position) - o->position));
}

static msw_status output_all(output *o)
{
    const msw_writer *w = o->writer;
    msw_status status;
    layout l;

    status = layout_new(&l, w);
    if (status)
        return status;
    status = output_put(o, l.head, l.head_bytes);
    for (uint32_t type = 1; type <= MSW__SECTION_LAST && !status; type++) {
        if (stream_bytes(w, type))
            status = output_pad(o);
        if (!status)
            status = put_stream(w, type, output_put, o);
    }
    if (!status)
        status = output_flush(o);
    layout_free(&l, w);
    return status;
}

/* Write through a buffer. */
static msw_status output_buffered(msw_writer *w, put_fn *put, void *target)
{
    output o = {w, put, target, NULL, 0, BUFFER_BYTES, 0};
    msw_status status;
    void *memory;

    status = msw__alloc(&memory, w->ctx, BUFFER_BYTES, 1);
    o.buffer = memory;
    if (!status)
        status = output_all(&o);
    msw__free(w->ctx, memory, BUFFER_BYTES, 1);
    if (status && !w->error[0])
        msw__writer_fail(w, status, "%s", msw_status_text(status));
    return status;
}

/* To memory */

static msw_status put_memory(void *target, const void *data, size_t size)
{
    uint8_t **to = target;

    memcpy(*to, data, size);
    *to += size;
    return MSW_OK;
}

msw_status msw_writer_write_buffer(msw_writer *writer, void *data, size_t size)
{
    uint8_t *to = data;
    output o = {writer, put_memory, &to, NULL, 0, 0, 0};
    msw_status status;

    if (!writer)
        return MSW_E_INVAL;
    writer->error[0] = 0;
    if (!data)
        return msw__writer_fail(writer, MSW_E_INVAL, "buffer is NULL");
    if (size < msw_writer_bytes(writer))
        return msw__writer_fail(
            writer, MSW_E_RANGE, "a buffer of %llu bytes for a file of %llu",
            (unsigned long long)size, (unsigned long long)msw_writer_bytes(writer));
    status = output_all(&o);
    return status ? msw__writer_fail(writer, status, "%s", msw_status_text(status))
                  : MSW_OK;
}

/* To the host's storage */

typedef struct io_target {
    msw_writer *writer;
    msw_io io;
} io_target;

static msw_status put_io(void *target, const void *data, size_t size)
{
    io_target *t = target;
    const uint8_t *p = data;

    while (size > 0) {
        const int64_t put = t->io.write(p, size, t->io.user);
        if (put <= 0)
            return msw__writer_fail(t->writer, MSW_E_IO, "write callback returned %lld",
                                    (long long)put);
        if ((uint64_t)put > size)
            return msw__writer_fail(t->writer, MSW_E_HOST,
                                    "write callback says %lld bytes of %llu",
                                    (long long)put, (unsigned long long)size);
        p += put;
        size -= (size_t)put;
    }
    return MSW_OK;
}

msw_status msw_writer_write(msw_writer *writer, const msw_io *io)
{
    io_target target;
    msw_status status;

    if (!writer)
        return MSW_E_INVAL;
    writer->error[0] = 0;
    if (!io)
        return msw__writer_fail(writer, MSW_E_INVAL, "msw_io is NULL");
    status = msw__take_options(&target.io, sizeof target.io, OLDEST_IO, io);
    if (!status && !target.io.write)
        status = MSW_E_INVAL;
    if (status)
        return msw__writer_fail(writer, status,
                                "msw_io: no write callback, or its size is wrong");
    target.writer = writer;
    return output_buffered(writer, put_io, &target);
}

/* To a file */

typedef struct file_target {
    msw_writer *writer;
    msw__replacement replacement;
} file_target;

static msw_status fail_system(msw_writer *w, const char *what, int error)
{
    char text[128];

    msw__os_error_text(text, sizeof text, error);
    return msw__writer_fail(w, MSW_E_IO, "%s: %s", what, text);
}

static msw_status put_file(void *target, const void *data, size_t size)
{
    file_target *t = target;
    const int error = msw__replace_write(&t->replacement, data, size);

    return error ? fail_system(t->writer, "writing the new file", error) : MSW_OK;
}

static msw_status replace(msw_writer *w, const msw__os *os, const char *directory,
                          const char *name)
{
    file_target target;
    msw_status status;
    int error;

    target.writer = w;
    error = msw__replace_begin(&target.replacement, os, directory, name);
    if (error)
        return fail_system(w, "creating a file beside it", error);
    status = output_buffered(w, put_file, &target);
    if (status) {
        msw__replace_abort(&target.replacement);
        return status;
    }
    error = msw__replace_commit(&target.replacement);
    return error ? fail_system(w, "replacing it", error) : MSW_OK;
}

msw_status msw__writer_save(msw_writer *w, const char *path, const msw__os *os)
{
    const char *directory = ".", *name;
    msw_status status;
    char *copy, *slash;

    if (!w)
        return MSW_E_INVAL;
    w->error[0] = 0;
    if (!path || !path[0] || path[strlen(path) - 1] == '/')
        return msw__writer_fail(w, MSW_E_INVAL, "path is NULL or names no file");
    status = msw__strdup(&copy, w->ctx, path);
    if (status)
        return msw__writer_fail(w, status, "%s", msw_status_text(status));
    slash = strrchr(copy, '/');
    name = slash ? slash + 1 : copy;
    if (slash == copy)
        directory = "/";
    else if (slash) {
        *slash = 0;
        directory = copy;
    }
    status = replace(w, os, directory, name);
    msw__free(w->ctx, copy, strlen(path) + 1, 1);
    return status;
}

msw_status msw_writer_save(msw_writer *writer, const char *path)
{
    return msw__writer_save(writer, path, &msw__os_system);
}
