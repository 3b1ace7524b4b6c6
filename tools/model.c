/* SPDX-License-Identifier: BSD-2-Clause */
#define _POSIX_C_SOURCE 200809L
#include "model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAGIC = 9, MOST_NAME = 1023 };

int model_problem(struct problem *p, int code, const struct model *m,
                  const struct item *item, const char *reason)
{
    const bool strange = item && item->strange[0];

    return problem_set(p, code, "%s: %s%s%s%s%s", m->path, item ? item->name : "",
                       item ? ": " : "", reason, strange ? ": " : "",
                       strange ? item->strange : "");
}

const char *item_strange_type(struct item *item, const char *type)
{
    snprintf(item->strange, sizeof item->strange, "%s", type);
    return "a dtype that is not supported";
}

bool item_measure(struct item *item)
{
    size_t bytes = element_size(item->type);

    item->count = 1;
    for (uint32_t i = 0; i < item->rank; i++)
        if (item->shape[i] == 0) {
            item->count = item->bytes = 0;
            return true;
        }
    for (uint32_t i = 0; i < item->rank; i++) {
        if (item->shape[i] > SIZE_MAX / bytes)
            return false;
        bytes *= item->shape[i];
        item->count *= item->shape[i];
    }
    item->bytes = bytes;
    return true;
}

/* The array doubles at each power of two. */
static void *grow(void *array, size_t count, size_t size, struct problem *p)
{
    void *larger = array;

    if ((count & (count - 1)) == 0) {
        const size_t capacity = count ? 2 * count : 1;

        larger = capacity <= SIZE_MAX / size ? realloc(array, capacity * size) : NULL;
        if (!larger)
            problem_set(p, CODE_MEMORY, "no memory for %zu entries", capacity);
    }
    return larger;
}

struct item *model_add_item(struct model *m, struct problem *p)
{
    struct item *items = grow(m->items, m->count, sizeof *items, p);

    if (!items)
        return NULL;
    m->items = items;
    memset(&items[m->count], 0, sizeof *items);
    return &items[m->count++];
}

int model_add_text(struct model *m, const char *key, const char *value, struct problem *p)
{
    struct text *texts = grow(m->texts, m->text_count, sizeof *texts, p), *t;

    if (!texts)
        return p->code;
    m->texts = texts;
    t = &texts[m->text_count++];
    t->key = copy_text(key, strlen(key), p);
    t->value = copy_text(value, strlen(value), p);
    return p->code;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* As .msw files have them: 1 to 1023 bytes without control characters (those above 127
 * are C2 80 to C2 9F in UTF-8). */
static bool good_name(const char *name)
{
    const size_t length = strlen(name);

    for (const uint8_t *c = (const uint8_t *)name; *c; c++)
        if (*c < ' ' || *c == 0x7f || (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0))
            return false;
    return length >= 1 && length <= MOST_NAME;
}

static int check_names(const struct model *m, struct problem *p)
{
    char **names = allocate(m->count, sizeof *names, p);

    if (!names)
        return p->code;
    for (size_t i = 0; i < m->count; i++) {
        names[i] = m->items[i].name;
        if (!good_name(names[i]))
            problem_set(p, CODE_INPUT, "%s: array %zu: a name that is empty, too long or "
                        "has control characters", m->path, i);
    }
    qsort(names, m->count, sizeof *names, compare_names);
    for (size_t i = 1; i < m->count; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            problem_set(p, CODE_INPUT, "%s: %s: two arrays have this name", m->path,
                        names[i]);
    free(names);
    return p->code;
}

static bool is_npy(const uint8_t *magic)
{
    return memcmp(magic, "\x93NUMPY", 6) == 0;
}

static bool is_zip(const uint8_t *magic)
{
    return memcmp(magic, "PK\3\4", 4) == 0 || memcmp(magic, "PK\5\6", 4) == 0;
}

static int open_format(struct model *m, struct problem *p)
{
    uint8_t magic[MAGIC] = {0};
    const size_t got = fread(magic, 1, MAGIC, m->file);

    if (ferror(m->file))
        return model_problem(p, CODE_IO, m, NULL, strerror(errno));
    if (got == 0)
        return model_problem(p, CODE_INPUT, m, NULL, "the file is empty");
    if (is_npy(magic)) {
        m->format = FORMAT_NPY;
        return npy_open(m, p);
    }
    if (got == MAGIC && magic[8] == '{') {
        m->format = FORMAT_SAFETENSORS;
        return safetensors_open(m, p);
    }
    if (memcmp(magic, "\x89MSW", 4) == 0) {
        m->format = FORMAT_MSW;
        return msw_file_open(m, p);
    }
    if (is_zip(magic)) {
        m->format = FORMAT_NPZ;
        return npz_open(m, p);
    }
    return model_problem(p, CODE_INPUT, m, NULL,
                         "neither .msw nor safetensors, npy or npz");
}

int model_open(struct model *m, msw_context *ctx, const char *path, struct problem *p)
{
    struct stat info;

    memset(m, 0, sizeof *m);
    m->path = path;
    m->ctx = ctx;
    if (stat(path, &info) != 0)
        model_problem(p, CODE_IO, m, NULL, strerror(errno));
    else if (!S_ISREG(info.st_mode)) /* to open a FIFO would be to wait for a writer */
        model_problem(p, CODE_IO, m, NULL, "not a regular file");
    else if (!(m->file = fopen(path, "rb")))
        model_problem(p, CODE_IO, m, NULL, strerror(errno));
    else if (open_format(m, p) == CODE_OK)
        check_names(m, p);
    if (p->code)
        model_close(m);
    return p->code;
}

int model_open_buffer(struct model *m, msw_context *ctx, uint8_t *data, size_t size,
                      struct problem *p)
{
    memset(m, 0, sizeof *m);
    m->path = "buffer";
    m->ctx = ctx;
    if (size >= 4 && is_zip(data)) {
        m->format = FORMAT_NPZ;
        npz_open_buffer(m, data, size, p);
    } else if (size == 0 || !(m->file = fmemopen(data, size, "rb"))) {
        model_problem(p, CODE_INPUT, m, NULL, "empty");
    } else {
        open_format(m, p);
    }
    if (p->code == CODE_OK)
        check_names(m, p);
    if (p->code)
        model_close(m);
    return p->code;
}

void model_close(struct model *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->items[i].name);
    for (size_t i = 0; i < m->text_count; i++) {
        free(m->texts[i].key);
        free(m->texts[i].value);
    }
    free(m->items);
    free(m->texts);
    if (m->file)
        fclose(m->file);
    if (m->zip)
        npz_close(m);
    msw_reader_free(m->reader);
    memset(m, 0, sizeof *m);
}

const struct item *model_find(const struct model *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->items[i].name, name) == 0)
            return &m->items[i];
    return NULL;
}

