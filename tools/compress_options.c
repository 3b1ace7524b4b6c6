/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "compress.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { MOST_BITS = 15 }; /* of MSW_DTYPE_UNIFORM */
#define MOST_BYTES (UINT64_MAX / 16)
#define MOST_RATIO 1e6

static const char help[] =
    "usage: msw compress [options] FILE -o OUT.msw\n"
    "FILE: safetensors, npy, npz or .msw\n"
    "\n"
    "  -b, --block RxC        sides of the blocks, rows x columns (8x8)\n"
    "      --prune SHARE      of the blocks that become zero (0.5)\n"
    "      --unify SHARE      of the blocks that get one magnitude (0.4)\n"
    "      --bytes N          instead of shares: a file of at most N bytes, the blocks\n"
    "                         of all layers chosen such that weights change least\n"
    "      --ratio R          the same, with 1/R of the input's bytes\n"
    "      --quadtree LEVELS  with --bytes or --ratio: blocks may be merged, 2^LEVELS by\n"
    "                         2^LEVELS at the most (1 to 4)\n"
    "      --layers GLOB      only weights with such names; may be repeated\n"
    "      --except GLOB      no weights with such names; may be repeated\n"
    "      --kind GLOB=KIND   what the dimensions mean: oi, io, oihw, ohwi\n"
    "      --groups GLOB=N    groups of a grouped convolution\n"
    "      --permute          search for an order of each layer's rows and columns in\n"
    "                         which blocks change weights less; takes long\n"
    "      --f16              store 16-bit floats\n"
    "      --transport        the smallest file: entropy-coded, slower to load\n"
    "      --bits N           with --transport: round magnitudes and free weights\n"
    "                         to N bits, 2 to 15, sign included\n"
    "      --threads N\n"
    "  -o, --output OUT.msw\n"
    "  -f, --force            overwrite OUT.msw\n"
    "  -q, --quiet\n";

static const struct option options[] = {
    {"block", required_argument, NULL, 'b'},
    {"prune", required_argument, NULL, OPTION_PRUNE},
    {"unify", required_argument, NULL, OPTION_UNIFY},
    {"bytes", required_argument, NULL, OPTION_BYTES},
    {"ratio", required_argument, NULL, OPTION_RATIO},
    {"quadtree", required_argument, NULL, OPTION_QUADTREE},
    {"layers", required_argument, NULL, OPTION_LAYERS},
    {"except", required_argument, NULL, OPTION_EXCEPT},
    {"kind", required_argument, NULL, OPTION_KIND},
    {"groups", required_argument, NULL, OPTION_GROUPS},
    {"permute", no_argument, NULL, OPTION_PERMUTE},
    {"f16", no_argument, NULL, OPTION_F16},
    {"transport", no_argument, NULL, OPTION_TRANSPORT},
    {"bits", required_argument, NULL, OPTION_BITS},
    {"threads", required_argument, NULL, OPTION_THREADS},
    {"output", required_argument, NULL, 'o'},
    {"force", no_argument, NULL, 'f'},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0}
};

static int read_option(struct compress_options *o, int option, struct problem *p)
{
    uint64_t count = 0;

    switch (option) {
    case 'b':
        return option_block(&o->block_rows, &o->block_columns, optarg, p);
    case OPTION_PRUNE:
        o->shares = true;
        return option_number(&o->prune, optarg, 0, 1, "--prune", p);
    case OPTION_UNIFY:
        o->shares = true;
        return option_number(&o->unify, optarg, 0, 1, "--unify", p);
    case OPTION_BYTES:
        return option_count(&o->bytes, optarg, 1, MOST_BYTES, "--bytes", p);
    case OPTION_RATIO:
        return option_number(&o->ratio, optarg, 1, MOST_RATIO, "--ratio", p);
    case OPTION_QUADTREE:
        option_count(&count, optarg, 1, MSW_MAX_MERGE_LEVELS, "--quadtree", p);
        o->levels = (uint32_t)count;
        return p->code;
    case OPTION_LAYERS:
        return rules_add(&o->layers, "--layers", optarg, p);
    case OPTION_EXCEPT:
        return rules_add(&o->except, "--except", optarg, p);
    case OPTION_KIND:
        return rules_add_kind(&o->kinds, "--kind", optarg, p);
    case OPTION_GROUPS:
        return rules_add_count(&o->groups, "--groups", optarg, p);
    case OPTION_TRANSPORT:
        o->transport = true;
        return p->code;
    case OPTION_BITS:
        option_count(&count, optarg, 2, MOST_BITS, "--bits", p);
        o->bits = (uint32_t)count;
        return p->code;
    case OPTION_THREADS:
        option_count(&count, optarg, 1, MOST_THREADS, "--threads", p);
        o->threads = (uint32_t)count;
        return p->code;
    case OPTION_PERMUTE:
        o->permute = true;
        return p->code;
    case OPTION_F16:
        o->f16 = true;
        return p->code;
    case 'o':
        o->output = optarg;
        return p->code;
    case 'f':
        o->force = true;
        return p->code;
    case 'q':
        o->quiet = true;
        return p->code;
    default:
        return usage_problem(p, "compress");
    }
}

int compress_options_read(struct compress_options *o, int argc, char **argv,
                          struct problem *p)
{
    int option;

    memset(o, 0, sizeof *o);
    o->block_rows = o->block_columns = 8;
    o->prune = 0.5;
    o->unify = 0.4;
    while ((option = getopt_long(argc, argv, "b:o:fqh", options, NULL)) >= 0) {
        if (option == 'h') {
            help_exit(help);
        }
        if (read_option(o, option, p))
            return p->code;
    }
    if (optind + 1 != argc)
        return problem_set(p, CODE_USAGE, "compress: one input file is needed");
    if (!o->output)
        return problem_set(p, CODE_USAGE, "compress: -o OUT.msw is missing");
    if (o->shares + (o->bytes > 0) + (o->ratio > 0) > 1)
        return problem_set(p, CODE_USAGE, "shares, --bytes and --ratio exclude each other");
    if (o->levels && !o->bytes && !(o->ratio > 0))
        return problem_set(p, CODE_USAGE, "--quadtree needs --bytes or --ratio");
    if (o->bits && !o->transport)
        return problem_set(p, CODE_USAGE, "--bits needs --transport");
    if (o->prune + o->unify > 1)
        return problem_set(p, CODE_USAGE, "the shares of --prune and --unify exceed 1");
    o->input = argv[optind];
    return p->code;
}

void compress_options_free(struct compress_options *o)
{
    rules_free(&o->layers);
    rules_free(&o->except);
    rules_free(&o->kinds);
    rules_free(&o->groups);
}

bool compress_selects(msw_plan_options *plan, struct compress_options *o,
                      const struct item *item)
{
    const struct rule *kind, *groups;

    if (!item_is_tensor(item) || (item->rank != 2 && item->rank != 4))
        return false;
    if (o->layers.count && !rules_find(&o->layers, item->name))
        return false;
    if (rules_find(&o->except, item->name))
        return false;
    kind = rules_find(&o->kinds, item->name);
    groups = rules_find(&o->groups, item->name);
    msw_plan_options_init(plan);
    plan->weights = item->rank == 2 ? MSW_WEIGHTS_OI : MSW_WEIGHTS_OIHW;
    if (kind)
        plan->weights = kind->value;
    plan->block_rows = o->block_rows;
    plan->block_columns = o->block_columns;
    plan->groups = groups ? groups->value : 1;
    return true;
}
