/* SPDX-License-Identifier: BSD-2-Clause */
#include "compress.h"
#include "output.h"
#include "progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct job {
    struct compress_options options;
    struct problem *p;
    msw_context *ctx;
    struct model model;
    msw_writer *writer;
    struct outcome *outcomes;
    struct progress progress;
};

static int library_problem(struct job *j, msw_status status, const struct item *item)
{
    return problem_status(j->p, status, j->model.path, item ? item->name : NULL,
                          j->writer ? msw_writer_error(j->writer) : "");
}

static int make_plan(msw_plan **out, struct job *j, const struct item *item,
                     const msw_plan_options *how)
{
    const msw_status status = msw_plan_new(out, j->ctx, item->shape, item->rank, how);

    if (status == MSW_E_INVAL)
        return model_problem(j->p, CODE_USAGE, &j->model, item,
                             "--kind or --groups do not fit its shape");
    return status ? library_problem(j, status, item) : j->p->code;
}

static msw_status project(msw_unified **out, const struct job *j, msw_plan *plan,
                          const msw_tensor *weights)
{
    msw_projection_options shares;

    msw_projection_options_init(&shares);
    shares.prune = j->options.prune;
    shares.unify = j->options.unify;
    return msw_unified_from(out, plan, weights, &shares);
}

/* ||to_dense(u) - weights|| / ||weights||; weights become the dense form of u. */
static msw_status measure_error(double *out, msw_tensor *weights, const msw_unified *u,
                                struct problem *p)
{
    const size_t count = msw_tensor_count(weights);
    float *data = msw_tensor_data(weights), *given = allocate(count, sizeof *given, p);
    double distance = 0, norm = 0;
    msw_status status;

    if (!given)
        return MSW_E_NOMEM;
    memcpy(given, data, count * sizeof *given);
    status = msw_unified_to_dense(weights, u);
    for (size_t i = 0; i < count && !status; i++) {
        const double change = (double)data[i] - (double)given[i];
        distance += change * change;
        norm += (double)given[i] * (double)given[i];
    }
    *out = norm > 0 ? sqrt(distance / norm) : 0;
    free(given);
    return status;
}

static int add_unified(struct job *j, const struct item *item, msw_tensor *weights,
                       const msw_plan_options *how, struct outcome *outcome)
{
    const uint32_t dtype = j->options.f16 || item->type == ELEMENT_F16 ? MSW_DTYPE_F16 :
                                                                         MSW_DTYPE_F32;
    msw_store_options store;
    msw_unified *u;
    msw_plan *plan;
    msw_status status;

    if (make_plan(&plan, j, item, how))
        return j->p->code;
    status = project(&u, j, plan, weights);
    msw_store_options_init(&store);
    store.magnitudes = store.free_weights = dtype;
    msw_unified_info_init(&outcome->info);
    outcome->unified = true;
    if (!status)
        status = msw_writer_add_unified(j->writer, item->name, u, &store);
    if (!status)
        status = msw_unified_get_info(&outcome->info, u);
    if (!status)
        status = measure_error(&outcome->error, weights, u, j->p);
    if (status)
        library_problem(j, status, item);
    msw_unified_free(u);
    msw_plan_free(plan);
    return j->p->code;
}

static int add_plain(struct job *j, const struct item *item, const msw_tensor *values)
{
    msw_store_options store;
    msw_status status;

    msw_store_options_init(&store);
    if (j->options.f16 || item->type == ELEMENT_F16)
        store.free_weights = MSW_DTYPE_F16;
    status = msw_writer_add_tensor(j->writer, item->name, values, &store);
    if (status == MSW_E_NUMERIC) { /* infinities exist in f32 only */
        store.free_weights = MSW_DTYPE_F32;
        status = msw_writer_add_tensor(j->writer, item->name, values, &store);
    }
    return status ? library_problem(j, status, item) : j->p->code;
}

