/* SPDX-License-Identifier: BSD-2-Clause */
#define _POSIX_C_SOURCE 200809L
#include "npy.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAGIC = 6, VERSION = 2, MOST_HEADER = 1 << 16, ALIGNMENT = 64,
    TOKEN = 32 /* the longest key or type of interest */
};

/* The header's text, and how far it is read. */
struct cursor {
    const char *at, *end;
};

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && strchr(" \t\n\r", *c->at) && *c->at)
        c->at++;
}

static bool take(struct cursor *c, char wanted)
{
    skip_space(c);
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static bool take_word(struct cursor *c, const char *word)
{
    const size_t length = strlen(word);

    skip_space(c);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0)
        return false;
    c->at += length;
    return true;
}

/* A quoted text without escapes. */
static bool take_text(char out[TOKEN], struct cursor *c)
{
    const char quote = take(c, '\'') ? '\'' : take(c, '"') ? '"' : 0;
    size_t length = 0;

    if (!quote)
        return false;
    for (; c->at < c->end && *c->at != quote; c->at++) {
        if (length == TOKEN - 1 || *c->at == '\\')
            return false;
        out[length++] = *c->at;
    }
    out[length] = 0;
    return take(c, quote);
}

static bool take_size(size_t *out, struct cursor *c)
{
    skip_space(c);
    if (c->at == c->end || *c->at < '0' || *c->at > '9')
        return false;
    for (*out = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        const size_t digit = (size_t)(*c->at - '0');
        if (*out > (SIZE_MAX - digit) / 10)
            return false;
        *out = *out * 10 + digit;
    }
    take(c, 'L'); /* Python 2 */
    return true;
}

static const char *take_type(struct item *item, struct cursor *c)
{
    char code[TOKEN];

    if (!take_text(code, c))
        return "a structured or malformed dtype";
    if (strchr("<>|=", code[0]) == NULL || !code[0] ||
        !element_from_numpy(&item->type, code + 1))
        return item_strange_type(item, code);
    if (code[0] == '|' && element_size(item->type) > 1)
        return "a dtype without byte order";
    item->big_endian = code[0] == '>';
    return NULL;
}

static const char *take_shape(struct item *item, struct cursor *c)
{
    if (!take(c, '('))
        return "the shape is no tuple";
    for (item->rank = 0; !take(c, ')'); item->rank++) {
        if (item->rank == MOST_DIMENSIONS)
            return "more than 32 dimensions";
        if (!take_size(&item->shape[item->rank], c))
            return "a dimension is no non-negative integer";
        if (!take(c, ',')) { /* (3) would be a number, not a tuple */
            if (item->rank == 0 || !take(c, ')'))
                return "the shape is no tuple";
            item->rank++;
            break;
        }
    }
    return NULL;
}

/* {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } with keys in any order. */
static const char *parse(struct item *item, struct cursor c)
{
    bool descr = false, order = false, shape = false;
    char key[TOKEN];
    const char *wrong = NULL;

    if (!take(&c, '{'))
        return "the header is no dictionary";
    while (!wrong && !take(&c, '}')) {
        if (!take_text(key, &c) || !take(&c, ':'))
            return "the header is malformed";
        if (strcmp(key, "descr") == 0 && !descr) {
            descr = true;
            wrong = take_type(item, &c);
        } else if (strcmp(key, "fortran_order") == 0 && !order) {
            order = true;
            item->fortran = take_word(&c, "True");
            if (!item->fortran && !take_word(&c, "False"))
                wrong = "fortran_order is neither True nor False";
        } else if (strcmp(key, "shape") == 0 && !shape) {
            shape = true;
            wrong = take_shape(item, &c);
        } else {
            wrong = "an unknown or repeated key in the header";
        }
        if (!wrong && !take(&c, ',') && (c.at == c.end || *c.at != '}'))
            wrong = "the header is malformed";
    }
    skip_space(&c);
    if (!wrong && c.at != c.end)
        wrong = "text after the header's dictionary";
    if (!wrong && !(descr && order && shape))
        wrong = "descr, fortran_order or shape is missing";
    return wrong;
}

static bool read_exactly(void *out, size_t size, npy_source *source, void *user)
{
    return source(out, size, user) == (int64_t)size;
}

