/* SPDX-License-Identifier: BSD-2-Clause */
/* Which kernel would run each layer on this machine, why, and how long it takes. */
#define _GNU_SOURCE
#include "facts.h"
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: msw explain [--n N] [--threads N] FILE.msw\n"
    "\n"
    "      --n N         columns of a product, or output pixels of a convolution,\n"
    "                    in one call (1)\n"
    "      --threads N   of libmsw; not those of the BLAS\n";

static const struct option options[] = {
    {"n", required_argument, NULL, 'n'},
    {"threads", required_argument, NULL, OPTION_THREADS},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0}
};

enum { MOST_COLUMNS = 1 << 24 };

struct request {
    const char *input;
    uint64_t n, threads;
};

static int read_options(struct request *r, int argc, char **argv, struct problem *p)
{
    int option;

    r->n = r->threads = 1;
    while ((option = getopt_long(argc, argv, "n:h", options, NULL)) >= 0) {
        switch (option) {
        case 'n':
            if (option_count(&r->n, optarg, 1, MOST_COLUMNS, "--n", p))
                return p->code;
            break;
        case OPTION_THREADS:
            if (option_count(&r->threads, optarg, 1, MOST_THREADS, "--threads", p))
                return p->code;
            break;
        case 'h':
            help_exit(help);
        default:
            return usage_problem(p, "explain");
        }
    }
    if (optind + 1 != argc)
        return problem_set(p, CODE_USAGE, "explain: one .msw file is needed");
    r->input = argv[optind];
    return p->code;
}

static void print_time(double seconds)
{
    if (seconds > 0)
        printf(" %10.2f", 1e6 * seconds);
    else
        printf(" %10s", "-");
}

static void print_kernel(int width, const struct item *item, const msw_plan_info *plan,
                         const msw_gemm_info *g)
{
    printf("%-*s %6zux%-6zu %-18s", name_field(item->name, width), item->name,
           plan->rows, plan->columns, g->kernel);
    print_time(g->predicted);
    print_time(g->measured);
    print_time(g->dense);
    if (g->measured > 0 && g->dense > 0)
        printf(" %7.2fx", g->dense / g->measured);
    else
        printf(" %8s", "-");
    printf("  %s\n", g->reason);
}

/* Timed, also against the dense product where there is a BLAS. */
static msw_status explain_product(int width, const struct item *item, msw_context *ctx,
                                  const msw_unified *u, const msw_plan_info *plan, size_t n)
{
    msw_gemm_options o;
    msw_gemm_info info;
    msw_gemm *gemm;
    msw_status status;

    msw_gemm_options_init(&o);
    o.expected_n = n;
    o.tune = 1;
    status = msw_gemm_new(&gemm, ctx, u, &o);
    msw_gemm_info_init(&info);
    if (!status)
        status = msw_gemm_get_info(&info, gemm, n);
    if (!status)
        print_kernel(width, item, plan, &info);
    msw_gemm_free(gemm);
    return status;
}

/* A grouped convolution is no single product. Its kernel depends on the number of
 * pixels alone: an image of one row, as wide as its kernel needs for n of them. */
static msw_status explain_groups(int width, const struct item *item, msw_context *ctx,
                                 const msw_unified *u, const msw_plan_info *plan, size_t n)
{
    const bool oihw = plan->weights == MSW_WEIGHTS_OIHW;
    const size_t kernel_height = plan->shape[oihw ? 2 : 1];
    const size_t kernel_width = plan->shape[oihw ? 3 : 2];
    msw_conv_options o;
    msw_gemm_info info;
    msw_conv *conv;
    msw_status status;

    msw_conv_options_init(&o);
    o.expected_pixels = n;
    status = msw_conv_new(&conv, ctx, u, &o);
    msw_gemm_info_init(&info);
    if (!status)
        status = msw_conv_get_info(&info, conv, 1, kernel_height, kernel_width + n - 1);
    if (!status)
        print_kernel(width, item, plan, &info);
    msw_conv_free(conv);
    return status;
}

static int explain_item(int width, struct model *m, const struct item *item, size_t n,
                        struct problem *p)
{
    msw_plan_info plan;
    msw_unified *u;
    msw_status status;

    if (problem_interrupted(p) || model_unified(&u, m, item, p))
        return p->code;
    msw_plan_info_init(&plan);
    status = msw_plan_get_info(&plan, msw_unified_plan(u));
    if (!status && plan.groups > 1 && plan.rank == 4)
        status = explain_groups(width, item, m->ctx, u, &plan, n);
    else if (!status)
        status = explain_product(width, item, m->ctx, u, &plan, n);
    if (status)
        problem_status(p, status, m->path, item->name, NULL);
    msw_unified_free(u);
    return p->code;
}

static int explain(struct model *m, size_t n, struct problem *p)
{
    const int width = names_width(m, "tensor");
    size_t explained = 0;

    if (m->format != FORMAT_MSW)
        return model_problem(p, CODE_INPUT, m, NULL, "not a .msw file");
    printf("%s, %u thread%s, dense: %s, N = %zu; microseconds per call\n",
           msw_context_isa(m->ctx), (unsigned)msw_context_threads(m->ctx),
           msw_context_threads(m->ctx) == 1 ? "" : "s", msw_context_blas(m->ctx), n);
    printf("%-*s %13s %-18s %10s %10s %10s %8s  %s\n", width, "tensor", "matrix", "kernel",
           "predicted", "measured", "dense", "faster", "why");
    for (size_t i = 0; i < m->count; i++)
        if (m->items[i].unified) {
            if (explain_item(width, m, &m->items[i], n, p))
                return p->code;
            explained++;
        }
    return explained ? p->code :
           model_problem(p, CODE_INPUT, m, NULL, "no tensor in unified form");
}

int command_explain(int argc, char **argv, struct problem *p)
{
    struct request request;
    struct model m;
    msw_context *ctx = NULL;

    memset(&request, 0, sizeof request);
    if (read_options(&request, argc, argv, p) == CODE_OK &&
        context_open(&ctx, (uint32_t)request.threads, p) == CODE_OK &&
        model_open(&m, ctx, request.input, p) == CODE_OK) {
        explain(&m, (size_t)request.n, p);
        model_close(&m);
    }
    msw_context_free(ctx);
    return p->code;
}
