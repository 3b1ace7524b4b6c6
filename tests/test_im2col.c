/* SPDX-License-Identifier: BSD-2-Clause */
#include "im2col.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { CASES = 3000 };
static const float untouched = -7;

static uint32_t seed = 1;

/* In [low, high]. */
static size_t pick(size_t low, size_t high)
{
    seed = seed * 1664525u + 1013904223u;
    return low + (seed >> 8) % (high - low + 1);
}

typedef struct problem {
    msw__window w;
    msw__images x;
    size_t batch, pixels, elements; /* output pixels of the batch, size of the window */
    bool nchw;
    float *data;
} problem;

static size_t outputs(size_t size, size_t pads, size_t kernel, size_t dilation,
                      size_t stride)
{
    const size_t span = dilation * (kernel - 1) + 1;

    return size + pads < span ? 0 : (size + pads - span) / stride + 1;
}

/* Anything from a single pixel to strides beyond the kernel and padding all around. */
static void choose(problem *p)
{
    msw__window *w = &p->w;
    msw__images *x = &p->x;

    do {
        *w = (msw__window){pick(1, 5), pick(1, 4), pick(1, 4), pick(1, 5), pick(1, 3),
                           pick(1, 3), pick(1, 3), pick(0, 4), pick(0, 4), pick(0, 1)};
        x->height = pick(1, 9);
        x->width = pick(1, 9);
        x->out_height = outputs(x->height, w->pad_top + pick(0, 4), w->kernel_h,
                                w->dilation_h, w->stride_h);
        x->out_width = outputs(x->width, w->pad_left + pick(0, 4), w->kernel_w,
                               w->dilation_w, w->stride_w);
    } while (!x->out_height || !x->out_width);
    p->batch = pick(1, 3);
    p->nchw = pick(0, 1);
    p->pixels = p->batch * x->out_height * x->out_width;
    p->elements = w->channels * w->kernel_h * w->kernel_w;
}

/* An array that ends where the last element does: a sanitizer sees what lies beyond. */
static void fill(problem *p)
{
    msw__images *x = &p->x;
    const size_t area = x->height * x->width;
    const size_t runs = p->nchw ? p->w.channels : area;
    const size_t run = p->nchw ? area : p->w.channels;
    size_t count;

    x->ld = run + (pick(0, 1) ? pick(1, 3) : 0);
    x->batch_stride = runs * x->ld + pick(0, 3);
    count = (p->batch - 1) * x->batch_stride + (runs - 1) * x->ld + run;
    p->data = malloc(count * sizeof(float));
    assert_non_null(p->data);
    x->data = p->data;
    for (size_t i = 0; i < count; i++)
        p->data[i] = (float)pick(1, 1u << 20);
}

/* The definition. */
static float expected(const problem *p, size_t k, size_t pixel)
{
    const msw__window *w = &p->w;
    const msw__images *x = &p->x;
    const size_t positions = w->kernel_h * w->kernel_w;
    const size_t i = w->channels_fastest ? k % w->channels : k / positions;
    const size_t position = w->channels_fastest ? k / w->channels : k % positions;
    const size_t h = position / w->kernel_w, v = position % w->kernel_w;
    const size_t row = pixel / x->out_width;
    const long y = (long)(row % x->out_height * w->stride_h + h * w->dilation_h) -
                   (long)w->pad_top;
    const long z = (long)(pixel % x->out_width * w->stride_w + v * w->dilation_w) -
                   (long)w->pad_left;
    const size_t image = row / x->out_height * x->batch_stride;

    if (y < 0 || z < 0 || y >= (long)x->height || z >= (long)x->width)
        return 0;
    return p->nchw ? x->data[image + i * x->ld + (size_t)y * x->width + (size_t)z]
                   : x->data[image + ((size_t)y * x->width + (size_t)z) * x->ld + i];
}

/* One tile: rows of `run` elements, then a gap, in an array with a guard behind it. */
static void check(const problem *p, size_t first, size_t count)
{
    const size_t rows = p->nchw ? p->elements : count;
    const size_t run = p->nchw ? count : p->elements;
    const size_t ld = run + pick(0, 2);
    float *dst = malloc((rows * ld + 1) * sizeof *dst);

    assert_non_null(dst);
    for (size_t i = 0; i <= rows * ld; i++)
        dst[i] = untouched;
    (p->nchw ? msw__im2col_nchw : msw__im2col_nhwc)(dst, ld, &p->w, &p->x, first, count);
    for (size_t i = 0; i < rows * ld; i++) {
        const size_t r = i / ld, c = i % ld;
        const float want = c >= run ? untouched
                                    : expected(p, p->nchw ? r : c, first + (p->nchw ? c : r));
        if (dst[i] != want)
            fail_msg("element (%zu, %zu) is %g, not %g", r, c, (double)dst[i], (double)want);
    }
    assert_true(dst[rows * ld] == untouched);
    free(dst);
}

static void test_random_geometries(void **state)
{
    (void)state;
    for (int n = 0; n < CASES; n++) {
        problem p;
        size_t first;

        choose(&p);
        fill(&p);
        first = pick(0, p.pixels - 1);
        check(&p, 0, p.pixels);
        check(&p, first, pick(1, p.pixels - first));
        free(p.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_geometries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
