/* SPDX-License-Identifier: BSD-2-Clause */
/* libmsw's own files, by the library's reader. */
#define _POSIX_C_SOURCE 200809L
#include "model.h"

#include <stdlib.h>
#include <string.h>

static int add_entry(struct model *m, size_t index, struct problem *p)
{
    struct item *item = model_add_item(m, p);
    msw_status status;
    msw_entry entry;

    if (!item)
        return p->code;
    msw_entry_init(&entry);
    status = msw_reader_get_entry(&entry, m->reader, index);
    if (status)
        return problem_status(p, status, m->path, NULL, msw_reader_error(m->reader));
    item->name = copy_text(entry.name, strlen(entry.name), p);
    item->unified = entry.kind == MSW_ENTRY_UNIFIED;
    item->type = entry.free_weights == MSW_DTYPE_F16 &&
                 (!item->unified || entry.magnitudes == MSW_DTYPE_F16) ?
                 ELEMENT_F16 : ELEMENT_F32;
    item->rank = entry.rank;
    memcpy(item->shape, entry.shape, sizeof entry.shape);
    if (!item_measure(item))
        model_problem(p, CODE_INPUT, m, item, "too large for this machine");
    return p->code;
}

/* "I64[2,3]\n" and the bytes; false: not ours. */
static bool parse_kept(struct item *item, const char *value, size_t size)
{
    const char *bracket = memchr(value, '[', size), *at;
    const char *line = memchr(value, '\n', size);
    char type[16] = "";

    if (!bracket || !line || bracket > line || (size_t)(bracket - value) >= sizeof type)
        return false;
    memcpy(type, value, (size_t)(bracket - value));
    if (!element_from_name(&item->type, type))
        return false;
    for (at = bracket + 1, item->rank = 0; *at != ']'; item->rank++) {
        char *end;

        if (item->rank == MOST_DIMENSIONS || *at < '0' || *at > '9')
            return false;
        item->shape[item->rank] = strtoul(at, &end, 10);
        at = *end == ',' ? end + 1 : end;
    }
    item->kept = (const uint8_t *)line + 1;
    return at + 1 == line && item_measure(item) &&
           item->bytes == size - (size_t)(line + 1 - value);
}

static int add_metadata(struct model *m, const char *key, struct problem *p)
{
    const char *value;
    const void *data;
    struct item kept, *item;
    size_t size;
    const msw_status status = msw_reader_get_metadata(&data, &size, m->reader, key);

    if (status)
        return problem_status(p, status, m->path, key, msw_reader_error(m->reader));
    value = data; /* a zero byte follows */
    memset(&kept, 0, sizeof kept);
    if (strncmp(key, KEPT_PREFIX, KEPT_PREFIX_LENGTH) == 0 &&
        parse_kept(&kept, value, size)) {
        item = model_add_item(m, p);
        if (item) {
            *item = kept;
            item->name = copy_text(key + KEPT_PREFIX_LENGTH,
                                   strlen(key) - KEPT_PREFIX_LENGTH, p);
        }
    } else if (strlen(value) == size) {
        model_add_text(m, key, value, p);
    }
    return p->code;
}

int msw_file_open(struct model *m, struct problem *p)
{
    /* The context's log gave the detail. */
    const msw_status status = msw_reader_open(&m->reader, m->ctx, m->path, NULL);

    if (status)
        return problem_status(p, status, m->path, NULL, NULL);
    for (size_t i = 0; i < msw_reader_count(m->reader); i++)
        if (add_entry(m, i, p))
            return p->code;
    for (size_t i = 0; i < msw_reader_metadata_count(m->reader); i++)
        if (add_metadata(m, msw_reader_metadata_key(m->reader, i), p))
            break;
    return p->code;
}

int msw_file_read(uint8_t *out, struct model *m, const struct item *item,
                  struct problem *p)
{
    msw_tensor *tensor;

    if (item->kept) {
        memcpy(out, item->kept, item->bytes);
        return p->code;
    }
    if (model_tensor(&tensor, m, item, p))
        return p->code;
    element_from_float(out, msw_tensor_data(tensor), item->type, item->count);
    msw_tensor_free(tensor);
    return p->code;
}
