/* SPDX-License-Identifier: BSD-2-Clause */
/* The weights of a convolution of Keras, [h][w][in][out], as libmsw sees them: a tensor of
 * shape [out][h][w][in] whose strides say where the numbers lie. */
#ifndef WEIGHTS_H
#define WEIGHTS_H

#include <msw/msw.h>

#include "network.h"

/* `data` is of the layer's shape, the weights or something about each of them; it is used
 * in place. */
msw_tensor *weights_tensor(msw_context *ctx, const struct layer *l, float *data);
msw_plan *weights_plan(msw_context *ctx, const struct layer *l, uint32_t block_rows,
                       uint32_t block_columns);
/* All blocks free. */
msw_unified *weights_free(msw_context *ctx, const struct layer *l);
/* Zeroed numbers for a tensor of the layer's shape. */
float *weights_data(const struct layer *l);

/* In half precision, under the layer's name with "/bias" behind. */
void weights_store_bias(msw_writer *writer, msw_context *ctx, const struct layer *l,
                        const float *bias);
/* From a file. `bias` gets the layer's number of channels. Ends the program when the file does not
 * have the layer. */
msw_unified *weights_load(float *bias, msw_reader *reader, const struct layer *l);

#endif /* WEIGHTS_H */
