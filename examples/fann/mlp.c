/* SPDX-License-Identifier: BSD-2-Clause */
#include "mlp.h"

#include <stdlib.h>
/* Gradients without steps are in this header only. */
#include <fann_internal.h>

static void shuffle(struct mlp *mlp)
{
    for (uint32_t i = mlp->images->count; i > 1; i--) {
        uint32_t other = (uint32_t)rand() % i, swapped = mlp->order[other];

        mlp->order[other] = mlp->order[i - 1];
        mlp->order[i - 1] = swapped;
    }
    mlp->next = 0;
}

bool mlp_new(struct mlp *mlp, const struct dataset *images, unsigned seed)
{
    *mlp = (struct mlp){.images = images};
    mlp->net = fann_create_standard(3, IMAGE_SIZE, UNITS, CLASSES);
    mlp->order = malloc(images->count * sizeof *mlp->order);
    if (mlp->net == NULL || mlp->order == NULL) {
        mlp_free(mlp);
        return false;
    }
    fann_set_activation_function_hidden(mlp->net, FANN_SIGMOID_SYMMETRIC);
    fann_set_activation_function_output(mlp->net, FANN_SIGMOID);
    /* With the default, FANN's slopes are not the gradient of the error. */
    fann_set_train_error_function(mlp->net, FANN_ERRORFUNC_LINEAR);
    fann_clear_train_arrays(mlp->net); /* allocates them */
    srand(seed);
    fann_randomize_weights(mlp->net, -0.05f, 0.05f);
    for (uint32_t i = 0; i < images->count; i++)
        mlp->order[i] = i;
    shuffle(mlp);
    return true;
}

void mlp_free(struct mlp *mlp)
{
    if (mlp->net != NULL)
        fann_destroy(mlp->net);
    free(mlp->order);
    *mlp = (struct mlp){0};
}

uint32_t mlp_epoch_steps(const struct mlp *mlp)
{
    return mlp->images->count / BATCH;
}

void mlp_slopes(struct mlp *mlp)
{
    struct fann *net = mlp->net;

    if (mlp->next + BATCH > mlp->images->count)
        shuffle(mlp);
    for (int i = 0; i < BATCH; i++) {
        uint32_t image = mlp->order[mlp->next++];
        float input[IMAGE_SIZE], target[CLASSES] = {0};

        image_normalise(input, mlp->images->images + (size_t)image * IMAGE_SIZE);
        target[mlp->images->labels[image]] = 1;
        fann_run(net, input);
        fann_compute_MSE(net, target);
        fann_backpropagate_MSE(net);
        fann_update_slopes_batch(net, net->first_layer + 1, net->last_layer - 1);
    }
}

void mlp_step(struct mlp *mlp, double rate)
{
    fann_set_learning_rate(mlp->net, (float)rate);
    fann_update_weights_batch(mlp->net, BATCH, 0, fann_get_total_connections(mlp->net));
}

int mlp_class(const float *outputs)
{
    int best = 0;

    for (int i = 1; i < CLASSES; i++)
        if (outputs[i] > outputs[best])
            best = i;
    return best;
}

double mlp_accuracy(struct fann *net, const struct dataset *images)
{
    float input[IMAGE_SIZE];
    uint32_t right = 0;

    for (uint32_t i = 0; i < images->count; i++) {
        image_normalise(input, images->images + (size_t)i * IMAGE_SIZE);
        right += mlp_class(fann_run(net, input)) == images->labels[i];
    }
    return 100.0 * right / images->count;
}
