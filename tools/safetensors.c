/* SPDX-License-Identifier: BSD-2-Clause */
/* safetensors: 8 bytes header length, a header in JSON, the tensors without gaps. */
#define _POSIX_C_SOURCE 200809L
#include "model.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8, MOST_HEADER = 100000000 }; /* as the reference has it */
#define METADATA "__metadata__"

static int read_dimension(size_t *out, const json_t *number)
{
    const json_int_t value = json_is_integer(number) ? json_integer_value(number) : -1;

    if (value < 0 || (uint64_t)value > SIZE_MAX)
        return -1;
    *out = (size_t)value;
    return 0;
}

static const char *read_shape(struct item *item, const json_t *shape)
{
    if (!json_is_array(shape))
        return "no shape";
    if (json_array_size(shape) > MOST_DIMENSIONS)
        return "more than 32 dimensions";
    item->rank = (uint32_t)json_array_size(shape);
    for (uint32_t i = 0; i < item->rank; i++)
        if (read_dimension(&item->shape[i], json_array_get(shape, i)))
            return "a dimension is no non-negative integer";
    return NULL;
}

/* NULL, or what is wrong. */
static const char *read_record(struct item *item, const json_t *record)
{
    const char *type = json_string_value(json_object_get(record, "dtype")), *wrong;
    const json_t *offsets = json_object_get(record, "data_offsets");
    size_t begin, end;

    if (!json_is_object(record))
        return "its record is no object";
    if (!type)
        return "no dtype";
    if (!element_from_name(&item->type, type))
        return item_strange_type(item, type);
    wrong = read_shape(item, json_object_get(record, "shape"));
    if (wrong)
        return wrong;
    if (json_array_size(offsets) != 2 ||
        read_dimension(&begin, json_array_get(offsets, 0)) ||
        read_dimension(&end, json_array_get(offsets, 1)) || end < begin)
        return "data_offsets are not two rising numbers";
    if (!item_measure(item) || item->bytes != end - begin)
        return "data_offsets do not fit shape and dtype";
    item->offset = begin;
    return NULL;
}

static int read_metadata(struct model *m, const json_t *metadata, struct problem *p)
{
    const char *key;
    json_t *value;

    if (!json_is_object(metadata))
        return model_problem(p, CODE_INPUT, m, NULL, METADATA " is no object");
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value) {
        if (!json_is_string(value))
            return model_problem(p, CODE_INPUT, m, NULL, METADATA " holds more than texts");
        if (model_add_text(m, key, json_string_value(value), p))
            return p->code;
    }
    return p->code;
}

static int read_header(struct model *m, json_t *header, struct problem *p)
{
    const char *name, *wrong;
    json_t *record;

    if (!json_is_object(header))
        return model_problem(p, CODE_INPUT, m, NULL, "the header is no object");
    json_object_foreach(header, name, record) {
        struct item *item;

        if (strcmp(name, METADATA) == 0) {
            if (read_metadata(m, record, p))
                return p->code;
            continue;
        }
        item = model_add_item(m, p);
        if (!item || !(item->name = copy_text(name, strlen(name), p)))
            return p->code;
        wrong = read_record(item, record);
        if (wrong)
            return model_problem(p, CODE_INPUT, m, item, wrong);
    }
    return p->code;
}

static int compare_offsets(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* The data of all tensors, in order, fill the file from data to end. */
static int check_layout(struct model *m, uint64_t data, uint64_t end, struct problem *p)
{
    uint64_t next = 0;

    if (m->count)
        qsort(m->items, m->count, sizeof *m->items, compare_offsets);
    for (size_t i = 0; i < m->count; i++) {
        struct item *item = &m->items[i];

        if (item->offset != next)
            return model_problem(p, CODE_INPUT, m, item, item->offset < next ?
                                 "its data overlap those of another tensor" :
                                 "a gap before its data");
        if (item->bytes > end - data - next)
            return model_problem(p, CODE_INPUT, m, item, "its data end after the file");
        next += item->bytes;
        item->offset += data;
    }
    if (next != end - data)
        return model_problem(p, CODE_INPUT, m, NULL, "bytes that belong to no tensor");
    return p->code;
}

static int parse(struct model *m, char *text, size_t length, struct problem *p)
{
    json_error_t error;
    json_t *header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);

    if (!header)
        return problem_set(p, CODE_INPUT, "%s: header: %s", m->path, error.text);
    read_header(m, header, p);
    json_decref(header);
    return p->code;
}

int safetensors_open(struct model *m, struct problem *p)
{
    uint8_t bytes[LENGTH_BYTES];
    uint64_t length = 0;
    char *text;
    off_t end;

    if (fseeko(m->file, 0, SEEK_END) || (end = ftello(m->file)) < 0 ||
        fseeko(m->file, 0, SEEK_SET) ||
        fread(bytes, 1, LENGTH_BYTES, m->file) != LENGTH_BYTES)
        return model_problem(p, CODE_IO, m, NULL, strerror(errno));
    for (int i = LENGTH_BYTES; i-- > 0;)
        length = length << 8 | bytes[i];
    if (length > MOST_HEADER || length > (uint64_t)end - LENGTH_BYTES)
        return model_problem(p, CODE_INPUT, m, NULL,
                             "header longer than the file or 100 MB");
    text = allocate((size_t)length, 1, p);
    if (!text)
        return p->code;
    if (fread(text, 1, (size_t)length, m->file) != length)
        model_problem(p, CODE_IO, m, NULL, "the header cannot be read");
    else if (parse(m, text, (size_t)length, p) == CODE_OK)
        check_layout(m, LENGTH_BYTES + length, (uint64_t)end, p);
    free(text);
    return p->code;
}

int safetensors_read(uint8_t *out, struct model *m, const struct item *item,
                     struct problem *p)
{
    if (fseeko(m->file, (off_t)item->offset, SEEK_SET) ||
        fread(out, 1, item->bytes, m->file) != item->bytes)
        return model_problem(p, CODE_IO, m, item, "its data cannot be read");
    return p->code;
}
