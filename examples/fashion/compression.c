/* SPDX-License-Identifier: BSD-2-Clause */
#include "compression.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "progress.h"

const struct recipe default_recipe = {
    .layer = {
        {"conv1", CONV1_WEIGHT, 4, 5, 0.0, 0.0},
        {"conv2", CONV2_WEIGHT, 2, 4, 0.2, 0.8},
        {"fc1", FC1_WEIGHT, 4, 8, 0.65, 0.35},
        {"fc2", FC2_WEIGHT, 1, 4, 0.0, 0.0},
    },
    .admm_epochs = 14,
    .retrain_epochs = 6,
    .updates = 100,
    .admm_rate = 0.02,
    .retrain_rate = 0.02,
    .rho = 1e-2,
    .rho_end = 1.0,
    .ramp = 0.5,
    .mantissa = F16_MANTISSA,
};

bool recipe_set_layer(struct recipe *recipe, const char *text)
{
    struct layer_recipe layer = {0};
    char name[16];
    int used = 0;

    if (sscanf(text, "%15[^:]:%ux%u:%lf:%lf%n", name, &layer.block_rows,
               &layer.block_columns, &layer.prune, &layer.unify, &used) == 5 &&
        text[used] == '\0')
        for (int i = 0; i < LAYERS; i++)
            if (strcmp(name, recipe->layer[i].name) == 0) {
                layer.name = recipe->layer[i].name;
                layer.parameter = recipe->layer[i].parameter;
                recipe->layer[i] = layer;
                return true;
            }
    fprintf(stderr, "%s: not of the form fc1:4x8:0.6:0.4\n", text);
    return false;
}

bool compression_check(const struct compression *c, msw_status status, const char *what)
{
    if (status != MSW_OK)
        fprintf(stderr, "%s: %s%s%s\n", what, msw_status_text(status),
                c->admm ? ": " : "", c->admm ? msw_admm_error(c->admm) : "");
    return status == MSW_OK;
}

static void log_line(int level, const char *text, void *user)
{
    (void)user;
    if (level <= MSW_LOG_WARNING)
        fprintf(stderr, "libmsw: %s\n", text);
}

static msw_status new_context(msw_context **context)
{
    msw_context_options options;

    msw_context_options_init(&options);
    options.log = log_line;
#ifdef _OPENMP
    options.threads = (uint32_t)omp_get_max_threads();
#endif
    return msw_context_new(context, &options);
}

static msw_status new_solver(struct compression *c)
{
    msw_admm_options options;

    msw_admm_options_init(&options);
    options.updates = (size_t)c->recipe->updates;
    options.update_every = (size_t)compression_update_every(c);
    options.rho = c->recipe->rho;
    options.rho_end = c->recipe->rho_end;
    options.ramp = c->recipe->ramp;
    if (c->recipe->latent)
        options.relaxation = MSW_RELAXATION_STRAIGHT;
    options.momentum = (double)c->trainer->momentum;
    options.weight_decay = (double)c->trainer->weight_decay;
    return msw_admm_new(&c->admm, c->context, &options);
}

msw_status layer_plan(msw_plan **plan, msw_context *context,
                      const struct layer_recipe *layer)
{
    const struct parameter *p = &network_parameters[layer->parameter];
    msw_plan_options options;

    msw_plan_options_init(&options);
    options.weights = p->rank == 4 ? MSW_WEIGHTS_OIHW : MSW_WEIGHTS_OI;
    options.block_rows = layer->block_rows;
    options.block_columns = layer->block_columns;
    return msw_plan_new(plan, context, p->shape, (uint32_t)p->rank, &options);
}

/* `layer` NULL: biases, which stay as they are. */
static msw_status add_layer(struct compression *c, int parameter,
                            const struct layer_recipe *layer)
{
    msw_layer_options options;
    msw_plan *plan = NULL;
    msw_status status = MSW_OK;

    msw_layer_options_init(&options);
    options.name = network_parameters[parameter].name;
    if (layer != NULL) {
        options.prune = layer->prune;
        options.unify = layer->unify;
        status = layer_plan(&plan, c->context, layer);
    }
    if (status == MSW_OK)
        status = msw_admm_add_layer(c->admm, c->weights[parameter], plan, &options);
    msw_plan_free(plan);
    return status;
}

static msw_status borrow(struct compression *c, msw_tensor **tensor, int parameter,
                         const struct values *values)
{
    const struct parameter *p = &network_parameters[parameter];

    return msw_tensor_borrow(tensor, c->context, values->of[parameter], p->shape, NULL,
                             (uint32_t)p->rank);
}

static msw_status add_parameter(struct compression *c, int parameter)
{
    const struct layer_recipe *layer = NULL;
    msw_status status = borrow(c, &c->weights[parameter], parameter, c->trainer->weights);

    if (status == MSW_OK)
        status = borrow(c, &c->gradient[parameter], parameter, &c->trainer->gradient);
    if (status == MSW_OK)
        status = borrow(c, &c->velocity[parameter], parameter, &c->trainer->velocity);
    for (int i = 0; i < LAYERS; i++)
        if ((int)c->recipe->layer[i].parameter == parameter)
            layer = &c->recipe->layer[i];
    return status == MSW_OK ? add_layer(c, parameter, layer) : status;
}

