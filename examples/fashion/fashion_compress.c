/* SPDX-License-Identifier: BSD-2-Clause */
/* fashion-compress: trained weights in, a compact file out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "compression.h"
#include "order.h"
#include "picture.h"
#include "threads.h"

struct settings {
    const char *folder, *load, *save, *save_dense, *picture;
    int seed, shift;
    bool tune, callbacks, order;
    double decay;
    struct recipe recipe;
};

static bool parse(struct settings *s, int argc, char **argv)
{
    const char *layer[LAYERS] = {NULL};
    struct recipe *r = &s->recipe;
    const struct argument table[] = {
        {"--data", ARGUMENT_TEXT, &s->folder, "folder of the data set"},
        {"--load", ARGUMENT_TEXT, &s->load, "the trained weights, from fashion-train"},
        {"--save", ARGUMENT_TEXT, &s->save, "the compact file to be written"},
        {"--save-dense", ARGUMENT_TEXT, &s->save_dense, "the same weights as raw floats"},
        {"--picture", ARGUMENT_TEXT, &s->picture, "PNG of weights before and after"},
        {"--callbacks", ARGUMENT_FLAG, &s->callbacks, "let libmsw run the loop"},
        {"--latent", ARGUMENT_FLAG, &r->latent,
         "weights behind their projection, whose signs may flip, instead of ADMM"},
        {"--order", ARGUMENT_FLAG, &s->order,
         "filters and units so that those in a block are alike"},
        {"--tune", ARGUMENT_FLAG, &s->tune, "train on 55,000 images, test on 5,000"},
        {"--seed", ARGUMENT_COUNT, &s->seed, "another seed, another run"},
        {"--conv1", ARGUMENT_TEXT, &layer[0], "as in conv1:1x5:0:0"},
        {"--conv2", ARGUMENT_TEXT, &layer[1], "block, share pruned, share unified"},
        {"--fc1", ARGUMENT_TEXT, &layer[2], "likewise"},
        {"--fc2", ARGUMENT_TEXT, &layer[3], "likewise"},
        {"--admm-epochs", ARGUMENT_COUNT, &r->admm_epochs, "passes over the images"},
        {"--retrain-epochs", ARGUMENT_COUNT, &r->retrain_epochs, "after the freeze"},
        {"--updates", ARGUMENT_COUNT, &r->updates, "of Z and U"},
        {"--admm-rate", ARGUMENT_NUMBER, &r->admm_rate, "first learning rate"},
        {"--retrain-rate", ARGUMENT_NUMBER, &r->retrain_rate, "first learning rate"},
        {"--rho", ARGUMENT_NUMBER, &r->rho, "weight of the penalty at first"},
        {"--rho-end", ARGUMENT_NUMBER, &r->rho_end, "and at last"},
        {"--ramp", ARGUMENT_NUMBER, &r->ramp, "part of ADMM in which the shares rise"},
        {"--mantissa", ARGUMENT_COUNT, &r->mantissa,
         "bits of the mantissas in the file: 0 to 7, or 10 for half-precision floats"},
        {"--bytes", ARGUMENT_COUNT, &r->bytes,
         "of the file: the blocks to prune and unify in all layers together"},
        {"--weigh", ARGUMENT_FLAG, &r->weigh,
         "the layers by how much the loss minds a change, in --bytes"},
        {"--decay", ARGUMENT_NUMBER, &s->decay, "weight decay"},
        {"--shift", ARGUMENT_COUNT, &s->shift,
         "pixels by which images are moved at most"},
        {NULL, ARGUMENT_FLAG, NULL, NULL},
    };

    if (!arguments_parse(table, argc, argv))
        return false;
    for (int i = 0; i < LAYERS; i++)
        if (layer[i] != NULL && !recipe_set_layer(r, layer[i]))
            return false;
    if (s->load == NULL || r->updates == 0)
        fputs("--load FILE is needed, and at least one update\n", stderr);
    return s->load != NULL && r->updates > 0;
}

static bool compress(struct compression *c, const struct settings *s,
                     const struct dataset *evaluation)
{
    struct trainer *t = c->trainer;

    if (!(s->callbacks ? callbacks_admm(c) : own_loop_admm(c)))
        return false;
    if (!compression_check(c, msw_admm_freeze(c->admm), "freeze"))
        return false;
    printf("accuracy.projected %.2f\n", trainer_accuracy(t, evaluation));
    if (!(s->callbacks ? callbacks_retrain(c) : own_loop_retrain(c)))
        return false;
    printf("accuracy.retrained %.2f\n", trainer_accuracy(t, evaluation));
    printf("epochs.admm %d\n", s->recipe.admm_epochs);
    printf("epochs.retraining %d\n", s->recipe.retrain_epochs);
    return compression_print_layers(c);
}

static bool save(const struct compression *c, const struct settings *s,
                 const struct values *before)
{
    const struct values *after = c->trainer->weights;

    return (s->save == NULL || compression_save(c, s->save)) &&
           (s->save_dense == NULL || network_save(after, s->save_dense)) &&
           (s->picture == NULL || picture_save(s->picture, before, after));
}

/* The network computes what it did, up to rounding: its loss shows whether that is so. */
static bool reorder(const struct settings *s, struct trainer *trainer,
                    struct values *before)
{
    enum { LOSS_PARTS = 64 };
    struct values *weights = trainer->weights;
    double loss = trainer_loss(trainer, LOSS_PARTS);

    if (!order_network(weights, &s->recipe))
        return false;
    memcpy(before->all, weights->all, PARAMETER_VALUES * sizeof(float));
    printf("order.loss %.9g %.9g\n", loss, trainer_loss(trainer, LOSS_PARTS));
    return true;
}

static bool run(const struct settings *s, struct split *split, struct values *before,
                struct values *weights, struct trainer *trainer)
{
    struct compression c;
    bool good;

    if (!values_new(before) || !values_new(weights) ||
        !trainer_new(trainer, &split->training, weights, (uint64_t)s->seed + 1000)) {
        fputs("not enough memory\n", stderr);
        return false;
    }
    if (!network_load(before, s->load) || !network_load(weights, s->load))
        return false;
    if (s->order && !reorder(s, trainer, before))
        return false;
    trainer->weight_decay = (float)s->decay;
    trainer->shift = s->shift;
    if (!compression_new(&c, trainer, &s->recipe))
        return false;
    good = compress(&c, s, &split->evaluation) && save(&c, s, before);
    compression_free(&c);
    return good;
}

int main(int argc, char **argv)
{
    struct settings s = {.folder = DATA_FOLDER, .seed = 1, .recipe = default_recipe};
    struct split split;
    struct values before = {0}, weights = {0};
    struct trainer trainer = {0};
    bool good;

    if (!parse(&s, argc, argv))
        return 2;
    blas_use_one_thread();
    if (!split_load(&split, s.folder, s.tune))
        return EXIT_FAILURE;
    good = run(&s, &split, &before, &weights, &trainer);
    trainer_free(&trainer);
    values_free(&weights);
    values_free(&before);
    split_free(&split);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