/* What is no tensor for the library: bytes in the metadata. */
static int add_kept(struct job *j, const struct item *item)
{
    const size_t room = item->bytes + 32 + 21 * (size_t)item->rank;
    char *key = allocate(strlen(item->name) + sizeof KEPT_PREFIX, 1, j->p);
    char *value = key ? allocate(room, 1, j->p) : NULL;
    size_t length;
    msw_status status;

    if (value) {
        strcat(strcpy(key, KEPT_PREFIX), item->name);
        length = (size_t)sprintf(value, "%s[", element_name(item->type));
        for (uint32_t i = 0; i < item->rank; i++)
            length += (size_t)sprintf(value + length, i ? ",%zu" : "%zu", item->shape[i]);
        length += (size_t)sprintf(value + length, "]\n");
        if (model_read((uint8_t *)value + length, &j->model, item, j->p) == CODE_OK) {
            status = msw_writer_add_metadata(j->writer, key, value, length + item->bytes);
            if (status)
                library_problem(j, status, item);
        }
    }
    free(value);
    free(key);
    return j->p->code;
}

static int add_item(struct job *j, size_t index)
{
    const struct item *item = &j->model.items[index];
    struct outcome *outcome = &j->outcomes[index];
    const uint64_t before = msw_writer_bytes(j->writer);
    msw_plan_options how;
    msw_tensor *tensor;

    if (problem_interrupted(j->p))
        return j->p->code;
    if (!item_is_tensor(item)) {
        outcome->kept = true;
        add_kept(j, item);
    } else if (model_tensor(&tensor, &j->model, item, j->p) == CODE_OK) {
        if (compress_selects(&how, &j->options, item))
            add_unified(j, item, tensor, &how, outcome);
        else
            add_plain(j, item, tensor);
        msw_tensor_free(tensor);
    }
    outcome->bytes = msw_writer_bytes(j->writer) - before;
    if (j->p->code == CODE_OK)
        progress_step(&j->progress, item->bytes, item->name);
    return j->p->code;
}

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

static int add_all(struct job *j)
{
    struct model *m = &j->model;
    uint64_t total = 0;
    msw_status status;

    j->outcomes = allocate(m->count, sizeof *j->outcomes, j->p);
    if (!j->outcomes)
        return j->p->code;
    for (size_t i = 0; i < m->count; i++)
        total += m->items[i].bytes;
    progress_start(&j->progress, total, j->options.quiet);
    for (size_t i = 0; i < m->count; i++)
        if (add_item(j, i))
            break;
    progress_end(&j->progress);
    for (size_t i = 0; i < m->text_count && j->p->code == CODE_OK; i++) {
        status = msw_writer_add_metadata(j->writer, m->texts[i].key, m->texts[i].value,
                                         strlen(m->texts[i].value));
        if (status)
            library_problem(j, status, NULL);
    }
    return j->p->code;
}

struct sink {
    struct output *output;
    struct problem *p;
};

static int64_t write_sink(const void *data, size_t size, void *user)
{
    const struct sink *sink = user;

    return output_write(sink->output, data, size, sink->p) ? -1 : (int64_t)size;
}

static int save(struct job *j)
{
    struct output output;
    struct sink sink = {&output, j->p};
    msw_status status;
    msw_io io;

    if (output_open(&output, j->options.output, j->options.force, j->p))
        return j->p->code;
    msw_io_init(&io);
    io.user = &sink;
    io.write = write_sink;
    status = msw_writer_write(j->writer, &io);
    if (status)
        problem_status(j->p, status, j->options.output, NULL,
                       msw_writer_error(j->writer));
    else if (problem_interrupted(j->p) == CODE_OK)
        output_commit(&output, j->p);
    output_close(&output);
    return j->p->code;
}

static int run(struct job *j)
{
    const struct compress_options *o = &j->options;
    struct output place;
    msw_status status;

    /* Not only after the work. */
    if (output_open(&place, o->output, o->force, j->p))
        return j->p->code;
    output_close(&place);
    if (context_open(&j->ctx, o->threads, j->p) ||
        model_open(&j->model, j->ctx, o->input, j->p))
        return j->p->code;
    status = msw_writer_new(&j->writer, j->ctx);
    if (status)
        return library_problem(j, status, NULL);
    if (check_selection(j) || add_all(j) || save(j))
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
    msw_writer_free(j.writer);
    model_close(&j.model);
    msw_context_free(j.ctx);
    compress_options_free(&j.options);
    return p->code;
}