/* How the file's numbers are stored. */
static void store_as(msw_store_options *options, const struct recipe *recipe)
{
    msw_store_options_init(options);
    options->encoding = MSW_ENCODING_TRANSPORT;
    options->magnitudes = options->free_weights = MSW_DTYPE_F16;
    if (recipe->mantissa < F16_MANTISSA) {
        options->magnitudes = options->free_weights = MSW_DTYPE_LOG;
        options->magnitude_bits = options->free_bits = (uint32_t)recipe->mantissa;
    }
}

/* What a change of the layers' weights means for the loss, so that the budget weighs it by
 * that: each layer alone is changed a little, and the loss looked at. */

enum { LOSS_PARTS = 256 };

struct probe {
    struct compression *c;
    const struct values *before;
    double change[PARAMETERS]; /* the last one seen: ||W - before||^2 / mean of before^2 */
};

static int probe_loss(double *loss, const float *const *weights, uint32_t layer_count,
                      void *user)
{
    struct probe *p = user;

    for (uint32_t i = 0; i < layer_count; i++) {
        size_t count = network_parameters[i].count;
        double change = 0.0, norm = 0.0;

        for (size_t k = 0; k < count; k++) {
            double was = (double)p->before->of[i][k];
            double is = (double)weights[i][k];

            change += (is - was) * (is - was);
            norm += was * was;
        }
        if (change > 0.0)
            p->change[i] = change / norm * (double)count;
    }
    *loss = trainer_loss(p->c->trainer, LOSS_PARTS);
    return 0;
}

/* Of a layer: growth of the loss per change, kept within what a learning rate and rho that
 * suit all layers bear. */
static msw_status set_weights(struct compression *c, const struct probe *p, double base,
                              const double *losses)
{
    enum { MOST = 10 };
    double weight[LAYERS], mean = 0.0, count = 0.0;
    msw_status status = MSW_OK;

    for (int i = 0; i < LAYERS; i++) {
        enum parameter_id id = c->recipe->layer[i].parameter;
        double n = (double)network_parameters[id].count;

        weight[i] = fmax(losses[id] - base, 1e-4) / p->change[id];
        mean += n * log(weight[i]);
        count += n;
    }
    for (int i = 0; status == MSW_OK && i < LAYERS; i++) {
        msw_budget_layer layer;
        double w = weight[i] / exp(mean / count);

        msw_budget_layer_init(&layer);
        layer.weight = fmin(fmax(w, 1.0 / MOST), MOST);
        progress_line("%s: loss %.4f to %.4f, weight %.2f", c->recipe->layer[i].name, base,
                      losses[c->recipe->layer[i].parameter], w);
        status = msw_admm_set_budget_layer(
            c->admm, (uint32_t)c->recipe->layer[i].parameter, &layer);
    }
    return status;
}

static msw_status weigh_layers(struct compression *c)
{
    struct probe p = {.c = c};
    struct values before = {0};
    msw_sensitivity_point point;
    double losses[PARAMETERS], base;
    msw_status status = MSW_E_NOMEM;

    msw_sensitivity_point_init(&point);
    point.prune = 0.2;
    point.unify = 0.8;
    if (values_new(&before)) {
        memcpy(before.all, c->trainer->weights->all, PARAMETER_VALUES * sizeof(float));
        p.before = &before;
        status = msw_admm_sensitivity(losses, &base, c->admm, &point, 1, probe_loss, &p);
    }
    values_free(&before);
    return status == MSW_OK ? set_weights(c, &p, base, losses) : status;
}

/* The whole file: what is not weights in blocks is stored in about so many bytes. */
static msw_status set_budget(struct compression *c)
{
    enum { RECORD = 48, NUMBER = 2, METADATA = 128 };
    msw_budget_options options;
    msw_store_options store;
    msw_status status;

    store_as(&store, c->recipe);
    msw_budget_options_init(&options);
    options.store = &store;
    options.rest = METADATA;
    for (int i = 0; i < PARAMETERS; i++)
        if (msw_admm_plan(c->admm, (uint32_t)i) == NULL)
            options.rest += RECORD + NUMBER * (double)network_parameters[i].count;
    status = msw_admm_set_budget(c->admm, c->recipe->bytes, &options);
    return status == MSW_OK && c->recipe->weigh ? weigh_layers(c) : status;
}

bool compression_new(struct compression *c, struct trainer *trainer,
                     const struct recipe *recipe)
{
    msw_status status;

    *c = (struct compression){.trainer = trainer, .recipe = recipe};
    msw_host_init(&c->host);
    status = new_context(&c->context);
    if (status == MSW_OK)
        status = new_solver(c);
    for (int i = 0; status == MSW_OK && i < PARAMETERS; i++)
        status = add_parameter(c, i);
    if (status == MSW_OK && recipe->bytes > 0)
        status = set_budget(c);
    if (compression_check(c, status, "setting up the solver"))
        return true;
    compression_free(c);
    return false;
}

