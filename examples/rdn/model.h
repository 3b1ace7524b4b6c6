/* SPDX-License-Identifier: BSD-2-Clause */
/* A network with its weights, ready to enlarge images: the dense weights of the model, or
 * compressed ones of a file. */
#ifndef MODEL_H
#define MODEL_H

#include "forward.h"
#include "image.h"
#include "tfjs.h"

struct model {
    struct forward forward;
    uint64_t bytes;       /* of the weights: the file, or 4 for each number */
    uint64_t bytes_plain; /* of a file of the plain form, in half precision */
};

/* All blocks free; `fallback` says on what they run. */
void model_dense(struct model *m, const struct network *net, msw_context *ctx,
                 uint32_t fallback);
/* Ends the program when the file is not one for this network. */
void model_open(struct model *m, const struct network *net, msw_context *ctx,
                const char *path);
void model_free(struct model *m);

struct image model_upscale(struct model *m, const struct image *image);

#endif /* MODEL_H */
