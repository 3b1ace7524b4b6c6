/* SPDX-License-Identifier: BSD-2-Clause */
#include "conv_fixture.h"
#include "planes.h"

#include <math.h>
#include <stdlib.h>

enum { CASES = 3000 };

typedef struct problem {
    msw__window w;
    msw__images x;
    size_t batch;
    images array;
} problem;

static size_t outputs(const msw__axis *a, size_t size)
{
    const size_t span = a->dilation * (a->kernel - 1) + 1;
    const size_t padded = size + a->before + a->after;

    return padded < span ? 0 : (padded - span) / a->stride + 1;
}

static msw__axis some_axis(bool plain)
{
    if (plain)
        return (msw__axis){pick(1, 3), 1, pick(1, 2), 0, 0};
    return (msw__axis){pick(1, 4), pick(1, 5), pick(1, 5), pick(0, 4), pick(0, 4)};
}

/* Anything from a single pixel to strides beyond the kernel and padding all around. */
static void choose(problem *p)
{
    const bool plain = pick(0, 5) == 0;
    msw__images *x = &p->x;

    do {
        p->w = (msw__window){pick(1, 5), some_axis(plain), some_axis(plain), pick(0, 1)};
        x->height = pick(1, 9);
        x->width = pick(1, 9);
        x->out_height = outputs(&p->w.h, x->height);
        x->out_width = outputs(&p->w.w, x->width);
    } while (!x->out_height || !x->out_width);
    p->batch = pick(1, 3);
    x->channels = p->w.channels * pick(1, 3);
    x->nhwc = pick(0, 1);
    p->array = images_new(p->batch, x->channels, x->height, x->width, !x->nhwc,
                          pick(0, 1));
    images_fill(&p->array);
    x->data = p->array.data;
    x->pitch = x->width;
    x->ld = p->array.ld;
    x->batch_stride = p->array.batch_stride;
    if (pick(0, 3) == 0) { /* all but the first row or column */
        const size_t row = pick(0, 1), column = 1 - row;

        x->data += (row * x->pitch + column) * (x->nhwc ? x->ld : 1);
        x->height -= row;
        x->width -= column;
    }
}

static msw__band some_band(const problem *p)
{
    const size_t height = p->x.out_height;
    msw__band b = {pick(0, p->batch - 1), 1, 0, height};

    if (pick(0, 1)) {
        b.images = pick(1, p->batch - b.image);
    } else {
        b.row = pick(0, height - 1);
        b.rows = pick(1, height - b.row);
    }
    return b;
}

/* The definition: reduction element k of a group, at output pixel (row, column). */
static float expected(const problem *p, size_t image, size_t group, size_t k, size_t row,
                      size_t column)
{
    const msw__window *w = &p->w;
    const msw__images *x = &p->x;
    const size_t positions = w->h.kernel * w->w.kernel;
    const size_t i = w->channels_fastest ? k % w->channels : k / positions;
    const size_t position = w->channels_fastest ? k / w->channels : k % positions;
    const size_t c = group * w->channels + i;
    const size_t h = position / w->w.kernel, v = position % w->w.kernel;
    const long y = (long)(row * w->h.stride + h * w->h.dilation) - (long)w->h.before;
    const long z = (long)(column * w->w.stride + v * w->w.dilation) - (long)w->w.before;

    if (y < 0 || z < 0 || y >= (long)x->height || z >= (long)x->width)
        return 0;
    return x->data[image * x->batch_stride +
                   (x->nhwc ? ((size_t)y * x->pitch + (size_t)z) * x->ld + c
                            : c * x->ld + (size_t)y * x->pitch + (size_t)z)];
}

/* Every element of every output pixel of the band. */
static void check(const problem *p, const msw__planes *planes, const float *data,
                  const msw__band *b)
{
    const msw__window *w = &p->w;
    const size_t elements = w->channels * w->h.kernel * w->w.kernel;
    size_t place[5 * 4 * 4];

    assert_in_range(elements, 1, sizeof place / sizeof *place);
    msw__planes_elements(place, planes, w);
    for (size_t group = 0; group < p->x.channels / w->channels; group++)
        for (size_t k = 0; k < elements; k++) {
            const float *from = data + group * w->channels * planes->channel + place[k];

            for (size_t i = 0; i < b->images; i++)
                for (size_t r = 0; r < b->rows; r++)
                    for (size_t c = 0; c < p->x.out_width; c++)
                        assert_true(from[i * planes->image + r * planes->pitch + c] ==
                                    expected(p, b->image + i, group, k, b->row + r, c));
        }
}

static void test_random_geometries(void **state)
{
    size_t in_place = 0;

    (void)state;
    for (int n = 0; n < CASES; n++) {
        msw__planes planes;
        msw__band b;
        problem p;
        size_t size;
        float *data;

        choose(&p);
        b = some_band(&p);
        assert_true(msw__planes_init(&planes, &p.w, &p.x, b.images, b.rows));
        in_place += planes.in_place;
        size = msw__planes_size(&planes, b.images);
        data = malloc((size + 1) * sizeof *data); /* its end: for a sanitizer */
        assert_non_null(data);
        for (size_t i = 0; i <= size; i++)
            data[i] = NAN;
        for (size_t i = msw__planes_units(&planes, &p.x, &b); i-- > 0;)
            msw__planes_fill(data, &planes, &p.w, &p.x, &b, msw__transpose_c, i);
        assert_true(isnan(data[size]));
        check(&p, &planes,
              planes.in_place ? msw__planes_place(&planes, &p.x, &b) : data, &b);
        free(data);
        images_free(&p.array);
    }
    assert_in_range(in_place, 1, CASES - 1);
}

static void test_too_large(void **state)
{
    const msw__window w = {3, {3, 1, 1, 1, 1}, {3, 1, 1, 1, 1}, true};
    msw__images x = {.channels = 3, .height = SIZE_MAX / 8, .width = 9,
                     .out_height = SIZE_MAX / 8, .out_width = 9};
    msw__planes p;

    (void)state;
    assert_false(msw__planes_init(&p, &w, &x, 1, x.out_height));
    assert_true(msw__planes_init(&p, &w, &x, 1, 4));
    assert_false(msw__planes_init(&p, &w, &x, SIZE_MAX / 64, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_geometries),
        cmocka_unit_test(test_too_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
