/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The layers of the network, each as a forward function and a backward function.
 * Arrays are dense, row-major floats: images are channel x row x column, batches
 * of vectors are sample x element, weights OIHW or [out][in].
 *
 * A backward function gets the loss's gradient with respect to the layer's output
 * ("out_gradient") and makes those with respect to its input and its weights. The
 * gradients of weights and biases are added to, so that they sum over samples.
 */
#ifndef FASHION_LAYERS_H
#define FASHION_LAYERS_H

#include <stdint.h>

/* A convolution without padding, stride 1, on a square image. */
struct conv_shape {
    int channels; /* of the input */
    int side;     /* of the input */
    int filters;  /* channels of the output */
    int kernel;
};

int conv_out_side(const struct conv_shape *s);

/* `columns`: scratch of channels * kernel^2 rows by out_side^2 columns. One image. */
void conv_forward(float *out, const float *in, const float *weight, const float *bias,
                  const struct conv_shape *s, float *columns);
/* `in_gradient` may be NULL: the first layer needs none. */
void conv_backward(float *in_gradient, float *weight_gradient, float *bias_gradient,
                   const float *out_gradient, const float *in, const float *weight,
                   const struct conv_shape *s, float *columns);

/*
 * The largest of each 2x2 square, and 0 if that is negative: max-pooling and ReLU
 * in one, which is the same as ReLU and then max-pooling. `in` has channels x side x
 * side elements. For training `winner` remembers which of the four it was, 4 for none.
 */
void pool_relu(float *out, const float *in, int channels, int side);
void pool_relu_forward(float *out, uint8_t *winner, const float *in, int channels,
                       int side);
void pool_relu_backward(float *in_gradient, const float *out_gradient,
                        const uint8_t *winner, int channels, int side);

/* out[count][out_size] = in[count][in_size] * weight[out_size][in_size]^T + bias */
void dense_forward(float *out, const float *in, const float *weight, const float *bias,
                   int count, int in_size, int out_size);
void dense_backward(float *in_gradient, float *weight_gradient, float *bias_gradient,
                    const float *out_gradient, const float *in, const float *weight,
                    int count, int in_size, int out_size);

void relu_forward(float *values, int count);
/* `out` is what relu_forward() made: where it is 0, no gradient passes. */
void relu_backward(float *gradient, const float *out, int count);

/*
 * Sum over `count` samples of -log softmax(scores)[label]. Replaces the scores by
 * the gradient of `scale` times that sum.
 */
double softmax_cross_entropy(float *scores, const uint8_t *labels, int count, int classes,
                             float scale);

#endif