const char *npy_read_header(struct item *item, npy_source *source, void *user)
{
    uint8_t start[MAGIC + VERSION + 4];
    size_t length_bytes, length = 0;
    const char *wrong;
    char *text;

    if (!read_exactly(start, MAGIC + VERSION, source, user) ||
        memcmp(start, "\x93NUMPY", MAGIC) != 0)
        return "not an npy array";
    if (start[MAGIC] < 1 || start[MAGIC] > 3 || start[MAGIC + 1] != 0)
        return "an npy version that is not supported";
    length_bytes = start[MAGIC] == 1 ? 2 : 4;
    if (!read_exactly(start + MAGIC + VERSION, length_bytes, source, user))
        return "the header is cut short";
    for (size_t i = length_bytes; i-- > 0;)
        length = length << 8 | start[MAGIC + VERSION + i];
    if (length > MOST_HEADER)
        return "a header of more than 64 KiB";
    text = malloc(length + 1);
    if (!text)
        return "no memory for the header";
    wrong = read_exactly(text, length, source, user) ?
            parse(item, (struct cursor){text, text + length}) : "the header is cut short";
    free(text);
    if (!wrong && !item_measure(item))
        wrong = "the shape overflows";
    item->offset = MAGIC + VERSION + length_bytes + length;
    return wrong;
}

/* Element i of the row-major order lies at the sum of index times stride. */
static int to_row_major(uint8_t *bytes, const struct item *item, struct problem *p)
{
    const size_t size = element_size(item->type);
    size_t index[MOST_DIMENSIONS] = {0}, stride[MOST_DIMENSIONS], from = 0, step = 1;
    uint8_t *copy = allocate(item->bytes, 1, p);

    if (!copy)
        return p->code;
    memcpy(copy, bytes, item->bytes);
    for (uint32_t d = 0; d < item->rank; d++) {
        stride[d] = step;
        step *= item->shape[d];
    }
    for (size_t i = 0; i < item->count; i++) {
        memcpy(bytes + i * size, copy + from * size, size);
        for (uint32_t d = item->rank; d-- > 0;) {
            from += stride[d];
            if (++index[d] < item->shape[d])
                break;
            from -= stride[d] * index[d];
            index[d] = 0;
        }
    }
    free(copy);
    return p->code;
}

int npy_arrange(uint8_t *bytes, const struct item *item, struct problem *p)
{
    if (item->big_endian)
        element_swap(bytes, item->type, item->count);
    return item->fortran && item->rank > 1 ? to_row_major(bytes, item, p) : p->code;
}

static int64_t read_file(void *out, size_t size, void *user)
{
    return (int64_t)fread(out, 1, size, user);
}

/* The array is named like the file. */
static char *base_name(const char *path, struct problem *p)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');

    return copy_text(base, dot && dot != base ? (size_t)(dot - base) : strlen(base), p);
}

int npy_open(struct model *m, struct problem *p)
{
    struct item *item = model_add_item(m, p);
    const char *wrong;
    off_t end;

    if (!item || !(item->name = base_name(m->path, p)))
        return p->code;
    if (fseeko(m->file, 0, SEEK_END) || (end = ftello(m->file)) < 0 ||
        fseeko(m->file, 0, SEEK_SET))
        return model_problem(p, CODE_IO, m, NULL, strerror(errno));
    wrong = npy_read_header(item, read_file, m->file);
    if (wrong)
        return model_problem(p, CODE_INPUT, m, item->strange[0] ? item : NULL, wrong);
    if (item->bytes != (uint64_t)end - item->offset)
        return model_problem(p, CODE_INPUT, m, NULL,
                             item->bytes > (uint64_t)end - item->offset ?
                             "the file is cut short" : "bytes behind the array");
    return p->code;
}

int npy_read(uint8_t *out, struct model *m, const struct item *item, struct problem *p)
{
    if (fseeko(m->file, (off_t)item->offset, SEEK_SET) ||
        fread(out, 1, item->bytes, m->file) != item->bytes)
        return model_problem(p, CODE_IO, m, NULL, "the array cannot be read");
    return npy_arrange(out, item, p);
}

size_t npy_header(char *out, const struct item *item)
{
    const char *type = element_numpy(item->type);
    const char order = element_size(item->type) > 1 ? '<' : '|';
    char text[NPY_MOST_HEADER_OUT];
    size_t length, total;

    if (!type)
        return 0;
    length = (size_t)snprintf(text, sizeof text,
                              "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                              order, type);
    for (uint32_t i = 0; i < item->rank; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%zu%s",
                                   item->shape[i], i + 1 < item->rank ? ", " : "");
    length += (size_t)snprintf(text + length, sizeof text - length, "%s), }",
                               item->rank == 1 ? "," : "");
    total = (MAGIC + VERSION + 2 + length + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (out) {
        memset(out, ' ', total);
        memcpy(out, "\x93NUMPY\1", MAGIC + VERSION); /* version 1.0 */
        out[MAGIC + VERSION] = (char)((total - 10) & 0xff);
        out[MAGIC + VERSION + 1] = (char)((total - 10) >> 8);
        memcpy(out + MAGIC + VERSION + 2, text, length);
        out[total - 1] = '\n';
    }
    return total;
}
