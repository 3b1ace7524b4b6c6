/* SPDX-License-Identifier: BSD-2-Clause */
/* A file as the kernels of one kind of processor read it. */
#define _GNU_SOURCE
#include "model.h"
#include "options.h"
#include "output.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: msw pack [options] FILE.msw -o OUT.msw\n"
    "\n"
    "      --n N         columns of a product, or output pixels of a convolution,\n"
    "                    in one call (any)\n"
    "      --cpu LEVEL   for processors with c, avx2 or avx512 (this one)\n"
    "  -o, --output OUT.msw\n"
    "  -f, --force       overwrite OUT.msw\n"
    "  -q, --quiet\n";

static const struct option options[] = {
    {"n", required_argument, NULL, 'n'},
    {"cpu", required_argument, NULL, OPTION_CPU},
    {"output", required_argument, NULL, 'o'},
    {"force", no_argument, NULL, 'f'},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0}
};

enum { MOST_COLUMNS = 1 << 24 };

struct request {
    const char *input, *output;
    uint64_t n;
    uint32_t cpu;
    bool force, quiet;
};

static int read_level(uint32_t *out, const char *text, struct problem *p)
{
    static const struct {
        const char *name;
        uint32_t level;
    } levels[] = {{"c", MSW_CPU_C}, {"avx2", MSW_CPU_AVX2}, {"avx512", MSW_CPU_AVX512}};

    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (strcmp(text, levels[i].name) == 0) {
            *out = levels[i].level;
            return p->code;
        }
    return problem_set(p, CODE_USAGE, "--cpu %s: not c, avx2 or avx512", text);
}

static int read_options(struct request *r, int argc, char **argv, struct problem *p)
{
    int option;

    while ((option = getopt_long(argc, argv, "n:o:fqh", options, NULL)) >= 0) {
        switch (option) {
        case 'n':
            if (option_count(&r->n, optarg, 1, MOST_COLUMNS, "--n", p))
                return p->code;
            break;
        case OPTION_CPU:
            if (read_level(&r->cpu, optarg, p))
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
            return usage_problem(p, "pack");
        }
    }
    if (optind + 1 != argc)
        return problem_set(p, CODE_USAGE, "pack: one .msw file is needed");
    if (!r->output)
        return problem_set(p, CODE_USAGE, "pack: -o OUT.msw is missing");
    r->input = argv[optind];
    return p->code;
}

static int convert(msw_writer *writer, msw_reader *reader, const struct request *r,
                   struct problem *p)
{
    msw_store_options o;
    msw_status status;

    msw_store_options_init(&o);
    o.encoding = MSW_ENCODING_PACKED;
    o.expected_n = (size_t)r->n;
    o.cpu = r->cpu;
    status = msw_writer_add_all(writer, reader, &o);
    if (status)
        return problem_status(p, status, r->input, NULL, msw_writer_error(writer));
    if (save_model(writer, r->output, r->force, p) == CODE_OK && !r->quiet)
        printf("%s: %llu bytes, %zu tensors\n", r->output,
               (unsigned long long)msw_writer_bytes(writer), msw_reader_count(reader));
    return p->code;
}

/* The library would say that it is no .msw file, but not what to do. */
static int open_input(struct model *m, msw_context *ctx, const char *path,
                      struct problem *p)
{
    if (model_open(m, ctx, path, p) || m->format == FORMAT_MSW)
        return p->code;
    model_problem(p, CODE_INPUT, m, NULL, "not a .msw file; msw compress makes one of it");
    model_close(m);
    return p->code;
}

static int pack(msw_context *ctx, const struct request *r, struct problem *p)
{
    msw_writer *writer;
    struct output place;
    struct model m;
    msw_status status;

    if (output_open(&place, r->output, r->force, p)) /* now, and not only after the work */
        return p->code;
    output_close(&place);
    if (open_input(&m, ctx, r->input, p))
        return p->code;
    status = msw_writer_new(&writer, ctx);
    if (status)
        problem_status(p, status, r->input, NULL, NULL);
    else
        convert(writer, m.reader, r, p);
    msw_writer_free(writer);
    model_close(&m);
    return p->code;
}

int command_pack(int argc, char **argv, struct problem *p)
{
    struct request r;
    msw_context *ctx = NULL;

    memset(&r, 0, sizeof r);
    if (read_options(&r, argc, argv, p) == CODE_OK && context_open(&ctx, 1, p) == CODE_OK)
        pack(ctx, &r, p);
    msw_context_free(ctx);
    return p->code;
}
