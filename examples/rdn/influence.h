/* SPDX-License-Identifier: BSD-2-Clause */
/* What an error of a weight does to the network's output, on average over images and
 * without labels: the mean square of what the weight multiplies, times how much of an error
 * in its output channel arrives at the end, measured with a small disturbance. */
#ifndef INFLUENCE_H
#define INFLUENCE_H

#include "forward.h"

struct influence {
    double *inputs;  /* mean square of each input channel */
    double *outputs; /* squared change of the network's output over that of the channel */
};

/* Of each layer; only convolutions have it. `f` has dense weights; `images` as for
 * forward_start(). */
struct influence *influence_measure(struct forward *f, const float *images, size_t batch,
                                    size_t height, size_t width);
void influence_free(struct influence *all, const struct network *net);

/* Of each weight of a layer, [h][w][in][out]; their mean is returned. */
double influence_weights(float *importance, const struct influence *i,
                         const struct layer *l);

#endif /* INFLUENCE_H */
