/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "facts.h"
#include "options.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: msw info [--json] FILE\n"
    "FILE: .msw, safetensors, npy or npz\n";

static const struct option options[] = {
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0}
};

static const char *const format_names[] = {
    [FORMAT_MSW] = "msw", [FORMAT_SAFETENSORS] = "safetensors", [FORMAT_NPY] = "npy",
    [FORMAT_NPZ] = "npz",
};

enum { SHORT_HASH = 12 };

/* One number more than the highest level. */
static unsigned node_levels(const struct facts *f)
{
    unsigned count = MSW_MAX_MERGE_LEVELS + 1;

    while (count > 1 && !f->unified.nodes[count - 1])
        count--;
    return count;
}

static json_t *json_nodes(const struct facts *f)
{
    json_t *counts = json_array();

    for (unsigned level = 0; level < node_levels(f); level++)
        json_array_append_new(counts, json_integer((json_int_t)f->unified.nodes[level]));
    return counts;
}

static json_t *json_unified(const struct facts *f)
{
    return json_pack("{s:[i, i], s:i, s:{s:I, s:I, s:I}, s:o, s:s}",
        "block", (int)f->plan.block_rows, (int)f->plan.block_columns,
        "groups", (int)f->plan.groups, "blocks",
        "free", (json_int_t)f->unified.free_blocks,
        "pruned", (json_int_t)f->unified.pruned_blocks,
        "unified", (json_int_t)f->unified.unified_blocks,
        "nodes", json_nodes(f),
        "classes_sha256", f->classes);
}

/* What is in an order of its own. */
static json_t *json_permuted(const msw_plan_info *plan)
{
    json_t *names = json_array();

    if (plan->row_permuted)
        json_array_append_new(names, json_string("rows"));
    if (plan->column_permuted)
        json_array_append_new(names, json_string("columns"));
    return names;
}

/* Of the packed form: what kernels it is for. */
static json_t *json_layout(uint32_t layout)
{
    return layout ? json_pack("{s:i, s:i, s:i}", "version", (int)(layout & 0xffff),
                              "columns", (int)(layout >> 16 & 0xff), "rows",
                              (int)(layout >> 24))
                  : json_null();
}

static json_t *json_item(const struct item *item, const struct facts *f)
{
    json_t *shape = json_array(), *object;

    for (uint32_t i = 0; i < item->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)item->shape[i]));
    object = json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:f, s:s}", "name", item->name,
        "kind", f->kind, "dtype", element_name(item->type), "form",
        f->form, "shape", shape,
        "weights", (json_int_t)item->count, "bytes", (json_int_t)f->bytes,
        "bits_per_weight", f->bits, "sha256", f->values);
    if (item->unified && object) {
        json_t *more = json_unified(f);

        json_object_update(object, more);
        json_decref(more);
        json_object_set_new(object, "permuted", json_permuted(&f->plan));
    }
    if (object && (f->wide_layout || f->narrow_layout)) {
        json_object_set_new(object, "wide", json_layout(f->wide_layout));
        json_object_set_new(object, "narrow", json_layout(f->narrow_layout));
    }
    return object;
}

static int print_json(struct model *m, struct problem *p)
{
    json_t *tensors = json_array(), *metadata = json_object(), *root;
    struct facts f;

    for (size_t i = 0; i < m->text_count; i++)
        json_object_set_new(metadata, m->texts[i].key, json_string(m->texts[i].value));
    for (size_t i = 0; i < m->count && facts_read(&f, m, &m->items[i], p) == CODE_OK; i++)
        json_array_append_new(tensors, json_item(&m->items[i], &f));
    root = json_pack("{s:s, s:s, s:I, s:o, s:o}", "file", m->path,
        "format", format_names[m->format], "bytes", (json_int_t)file_bytes(m->path),
        "tensors", tensors, "metadata", metadata);
    if (!root)
        problem_set(p, CODE_INPUT, "%s: its names do not make JSON", m->path);
    else if (p->code == CODE_OK) {
        json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
        putchar('\n');
    }
    json_decref(root);
    return p->code;
}

/* Of merged blocks. */
static void print_nodes(const struct facts *f)
{
    printf("  nodes of 1 block: %llu", (unsigned long long)f->unified.nodes[0]);
    for (unsigned level = 1; level < node_levels(f); level++)
        printf(", %ux%u: %llu", 1u << level, 1u << level,
               (unsigned long long)f->unified.nodes[level]);
    putchar('\n');
}

static void print_item(int width, const struct item *item, const struct facts *f)
{
    char shape[SHAPE_TEXT], block[32] = "", permuted[4] = "";

    if (item->unified)
        snprintf(block, sizeof block, " %ux%u", (unsigned)f->plan.block_rows,
                 (unsigned)f->plan.block_columns);
    if (item->unified)
        snprintf(permuted, sizeof permuted, " %s%s", f->plan.row_permuted ? "r" : "",
                 f->plan.column_permuted ? "c" : "");
    printf("%-*s %16s %-5s %-9s %-7s%-6s%-3s", name_field(item->name, width),
           item->name, shape_text(shape, item), element_name(item->type), f->form,
           f->kind, block, permuted);
    if (item->unified)
        printf(" %5.1f %5.1f %5.1f", percent(f->unified.free_blocks, f->unified.blocks),
               percent(f->unified.pruned_blocks, f->unified.blocks),
               percent(f->unified.unified_blocks, f->unified.blocks));
    else
        printf("%18s", "");
    printf(" %6.3f %.*s\n", f->bits, SHORT_HASH, f->values);
    if (item->unified && node_levels(f) > 1)
        print_nodes(f);
}

static int print_table(struct model *m, struct problem *p)
{
    const int width = names_width(m, "tensor");
    uint64_t weights = 0, bytes = file_bytes(m->path);
    struct facts f;

    printf("%-*s %16s %-5s %-9s %-16s %5s %5s %5s %6s %s\n", width, "tensor", "shape",
           "type", "form", "kind", "free", "prun.", "unif.", "bits", "sha256");
    for (size_t i = 0; i < m->count; i++) {
        if (facts_read(&f, m, &m->items[i], p))
            return p->code;
        print_item(width, &m->items[i], &f);
        weights += m->items[i].count;
    }
    for (size_t i = 0; i < m->text_count; i++)
        printf("%s: %s\n", m->texts[i].key, m->texts[i].value);
    printf("%s: %s, %llu bytes, %zu tensors, %llu weights, %.3f bits per weight\n", m->path,
           format_names[m->format], (unsigned long long)bytes, m->count,
           (unsigned long long)weights, weights ? 8 * (double)bytes / (double)weights : 0);
    return p->code;
}

int command_info(int argc, char **argv, struct problem *p)
{
    msw_context *ctx;
    struct model m;
    bool json = false;
    int option;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
        if (option == 'h') {
            help_exit(help);
        }
        if (option != OPTION_JSON)
            return usage_problem(p, "info");
        json = true;
    }
    if (optind + 1 != argc)
        return problem_set(p, CODE_USAGE, "info: one file is needed");
    if (context_open(&ctx, 1, p))
        return p->code;
    if (model_open(&m, ctx, argv[optind], p) == CODE_OK) {
        if (json)
            print_json(&m, p);
        else
            print_table(&m, p);
        model_close(&m);
    }
    msw_context_free(ctx);
    return p->code;
}
