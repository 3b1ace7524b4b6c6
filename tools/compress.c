/* SPDX-License-Identifier: BSD-2-Clause */
#include "compress.h"
#include "output.h"

#include <stdlib.h>
#include <string.h>

/* Before hours of work: does every option mean something? */
static int check_selection(struct job *j)
{
    struct compress_options *o = &j->options;
    size_t selected = 0;
    msw_plan_options how;

    for (size_t i = 0; i < j->model.count; i++)
        selected += compress_selects(&how, o, &j->model.items[i]);
    if (rules_check(&o->layers, j->p) || rules_check(&o->except, j->p) ||
        rules_check(&o->kinds, j->p) || rules_check(&o->groups, j->p))
        return j->p->code;
    return selected ? j->p->code : problem_set(j->p, CODE_INPUT,
        "%s: no matrix or convolution weights among its %zu tensors", o->input,
        j->model.count);
}

int compress_all(struct job *j)
{
    struct model *m = &j->model;
    msw_status status;

    msw_writer_free(j->writer);
    status = msw_writer_new(&j->writer, j->ctx);
    if (status)
        return compress_problem(j, status, NULL);
    j->layer = 0;
    progress_start(&j->progress, j->input_bytes, j->options.quiet);
    for (size_t i = 0; i < m->count; i++)
        if (compress_item(j, i))
            break;
    progress_end(&j->progress);
    for (size_t i = 0; i < m->text_count && j->p->code == CODE_OK; i++) {
        status = msw_writer_add_metadata(j->writer, m->texts[i].key, m->texts[i].value,
                                         strlen(m->texts[i].value));
        if (status)
            compress_problem(j, status, NULL);
    }
    return j->p->code;
}

static int load(struct job *j)
{
    const struct compress_options *o = &j->options;

    if (context_open(&j->ctx, o->threads, j->p) ||
        model_open(&j->model, j->ctx, o->input, j->p) || check_selection(j))
        return j->p->code;
    for (size_t i = 0; i < j->model.count; i++)
        j->input_bytes += j->model.items[i].bytes;
    j->outcomes = allocate(j->model.count, sizeof *j->outcomes, j->p);
    if (o->permute && j->outcomes)
        j->orders = allocate(j->model.count, sizeof *j->orders, j->p);
    return j->p->code;
}

static int run(struct job *j)
{
    const struct compress_options *o = &j->options;
    struct output place;

    /* Now, and not only after the work. */
    if (output_open(&place, o->output, o->force, j->p))
        return j->p->code;
    output_close(&place);
    if (load(j) || (o->bytes || o->ratio > 0 ? compress_to_target(j) : compress_all(j)) ||
        save_model(j->writer, o->output, o->force, j->p))
        return j->p->code;
    if (!o->quiet)
        compress_report(&j->model, j->outcomes, msw_writer_bytes(j->writer));
    return CODE_OK;
}

int command_compress(int argc, char **argv, struct problem *p)
{
    struct job j;

    memset(&j, 0, sizeof j);
    j.p = p;
    if (compress_options_read(&j.options, argc, argv, p) == CODE_OK)
        run(&j);
    free(j.outcomes);
    compress_orders_free(&j);
    msw_budget_free(j.budget);
    msw_writer_free(j.writer);
    model_close(&j.model);
    msw_context_free(j.ctx);
    compress_options_free(&j.options);
    return p->code;
}