void compression_free(struct compression *c)
{
    for (int i = 0; i < PARAMETERS; i++) {
        msw_tensor_free(c->weights[i]);
        msw_tensor_free(c->gradient[i]);
        msw_tensor_free(c->velocity[i]);
    }
    msw_admm_free(c->admm);
    msw_context_free(c->context);
    *c = (struct compression){0};
}

int compression_admm_steps(const struct compression *c)
{
    return c->recipe->admm_epochs * trainer_epoch_steps(c->trainer);
}

int compression_retrain_steps(const struct compression *c)
{
    return c->recipe->retrain_epochs * trainer_epoch_steps(c->trainer);
}

int compression_update_every(const struct compression *c)
{
    int steps = compression_admm_steps(c);
    int every = (c->recipe->latent ? steps - steps / 4 : steps) / c->recipe->updates;

    return every > 0 ? every : 1;
}

void compression_report(const struct compression *c, int step, int steps, double loss)
{
    bool frozen = msw_admm_phase(c->admm) == MSW_PHASE_FROZEN;
    const char *what = frozen                ? "masked retraining"
                       : c->recipe->latent ? "latent weights"
                                           : "ADMM";
    int epoch_steps = trainer_epoch_steps(c->trainer);
    int every = compression_update_every(c);

    if (c->quiet)
        return;
    progress_show(what, step, steps);
    /* A line for each epoch: at the first report after its end. */
    if (step / epoch_steps == (step - every) / epoch_steps && step < steps)
        return;
    if (frozen)
        progress_line("%s, epoch %.1f of %d: loss %.4f", what, (double)step / epoch_steps,
                      c->recipe->retrain_epochs, loss);
    else if (c->recipe->latent)
        progress_line("%s, epoch %.1f of %d: loss %.4f", what, (double)step / epoch_steps,
                      c->recipe->admm_epochs, loss);
    else
        progress_line(
            "%s, epoch %.1f of %d: loss %.4f, rho %.3f, |W-Z|/|W| conv2 %.3f fc1 %.3f",
            what, (double)step / epoch_steps, c->recipe->admm_epochs, loss,
            msw_admm_rho(c->admm, FC1_WEIGHT),
            msw_admm_residual(c->admm, CONV2_WEIGHT, MSW_RESIDUAL_PRIMAL),
            msw_admm_residual(c->admm, FC1_WEIGHT, MSW_RESIDUAL_PRIMAL));
}

static msw_status write_parameter(msw_writer *writer, const struct compression *c,
                                  int parameter)
{
    const char *name = network_parameters[parameter].name;
    msw_store_options options;
    msw_unified *unified;
    msw_status status;

    store_as(&options, c->recipe);
    if (msw_admm_plan(c->admm, (uint32_t)parameter) == NULL)
        return msw_writer_add_tensor(writer, name, c->weights[parameter], &options);
    status = msw_admm_unify(&unified, c->admm, (uint32_t)parameter);
    if (status == MSW_OK)
        status = msw_writer_add_unified(writer, name, unified, &options);
    msw_unified_free(unified);
    return status;
}

bool compression_save(const struct compression *c, const char *path)
{
    static const char network[] = "LeNet 20-50-500";
    msw_writer *writer;
    msw_status status = msw_writer_new(&writer, c->context);

    for (int i = 0; status == MSW_OK && i < PARAMETERS; i++)
        status = write_parameter(writer, c, i);
    if (status == MSW_OK)
        status = msw_writer_add_metadata(writer, "network", network, sizeof network - 1);
    if (status == MSW_OK)
        status = msw_writer_save(writer, path);
    if (status != MSW_OK)
        fprintf(stderr, "%s: %s: %s\n", path, msw_status_text(status),
                writer != NULL ? msw_writer_error(writer) : "");
    msw_writer_free(writer);
    return status == MSW_OK;
}

static bool print_layer(const struct compression *c, const struct layer_recipe *layer)
{
    msw_unified_info info;
    msw_unified *unified;
    msw_status status = msw_admm_unify(&unified, c->admm, layer->parameter);

    msw_unified_info_init(&info);
    if (status == MSW_OK)
        status = msw_unified_get_info(&info, unified);
    msw_unified_free(unified);
    if (!compression_check(c, status, layer->name))
        return false;
    printf("layers.%s.block \"%ux%u\"\n", layer->name, layer->block_rows,
           layer->block_columns);
    printf("layers.%s.weights %llu\n", layer->name, (unsigned long long)info.weights);
    printf("layers.%s.pruned %.4f\n", layer->name,
           (double)info.pruned_blocks / (double)info.blocks);
    printf("layers.%s.unified %.4f\n", layer->name,
           (double)info.unified_blocks / (double)info.blocks);
    printf("layers.%s.free %.4f\n", layer->name,
           (double)info.free_blocks / (double)info.blocks);
    return true;
}

bool compression_print_layers(const struct compression *c)
{
    for (int i = 0; i < LAYERS; i++)
        if (!print_layer(c, &c->recipe->layer[i]))
            return false;
    return true;
}
