/* SPDX-License-Identifier: BSD-2-Clause */
/* The training program that was there first: FANN's network, gradients and steps, in
 * mini-batches of Fashion-MNIST. It does not know libmsw. */
#ifndef MLP_H
#define MLP_H

#include <floatfann.h>

#include "../fashion/data.h"

enum { UNITS = 200, BATCH = 16 };

struct mlp {
    struct fann *net;
    const struct dataset *images;
    uint32_t *order; /* of the images in this epoch */
    uint32_t next;
};

/* Weights of the same seed are the same. False: not enough memory. */
bool mlp_new(struct mlp *mlp, const struct dataset *images, unsigned seed);
void mlp_free(struct mlp *mlp);

uint32_t mlp_epoch_steps(const struct mlp *mlp);

/* FANN's slopes of the next mini-batch, their sum, in net->train_slopes. */
void mlp_slopes(struct mlp *mlp);
/* FANN's own step along net->train_slopes, which are zero afterwards. */
void mlp_step(struct mlp *mlp, double rate);

/* Per cent of the images whose largest output is that of their label. */
double mlp_accuracy(struct fann *net, const struct dataset *images);
int mlp_class(const float *outputs);

#endif
