/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "export.h"
#include "npy.h"
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: msw export [options] FILE -o OUT.{safetensors,npy,npz}\n"
    "FILE: .msw, safetensors, npy or npz\n"
    "\n"
    "      --layers GLOB   only tensors with such names; may be repeated\n"
    "  -o, --output OUT\n"
    "  -f, --force         overwrite OUT\n"
    "  -q, --quiet\n";

static const struct option options[] = {
    {"layers", required_argument, NULL, OPTION_LAYERS},
    {"output", required_argument, NULL, 'o'},
    {"force", no_argument, NULL, 'f'},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0}
};

struct request {
    const char *input, *output;
    struct rules layers;
    bool force, quiet;
};

static int read_options(struct request *r, int argc, char **argv, struct problem *p)
{
    int option;

    while ((option = getopt_long(argc, argv, "o:fqh", options, NULL)) >= 0) {
        switch (option) {
        case OPTION_LAYERS:
            if (rules_add(&r->layers, "--layers", optarg, p))
                return p->code;
            break;
        case 'o':
            r->output = optarg;
            break;
        case 'f':
            r->force = true;
            break;
        case 'q':
            r->quiet = true;
            break;
        case 'h':
            help_exit(help);
        default:
            return usage_problem(p, "export");
        }
    }
    if (optind + 1 != argc)
        return problem_set(p, CODE_USAGE, "export: one input file is needed");
    if (!r->output)
        return problem_set(p, CODE_USAGE, "export: -o OUT is missing");
    r->input = argv[optind];
    return p->code;
}

typedef int export_writer(struct exporter *e);

/* By the name's end. */
static export_writer *choose_writer(const char *path, struct problem *p)
{
    static const struct {
        const char *suffix;
        export_writer *writer;
    } writers[] = {
        {".safetensors", safetensors_write}, {".npy", npy_write}, {".npz", npz_write},
    };
    const size_t length = strlen(path);

    for (size_t i = 0; i < sizeof writers / sizeof writers[0]; i++) {
        const size_t suffix = strlen(writers[i].suffix);

        if (length > suffix && strcmp(path + length - suffix, writers[i].suffix) == 0)
            return writers[i].writer;
    }
    problem_set(p, CODE_USAGE, "%s: ends in none of .safetensors, .npy, .npz", path);
    return NULL;
}

static int choose_items(struct exporter *e, struct rules *layers)
{
    const struct model *m = e->model;
    uint64_t total = 0;

    e->items = allocate(m->count, sizeof *e->items, e->p);
    if (!e->items)
        return e->p->code;
    for (size_t i = 0; i < m->count; i++)
        if (!layers->count || rules_find(layers, m->items[i].name)) {
            e->items[e->count++] = &m->items[i];
            total += m->items[i].bytes;
        }
    e->progress.total = total;
    return rules_check(layers, e->p);
}

int export_item(struct exporter *e, const struct item *item)
{
    uint8_t *bytes;

    if (problem_interrupted(e->p))
        return e->p->code;
    bytes = allocate(item->bytes, 1, e->p);
    if (bytes && model_read(bytes, e->model, item, e->p) == CODE_OK &&
        output_write(e->output, bytes, item->bytes, e->p) == CODE_OK)
        progress_step(&e->progress, item->bytes, item->name);
    free(bytes);
    return e->p->code;
}

int npy_write(struct exporter *e)
{
    char header[NPY_MOST_HEADER_OUT];
    size_t length;

    if (e->count != 1)
        return problem_set(e->p, CODE_USAGE, "%s: an npy file holds one tensor, not %zu; "
                           "choose one by --layers", e->output->path, e->count);
    length = npy_header(header, e->items[0]);
    if (!length)
        return model_problem(e->p, CODE_INPUT, e->model, e->items[0],
                             "NumPy has no such type");
    if (output_write(e->output, header, length, e->p))
        return e->p->code;
    return export_item(e, e->items[0]);
}

static int run(struct exporter *e, struct request *r, msw_context *ctx,
               struct model *model)
{
    export_writer *writer = choose_writer(r->output, e->p);
    struct output output;

    if (!writer || model_open(model, ctx, r->input, e->p))
        return e->p->code;
    progress_start(&e->progress, 0, r->quiet);
    if (choose_items(e, &r->layers) || output_open(&output, r->output, r->force, e->p))
        return e->p->code;
    e->output = &output;
    writer(e);
    progress_end(&e->progress);
    if (e->p->code == CODE_OK && problem_interrupted(e->p) == CODE_OK)
        output_commit(&output, e->p);
    output_close(&output);
    return e->p->code;
}

int command_export(int argc, char **argv, struct problem *p)
{
    struct request request;
    struct model model;
    struct exporter e;
    msw_context *ctx = NULL;

    memset(&request, 0, sizeof request);
    memset(&model, 0, sizeof model);
    memset(&e, 0, sizeof e);
    e.model = &model;
    e.p = p;
    if (read_options(&request, argc, argv, p) == CODE_OK &&
        context_open(&ctx, 1, p) == CODE_OK)
        run(&e, &request, ctx, &model);
    free(e.items);
    model_close(&model);
    msw_context_free(ctx);
    rules_free(&request.layers);
    return p->code;
}
