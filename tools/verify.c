/* SPDX-License-Identifier: BSD-2-Clause */
/* The certificate: every block of every unified tensor is zero, of one magnitude, or
 * free, as the file's class map says; in the file itself or in a dense copy that was
 * trained on. */
#define _GNU_SOURCE
#include "facts.h"
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: msw verify [--against WEIGHTS] FILE.msw\n"
    "\n"
    "      --against WEIGHTS   safetensors, npy, npz or .msw: are its tensors of\n"
    "                          the structure that FILE.msw describes?\n"
    "  -q, --quiet             only the exit code, and what is wrong\n";

static const struct option options[] = {
    {"against", required_argument, NULL, OPTION_AGAINST},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0}
};

struct request {
    const char *input, *against;
    bool quiet;
};

struct certificate {
    struct model structure, weights;
    struct model *values; /* one of the two */
    uint64_t tensors, blocks, violations;
    bool quiet;
    struct problem *p;
};

static int read_options(struct request *r, int argc, char **argv, struct problem *p)
{
    int option;

    while ((option = getopt_long(argc, argv, "qh", options, NULL)) >= 0) {
        switch (option) {
        case OPTION_AGAINST:
            r->against = optarg;
            break;
        case 'q':
            r->quiet = true;
            break;
        case 'h':
            help_exit(help);
        default:
            return usage_problem(p, "verify");
        }
    }
    if (optind + 1 != argc)
        return problem_set(p, CODE_USAGE, "verify: one .msw file is needed");
    r->input = argv[optind];
    return p->code;
}

static void print_result(const struct certificate *c, const struct item *item,
                         const struct facts *f, const msw_verify_info *v)
{
    if (v->violations)
        printf("%s: %llu of %llu blocks are not as they must be, the first is block %llu: "
               "row %zu, column %zu is %.9g instead of %.9g\n", item->name,
               (unsigned long long)v->violations, (unsigned long long)f->unified.blocks,
               (unsigned long long)v->first, v->row, v->column, v->value, v->expected);
    else if (!c->quiet)
        printf("%s: %llu blocks %ux%u: %llu free, %llu zero, %llu unified; classes %s, "
               "values %s\n", item->name, (unsigned long long)f->unified.blocks,
               (unsigned)f->plan.block_rows, (unsigned)f->plan.block_columns,
               (unsigned long long)v->free_blocks, (unsigned long long)v->pruned_blocks,
               (unsigned long long)v->unified_blocks, f->classes, f->values);
}

static int check_tensor(struct certificate *c, const struct item *item,
                        const struct item *values)
{
    struct facts f;
    msw_verify_info v;
    msw_unified *u = NULL;
    msw_tensor *tensor = NULL;
    msw_status status;

    msw_verify_info_init(&v);
    if (facts_read(&f, &c->structure, item, c->p) == CODE_OK &&
        model_unified(&u, &c->structure, item, c->p) == CODE_OK &&
        model_tensor(&tensor, c->values, values, c->p) == CODE_OK) {
        status = msw_unified_verify(&v, u, tensor);
        if (status)
            problem_status(c->p, status, c->values->path, item->name, NULL);
        else
            print_result(c, item, &f, &v);
        c->tensors++;
        c->blocks += f.unified.blocks;
        c->violations += v.violations;
    }
    msw_tensor_free(tensor);
    msw_unified_free(u);
    return c->p->code;
}

/* Tensors that are not unified are read all the same: their checksums count. */
static int check_item(struct certificate *c, const struct item *item)
{
    const struct item *values = model_find(c->values, item->name);
    struct facts f;

    if (problem_interrupted(c->p))
        return c->p->code;
    if (!item->unified)
        return facts_read(&f, &c->structure, item, c->p);
    if (!values)
        return problem_set(c->p, CODE_DIFFERENT, "%s: %s: no such tensor", c->values->path,
                           item->name);
    if (!item_is_tensor(values) || !item_same_shape(item, values))
        return model_problem(c->p, CODE_DIFFERENT, c->values, values,
                             "another shape or type");
    return check_tensor(c, item, values);
}

static int check(struct certificate *c)
{
    if (c->structure.format != FORMAT_MSW)
        return model_problem(c->p, CODE_INPUT, &c->structure, NULL, "not a .msw file");
    for (size_t i = 0; i < c->structure.count; i++)
        if (check_item(c, &c->structure.items[i]))
            return c->p->code;
    if (!c->tensors)
        return model_problem(c->p, CODE_DIFFERENT, &c->structure, NULL,
                             "no tensor in unified form");
    if (c->violations)
        return problem_set(c->p, CODE_DIFFERENT, "%s: %llu blocks lack the structure",
                           c->values->path, (unsigned long long)c->violations);
    if (!c->quiet)
        printf("%s: all %llu blocks of %llu tensors are zero, unified or free as stated\n",
               c->values->path, (unsigned long long)c->blocks,
               (unsigned long long)c->tensors);
    return c->p->code;
}

int command_verify(int argc, char **argv, struct problem *p)
{
    struct request request;
    struct certificate c;
    msw_context *ctx = NULL;

    memset(&request, 0, sizeof request);
    memset(&c, 0, sizeof c);
    c.p = p;
    c.values = &c.structure;
    if (read_options(&request, argc, argv, p) == CODE_OK &&
        context_open(&ctx, 1, p) == CODE_OK &&
        model_open(&c.structure, ctx, request.input, p) == CODE_OK) {
        c.quiet = request.quiet;
        if (request.against)
            c.values = &c.weights;
        if (!request.against || model_open(&c.weights, ctx, request.against, p) == CODE_OK)
            check(&c);
    }
    model_close(&c.weights);
    model_close(&c.structure);
    msw_context_free(ctx);
    return p->code;
}
