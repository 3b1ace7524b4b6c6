/* SPDX-License-Identifier: BSD-2-Clause */
/* fashion-train: train the network, or go on training, and save. No libmsw here. */
#include <stdio.h>
#include <stdlib.h>

#include "arguments.h"
#include "data.h"
#include "network.h"
#include "progress.h"
#include "threads.h"
#include "train.h"

static void train(struct trainer *t, int epochs, float first_rate,
                  const struct dataset *evaluation)
{
    int epoch_steps = trainer_epoch_steps(t);
    int steps = epochs * epoch_steps;

    for (int epoch = 0; epoch < epochs; epoch++) {
        double loss = 0.0, start = seconds_now();

        for (int i = 0; i < epoch_steps; i++) {
            int step = epoch * epoch_steps + i;

            t->learning_rate = cosine_rate(first_rate, step, steps);
            loss += trainer_gradient(t);
            trainer_step(t);
            progress_show("dense training", step, steps);
        }
        progress_line("dense epoch %2d of %d: loss %.4f, %.1f s", epoch + 1, epochs,
                      loss / epoch_steps, seconds_now() - start);
    }
    printf("epochs.dense %d\n", epochs);
    printf("accuracy.dense %.2f\n", trainer_accuracy(t, evaluation));
}

int main(int argc, char **argv)
{
    const char *folder = DATA_FOLDER, *load = NULL, *save = NULL;
    int seed = 1, epochs = 10, shift = 0;
    double rate = 0.02, decay = 5e-4;
    bool tune = false;
    const struct argument table[] = {
        {"--data", ARGUMENT_TEXT, &folder, "folder of the data set"},
        {"--load", ARGUMENT_TEXT, &load, "weights to begin with, not random ones"},
        {"--save", ARGUMENT_TEXT, &save, "file for the weights, raw 32-bit floats"},
        {"--seed", ARGUMENT_COUNT, &seed, "another seed, another run"},
        {"--epochs", ARGUMENT_COUNT, &epochs, "passes over the training images"},
        {"--rate", ARGUMENT_NUMBER, &rate, "first learning rate"},
        {"--decay", ARGUMENT_NUMBER, &decay, "weight decay"},
        {"--shift", ARGUMENT_COUNT, &shift, "pixels by which images are moved at most"},
        {"--tune", ARGUMENT_FLAG, &tune,
         "train on 55,000 images, test on the other 5,000"},
        {NULL, ARGUMENT_FLAG, NULL, NULL},
    };
    struct split split;
    struct values weights = {0};
    struct trainer trainer = {0};
    bool good;

    if (!arguments_parse(table, argc, argv))
        return 2;
    blas_use_one_thread();
    if (!split_load(&split, folder, tune))
        return EXIT_FAILURE;
    good = values_new(&weights) &&
           trainer_new(&trainer, &split.training, &weights, (uint64_t)seed);
    if (!good)
        fputs("not enough memory\n", stderr);
    trainer.weight_decay = (float)decay;
    trainer.shift = shift;
    if (good && load == NULL)
        network_initialise(&weights, (uint64_t)seed);
    else
        good = good && network_load(&weights, load);
    if (good) {
        train(&trainer, epochs, (float)rate, &split.evaluation);
        good = save == NULL || network_save(&weights, save);
    }
    trainer_free(&trainer);
    values_free(&weights);
    split_free(&split);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
