/* SPDX-License-Identifier: BSD-2-Clause */
/* Layers of random geometry, arrays of images that nobody may leave, and convolution by
 * its definition. The functions assert. */
#ifndef MSW_TESTS_CONV_FIXTURE_H
#define MSW_TESTS_CONV_FIXTURE_H

#include <msw/msw.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

#define UNTOUCHED (-12345.0f) /* y before a call that overwrites it */

/* Random numbers, the same in every run: in [low, high], in [-1, 1]. */
size_t pick(size_t low, size_t high);
float value(void);

/* A context as *state, for cmocka_run_group_tests(). */
int conv_set_up(void **state);
int conv_tear_down(void **state);

/* A layer, with the geometry that its convolution is to have. */
typedef struct layer {
    size_t outputs, channels, kernel_h, kernel_w; /* channels of one group */
    size_t groups;
    uint32_t weights;
    msw_unified *u;
    float *dense;              /* as the plan's tensor */
    msw_conv_options options;
    float *bias;
} layer;

layer layer_random(msw_context *ctx);
/* 3x3, 4 channels, 6 outputs, NCHW. */
layer layer_small(msw_context *ctx, size_t groups);
/* For a layer whose sizes are set: weights of random classes; options, without strides,
 * dilation and padding where it is plain. */
void layer_make_weights(msw_context *ctx, layer *l, bool permuted);
void layer_make_options(layer *l, bool plain);
void layer_prune(msw_context *ctx, layer *l); /* all of its weights */
msw_conv *layer_conv(msw_context *ctx, const layer *l);
void layer_free(layer *l);

/* An array of images, whose last element is followed by a page nobody may touch. */
typedef struct images {
    size_t batch, channels, height, width, ld, batch_stride, count;
    bool nchw;
    float *data;
    void *map;
    size_t map_bytes;
} images;

/* Sliced: out of a larger array. */
images images_new(size_t batch, size_t channels, size_t height, size_t width, bool nchw,
                  bool sliced);
void images_fill(images *m);
void images_free(images *m);
msw_conv_call images_call(const images *x, const images *y, bool contiguous);

/* Run on random images with and without a workspace: the same bits, as the definition
 * has them, and nothing else touched. */
void check_run(const layer *l, const msw_conv *conv, size_t batch, size_t height,
               size_t width);

#endif /* MSW_TESTS_CONV_FIXTURE_H */
