/* SPDX-License-Identifier: BSD-2-Clause */
#include "export.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8, ALIGNMENT = 8 };
#define METADATA "__metadata__"

static json_t *make_record(const struct item *item, uint64_t begin)
{
    json_t *shape = json_array();

    for (uint32_t i = 0; i < item->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)item->shape[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", element_name(item->type), "shape",
                     shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)(begin + item->bytes));
}

static int add_metadata(json_t *header, const struct exporter *e)
{
    const struct model *m = e->model;
    json_t *metadata;

    if (m->text_count == 0)
        return 0;
    metadata = json_object();
    for (size_t i = 0; i < m->text_count; i++)
        /* What is no UTF-8 is no text, and stays out. */
        json_object_set_new(metadata, m->texts[i].key, json_string(m->texts[i].value));
    return json_object_set_new(header, METADATA, metadata);
}

/* NULL: no memory, or a name that is no UTF-8. */
static char *header_text(const struct exporter *e)
{
    json_t *header = json_object();
    uint64_t begin = 0;
    int failed = add_metadata(header, e);
    char *text;

    for (size_t i = 0; i < e->count && !failed; i++) {
        failed = json_object_set_new(header, e->items[i]->name,
                                     make_record(e->items[i], begin));
        begin += e->items[i]->bytes;
    }
    text = failed ? NULL : json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(header);
    return text;
}

static int write_header(struct exporter *e, const char *text)
{
    const size_t length = strlen(text);
    const size_t padded = (length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    uint8_t bytes[LENGTH_BYTES];

    for (int i = 0; i < LENGTH_BYTES; i++)
        bytes[i] = (uint8_t)((uint64_t)padded >> 8 * i);
    if (output_write(e->output, bytes, LENGTH_BYTES, e->p) ||
        output_write(e->output, text, length, e->p))
        return e->p->code;
    return output_write(e->output, "       ", padded - length, e->p);
}

int safetensors_write(struct exporter *e)
{
    char *text;

    for (size_t i = 0; i < e->count; i++)
        if (strcmp(e->items[i]->name, METADATA) == 0)
            return model_problem(e->p, CODE_INPUT, e->model, e->items[i],
                                 "safetensors reserves this name");
    text = header_text(e);
    if (!text)
        return problem_set(e->p, CODE_INPUT, "%s: its names do not make a header",
                           e->model->path);
    write_header(e, text);
    free(text);
    for (size_t i = 0; i < e->count && e->p->code == CODE_OK; i++)
        export_item(e, e->items[i]);
    return e->p->code;
}
