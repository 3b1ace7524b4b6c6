/* SPDX-License-Identifier: BSD-2-Clause */
/* libzip asks for each member's bytes when it writes the file: one tensor at a time is
 * in memory. */
#include "export.h"
#include "npy.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zip.h>

struct member {
    struct exporter *e;
    const struct item *item;
    uint8_t *bytes; /* header and elements, while open */
    size_t size, at;
    zip_error_t error;
};

static zip_int64_t fail(struct member *m, int code)
{
    zip_error_set(&m->error, code, 0);
    return -1;
}

static zip_int64_t open_member(struct member *m)
{
    char header[NPY_MOST_HEADER_OUT];
    const size_t length = npy_header(header, m->item);

    if (problem_interrupted(m->e->p))
        return fail(m, ZIP_ER_CANCELLED);
    m->bytes = allocate(m->size, 1, m->e->p);
    if (!m->bytes || model_read(m->bytes + length, m->e->model, m->item, m->e->p))
        return fail(m, ZIP_ER_INTERNAL); /* the problem says what */
    memcpy(m->bytes, header, length);
    m->at = 0;
    return 0;
}

static zip_int64_t read_member(struct member *m, void *data, zip_uint64_t size)
{
    const size_t left = m->size - m->at, part = size < left ? (size_t)size : left;

    memcpy(data, m->bytes + m->at, part);
    m->at += part;
    return (zip_int64_t)part;
}

static zip_int64_t close_member(struct member *m)
{
    free(m->bytes);
    m->bytes = NULL;
    progress_step(&m->e->progress, m->item->bytes, m->item->name);
    return 0;
}

static zip_int64_t stat_member(const struct member *m, void *data)
{
    zip_stat_t *info = data;

    zip_stat_init(info);
    info->valid = ZIP_STAT_SIZE;
    info->size = m->size;
    return sizeof *info;
}

static zip_int64_t serve(void *user, void *data, zip_uint64_t size,
                         zip_source_cmd_t command)
{
    struct member *m = user;

    switch (command) {
    case ZIP_SOURCE_OPEN:
        return open_member(m);
    case ZIP_SOURCE_READ:
        return read_member(m, data, size);
    case ZIP_SOURCE_CLOSE:
        return close_member(m);
    case ZIP_SOURCE_STAT:
        return stat_member(m, data);
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&m->error, data, size);
    case ZIP_SOURCE_FREE:
        free(m->bytes);
        free(m);
        return 0;
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ,
            ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE, -1);
    default:
        return fail(m, ZIP_ER_OPNOTSUPP);
    }
}

static int zip_problem(struct exporter *e, zip_t *zip)
{
    return problem_set(e->p, CODE_IO, "%s: %s", e->output->path, zip_strerror(zip));
}

/* What a zip file can hold at the earliest, whatever the time zone: the same contents
 * give the same bytes. */
static int set_time(zip_t *zip, zip_uint64_t index)
{
    const zip_uint16_t first_of_1980 = 1 << 5 | 1;

    return zip_file_set_dostime(zip, index, 0, first_of_1980, 0);
}

static int add_member(struct exporter *e, zip_t *zip, const struct item *item)
{
    struct member *m = allocate(1, sizeof *m, e->p);
    char *name = m ? allocate(strlen(item->name) + sizeof ".npy", 1, e->p) : NULL;
    zip_source_t *source = NULL;
    zip_int64_t index = -1;

    if (name) {
        m->e = e;
        m->item = item;
        m->size = npy_header(NULL, item) + item->bytes;
        zip_error_init(&m->error);
        source = zip_source_function(zip, serve, m);
        strcat(strcpy(name, item->name), ".npy");
    }
    if (source)
        index = zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8);
    if (index < 0 || set_time(zip, (zip_uint64_t)index) ||
        zip_set_file_compression(zip, (zip_uint64_t)index, ZIP_CM_STORE, 0))
        zip_problem(e, zip);
    if (index < 0 && source)
        zip_source_free(source); /* m with it */
    else if (!source)
        free(m);
    free(name);
    return e->p->code;
}

static int add_members(struct exporter *e, zip_t *zip)
{
    for (size_t i = 0; i < e->count; i++) {
        if (npy_header(NULL, e->items[i]) == 0)
            return model_problem(e->p, CODE_INPUT, e->model, e->items[i],
                                 "NumPy has no such type");
        if (add_member(e, zip, e->items[i]))
            break;
    }
    return e->p->code;
}

/* libzip writes a file of its own beside the output's temporary one and renames it over
 * that; the output goes on with the new one. */
int npz_write(struct exporter *e)
{
    struct output *o = e->output;
    int code = 0;
    zip_t *zip = zip_open(o->temporary, ZIP_CREATE | ZIP_TRUNCATE, &code);

    if (!zip)
        return problem_set(e->p, CODE_IO, "%s: cannot be written (libzip: %d)", o->path,
                           code);
    if (add_members(e, zip)) {
        zip_discard(zip);
        return e->p->code;
    }
    if (zip_close(zip)) {
        zip_problem(e, zip);
        zip_discard(zip);
        return e->p->code;
    }
    return output_reopen(o, e->p);
}