int model_read(uint8_t *out, struct model *m, const struct item *item, struct problem *p)
{
    switch (m->format) {
    case FORMAT_MSW:
        return msw_file_read(out, m, item, p);
    case FORMAT_SAFETENSORS:
        return safetensors_read(out, m, item, p);
    case FORMAT_NPY:
        return npy_read(out, m, item, p);
    case FORMAT_NPZ:
        return npz_read(out, m, item, p);
    }
    return p->code;
}

bool item_is_tensor(const struct item *item)
{
    return element_is_real(item->type) && item->rank >= 1 && item->rank <= MSW_MAX_RANK &&
           item->count > 0 && !item->kept;
}

bool item_same_shape(const struct item *a, const struct item *b)
{
    return a->rank == b->rank &&
           memcmp(a->shape, b->shape, a->rank * sizeof a->shape[0]) == 0;
}

/* Of a .msw file: as the library has it. */
static int stored_tensor(msw_tensor **out, struct model *m, const struct item *item,
                         struct problem *p)
{
    msw_unified *u = NULL;
    msw_status status;

    if (!item->unified) {
        status = msw_reader_tensor(out, m->reader, item->name);
        if (status)
            problem_status(p, status, m->path, item->name, msw_reader_error(m->reader));
        return p->code;
    }
    if (model_unified(&u, m, item, p))
        return p->code;
    status = msw_tensor_new(out, m->ctx, item->shape, item->rank);
    if (!status)
        status = msw_unified_to_dense(*out, u);
    if (status)
        problem_status(p, status, m->path, item->name, NULL);
    msw_unified_free(u);
    return p->code;
}

static int converted_tensor(msw_tensor **out, struct model *m, const struct item *item,
                            struct problem *p)
{
    uint8_t *bytes = allocate(item->bytes, 1, p);
    msw_status status;

    if (!bytes || model_read(bytes, m, item, p)) {
        free(bytes);
        return p->code;
    }
    status = msw_tensor_new(out, m->ctx, item->shape, item->rank);
    if (status)
        problem_status(p, status, m->path, item->name, NULL);
    else if (!element_to_float(msw_tensor_data(*out), bytes, item->type, item->count))
        model_problem(p, CODE_INPUT, m, item, "a 64-bit float is too large for 32 bits");
    free(bytes);
    return p->code;
}

int model_tensor(msw_tensor **out, struct model *m, const struct item *item,
                 struct problem *p)
{
    *out = NULL;
    if (m->format == FORMAT_MSW)
        stored_tensor(out, m, item, p);
    else
        converted_tensor(out, m, item, p);
    if (p->code) {
        msw_tensor_free(*out);
        *out = NULL;
    }
    return p->code;
}

int model_unified(msw_unified **out, struct model *m, const struct item *item,
                  struct problem *p)
{
    const msw_status status = msw_reader_unified(out, m->reader, item->name);

    return status ? problem_status(p, status, m->path, item->name,
                                   msw_reader_error(m->reader)) : CODE_OK;
}

const char *shape_text(char *out, const struct item *item)
{
    size_t length = 0;

    if (item->rank == 0)
        return strcpy(out, "scalar");
    for (uint32_t i = 0; i < item->rank && length < SHAPE_TEXT; i++)
        length += (size_t)snprintf(out + length, SHAPE_TEXT - length, "%s%zu", i ? "x" : "",
                                   item->shape[i]);
    return out;
}
