/* SPDX-License-Identifier: BSD-2-Clause */
#define _POSIX_C_SOURCE 200809L
#include "facts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int read_unified(struct facts *f, struct model *m, const struct item *item,
                        struct problem *p)
{
    msw_unified *u;
    msw_status status;

    if (model_unified(&u, m, item, p))
        return p->code;
    status = msw_unified_get_info(&f->unified, u);
    if (!status)
        status = msw_plan_get_info(&f->plan, msw_unified_plan(u));
    if (status)
        problem_status(p, status, m->path, item->name, NULL);
    else
        hash_text(f->classes, msw_unified_classes(u), (size_t)f->unified.blocks);
    msw_unified_free(u);
    return p->code;
}

static int read_entry(struct facts *f, struct model *m, const struct item *item,
                             struct problem *p)
{
    static const char *const forms[] = {
        [MSW_ENCODING_PLAIN] = "plain", [MSW_ENCODING_TRANSPORT] = "transport",
        [MSW_ENCODING_PACKED] = "packed",
    };
    msw_entry entry;
    size_t index;
    msw_status status = msw_reader_find(&index, m->reader, item->name);

    msw_entry_init(&entry);
    if (!status)
        status = msw_reader_get_entry(&entry, m->reader, index);
    f->bytes = entry.bytes;
    f->form = forms[entry.encoding <= MSW_ENCODING_PACKED ? entry.encoding : 0];
    f->wide_layout = entry.wide_layout;
    f->narrow_layout = entry.narrow_layout;
    return status ? problem_status(p, status, m->path, item->name, NULL) : p->code;
}

int facts_read(struct facts *f, struct model *m, const struct item *item,
               struct problem *p)
{
    uint8_t *bytes;

    memset(f, 0, sizeof *f);
    msw_unified_info_init(&f->unified);
    msw_plan_info_init(&f->plan);
    f->form = "plain";
    f->kind = item->unified ? "unified" : item_is_tensor(item) ? "plain" : "kept";
    f->bytes = item->bytes;
    if (m->format == FORMAT_MSW && !item->kept && read_entry(f, m, item, p))
        return p->code;
    f->bits = item->count ? 8 * (double)f->bytes / (double)item->count : 0;
    if (item->unified && read_unified(f, m, item, p))
        return p->code;
    bytes = allocate(item->bytes, 1, p);
    if (bytes && model_read(bytes, m, item, p) == CODE_OK)
        hash_text(f->values, bytes, item->bytes);
    free(bytes);
    return p->code;
}

uint64_t file_bytes(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
}

/* of UTF-8 */
static int characters(const char *text)
{
    int count = 0;

    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

int names_width(const struct model *m, const char *least)
{
    int width = characters(least);

    for (size_t i = 0; i < m->count; i++)
        if (characters(m->items[i].name) > width)
            width = characters(m->items[i].name);
    return width;
}

int name_field(const char *name, int width)
{
    return width + (int)strlen(name) - characters(name);
}

double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}
