/* SPDX-License-Identifier: BSD-2-Clause */
/* The training program that was there first: darknet's network, gradients and steps on
 * Fashion-MNIST. It does not know libmsw. */
#ifndef CNN_H
#define CNN_H

#include <darknet.h>
#include <stdbool.h>

#include "../fashion/data.h"

struct cnn {
    network *net;
    const struct dataset *images;
    uint32_t *order; /* of the images in this epoch */
    uint32_t next;
};

/* False: said on stderr why. Weights of the same seed are the same. */
bool cnn_new(struct cnn *cnn, const char *cfg, const struct dataset *images,
             unsigned seed);
void cnn_free(struct cnn *cnn);

/* A network, with weights from a file unless that is NULL; to be freed by darknet's
 * free_network(). NULL: said on stderr why. */
network *cnn_load(const char *cfg, const char *weights);

uint32_t cnn_epoch_steps(const struct cnn *cnn);

/* darknet's updates of the next mini-batch, in each layer's weight_updates. */
void cnn_updates(struct cnn *cnn);
/* darknet's own step along them; what is left in them is its momentum. */
void cnn_step(struct cnn *cnn, double rate);

/* Classes of net->batch images from `first` on, those beyond the last repeated. */
void cnn_classify(int *class, network *net, const struct dataset *images, uint32_t first);
/* Per cent of the images. */
double cnn_accuracy(network *net, const struct dataset *images);
int cnn_class(const float *scores);

#endif
