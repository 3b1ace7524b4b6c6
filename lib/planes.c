/* SPDX-License-Identifier: BSD-2-Clause */
#include "planes.h"
#include "alloc.h"
#include "sizes.h"

#include <string.h>

/* Along an axis, kernel position h of output p reads padded position
 * p stride + h dilation. Its phase is h dilation % stride, the same for all p; in a plane
 * of every stride-th position from the phase on it reads number p + h dilation / stride.
 * Phases repeat after `period` kernel positions. */

static size_t common_divisor(size_t a, size_t b)
{
    while (b) {
        const size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

size_t msw__axis_period(const msw__axis *a)
{
    return a->stride / common_divisor(a->dilation, a->stride);
}

static size_t shift(const msw__axis *a, size_t h)
{
    return h * a->dilation / a->stride;
}

/* Nothing but x is read along this axis, and all of it in order. */
static bool plain(const msw__axis *a, size_t out, size_t size)
{
    return a->stride == 1 && !a->before && out + shift(a, a->kernel - 1) <= size;
}

static size_t phases(const msw__axis *a)
{
    return msw__min(a->kernel, msw__axis_period(a));
}

bool msw__planes_init(msw__planes *p, const msw__window *w, const msw__images *x,
                      size_t images, size_t rows)
{
    size_t total;

    p->phases_h = phases(&w->h);
    p->phases_w = phases(&w->w);
    p->height = rows + shift(&w->h, w->h.kernel - 1);
    p->width = x->out_width + shift(&w->w, w->w.kernel - 1);
    p->in_place = !x->nhwc && plain(&w->h, x->out_height, x->height) &&
                  plain(&w->w, x->out_width, x->width);
    if (p->in_place) {
        p->pitch = x->pitch;
        p->plane = 0;
        p->channel = x->ld;
        p->image = x->batch_stride;
        return true;
    }
    if (!msw__size_mul(&p->plane, x->nhwc ? 1 : p->height, p->width) ||
        !msw__size_mul(&p->channel, p->phases_h * p->phases_w, p->plane) ||
        !msw__size_mul(&p->image, p->channel, x->channels))
        return false;
    p->pitch = x->nhwc ? p->image : p->width;
    return (!x->nhwc || msw__size_mul(&p->image, p->pitch, p->height)) &&
           msw__size_mul(&total, p->image, images) && total <= SIZE_MAX / sizeof(float);
}

size_t msw__planes_size(const msw__planes *p, size_t images)
{
    return p->in_place ? 0 : p->image * images;
}

void msw__planes_elements(size_t *place, const msw__planes *p, const msw__window *w)
{
    const size_t positions = w->h.kernel * w->w.kernel;
    const size_t channel_step = w->channels_fastest ? 1 : positions;
    const size_t position_step = w->channels_fastest ? w->channels : 1;
    const size_t period_h = msw__axis_period(&w->h);
    const size_t period_w = msw__axis_period(&w->w);

    for (size_t h = 0; h < w->h.kernel; h++)
        for (size_t v = 0; v < w->w.kernel; v++, place += position_step) {
            const size_t phase = h % period_h * p->phases_w + v % period_w;
            size_t at = phase * p->plane + shift(&w->h, h) * p->pitch + shift(&w->w, v);

            for (size_t i = 0; i < w->channels; i++, at += p->channel)
                place[i * channel_step] = at;
        }
}

const float *msw__planes_place(const msw__planes *p, const msw__images *x,
                               const msw__band *band)
{
    return x->data + band->image * x->batch_stride + band->row * p->pitch;
}

/* Filling */

typedef struct range {
    size_t first, end;
} range;

/* For which i in [0, count) padded position start + i * stride lies inside an axis of
 * `size` elements. */
static range inside(const msw__axis *a, size_t start, size_t count, size_t size)
{
    const size_t left = start < a->before ? a->before - start : 0;
    const size_t right = start < a->before + size ? a->before + size - start : 0;
    range r;

    r.end = msw__min(msw__divide_up(right, a->stride), count);
    r.first = msw__min(msw__divide_up(left, a->stride), count);
    r.end = msw__max(r.first, r.end);
    return r;
}

/* A phase of a row: which of its positions lie inside the image, where in a row of x the
 * first of them is. */
typedef struct phase {
    range columns;
    size_t column;
} phase;

static size_t start_of(const msw__axis *a, size_t number)
{
    return a->stride == 1 ? 0 : number * a->dilation % a->stride;
}

static phase phase_of(const msw__planes *p, const msw__axis *a, size_t number,
                      size_t size)
{
    const size_t start = start_of(a, number);
    phase f = {inside(a, start, p->width, size), 0};

    f.column = start + f.columns.first * a->stride - a->before;
    return f;
}

/* Padding is short: a call for each would cost more than the writing. */
static inline void zero(float *to, size_t count)
{
    enum { LONG = 16 };

    if (count >= LONG)
        memset(to, 0, count * sizeof *to);
    else
        for (size_t j = 0; j < count; j++)
            to[j] = 0;
}

/* Rows of an image are short: a call for each would cost more than the copying. Eight
 * floats at a time become a few moves; the last eight may overlap those before. */
static inline void copy(float *to, const float *from, size_t count)
{
    enum { STEP = 8, LONG = 64 };

    if (count >= LONG) {
        memcpy(to, from, count * sizeof *to);
    } else if (count >= STEP) {
        for (size_t j = 0; j + STEP < count; j += STEP)
            memcpy(to + j, from + j, STEP * sizeof *to);
        memcpy(to + count - STEP, from + count - STEP, STEP * sizeof *to);
    } else {
        for (size_t j = 0; j < count; j++)
            to[j] = from[j];
    }
}

static void copy_row(float *to, const msw__planes *p, const phase *f, size_t stride,
                     const float *row)
{
    const size_t count = f->columns.end - f->columns.first;

    zero(to, f->columns.first);
    to += f->columns.first;
    row += f->column;
    if (stride == 1)
        copy(to, row, count);
    else if (stride == 2) /* by far the most frequent */
        for (size_t j = 0; j < count; j++)
            to[j] = row[2 * j];
    else
        for (size_t j = 0; j < count; j++)
            to[j] = row[j * stride];
    zero(to + count, p->width - f->columns.end);
}

/* The image row that row i of a plane shows, of which row 0 begins at padded row
 * @p start; false: padding. */
static bool source_row(size_t *row, const msw__axis *a, const msw__images *x,
                       const msw__band *band, size_t start, size_t i)
{
    const size_t padded = (band->row + i) * a->stride + start;

    *row = padded - a->before;
    return padded >= a->before && *row < x->height;
}

/* All planes of one channel of an image. */
static void fill_channel(float *to, const msw__planes *p, const msw__window *w,
                         const msw__images *x, const msw__band *band,
                         const float *channel)
{
    for (size_t h = 0; h < p->phases_h; h++)
        for (size_t v = 0; v < p->phases_w; v++) {
            const phase f = phase_of(p, &w->w, v, x->width);
            const size_t start = start_of(&w->h, h);

            for (size_t i = 0; i < p->height; i++, to += p->width) {
                size_t row;

                if (f.columns.first < f.columns.end &&
                    source_row(&row, &w->h, x, band, start, i))
                    copy_row(to, p, &f, w->w.stride, channel + row * x->pitch);
                else
                    zero(to, p->width);
            }
        }
}

/* One row of a phase, of all channels. */
static void fill_row(float *to, const msw__planes *p, const msw__images *x,
                     const phase *f, size_t stride, const float *row,
                     msw__transpose *transpose)
{
    const size_t before = f->columns.first, after = p->width - f->columns.end;

    for (size_t c = 0; before + after > 0 && c < x->channels; c++) {
        zero(to + c * p->channel, before);
        zero(to + c * p->channel + f->columns.end, after);
    }
    if (f->columns.first < f->columns.end)
        transpose(to + before, p->channel, row + f->column * x->ld, stride * x->ld,
                  f->columns.end - f->columns.first, x->channels);
}

/* Row i of all planes of an image. */
static void fill_rows(float *to, const msw__planes *p, const msw__window *w,
                      const msw__images *x, const msw__band *band, const float *image,
                      msw__transpose *transpose, size_t i)
{
    static const phase nothing;

    for (size_t h = 0; h < p->phases_h; h++)
        for (size_t v = 0; v < p->phases_w; v++) {
            size_t row;
            const bool there =
                source_row(&row, &w->h, x, band, start_of(&w->h, h), i);
            const phase f = there ? phase_of(p, &w->w, v, x->width) : nothing;

            fill_row(to + (h * p->phases_w + v) * p->plane + i * p->pitch, p, x, &f,
                     w->w.stride, there ? image + row * x->pitch * x->ld : NULL,
                     transpose);
        }
}

size_t msw__planes_units(const msw__planes *p, const msw__images *x,
                         const msw__band *band)
{
    return p->in_place ? 0 : band->images * (x->nhwc ? p->height : x->channels);
}

void msw__planes_fill(float *planes, const msw__planes *p, const msw__window *w,
                      const msw__images *x, const msw__band *band,
                      msw__transpose *transpose, size_t unit)
{
    const size_t units = x->nhwc ? p->height : x->channels;
    const size_t image = unit / units, i = unit % units;
    const float *from = x->data + (band->image + image) * x->batch_stride;
    float *to = planes + image * p->image;

    if (x->nhwc)
        fill_rows(to, p, w, x, band, from, transpose, i);
    else
        fill_channel(to + i * p->channel, p, w, x, band, from + i * x->ld);
}
