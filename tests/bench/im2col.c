/* SPDX-License-Identifier: BSD-2-Clause */
#include "im2col.h"

#include <string.h>

typedef struct range {
    size_t first, end;
} range;

typedef struct pixel {
    size_t image, row, column;
} pixel;

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t divide_up(size_t a, size_t b)
{
    return b == 1 ? a : a / b + (a % b != 0);
}

/* For which i in [0, count) position start + i * step, counted from the edge of the
 * padding, lies inside an axis of `size` elements. */
static range inside(size_t start, size_t step, size_t count, size_t pad, size_t size)
{
    range r;

    r.first = start >= pad ? 0 : min(divide_up(pad - start, step), count);
    r.end = start >= pad + size ? 0 : min(divide_up(pad + size - start, step), count);
    if (r.end < r.first)
        r.end = r.first;
    return r;
}

static pixel locate(const im2col_images *x, size_t number)
{
    const size_t row = number / x->out_width;

    return (pixel){row / x->out_height, row % x->out_height, number % x->out_width};
}

static void next_row(pixel *at, const im2col_images *x)
{
    at->column = 0;
    if (++at->row == x->out_height) {
        at->row = 0;
        at->image++;
    }
}

static void zero(float *dst, size_t count)
{
    if (count > 0) /* mostly not: spare the call */
        memset(dst, 0, count * sizeof *dst);
}

/* Rows of an image are short: a call for each would cost more than the copying. Eight
 * floats at a time become a few moves; the last eight may overlap those before. */
static inline void copy(float *dst, const float *src, size_t count)
{
    enum { STEP = 8, LONG = 128 };

    if (count >= LONG) {
        memcpy(dst, src, count * sizeof *dst);
    } else if (count >= STEP) {
        for (size_t j = 0; j + STEP < count; j += STEP)
            memcpy(dst + j, src + j, STEP * sizeof *dst);
        memcpy(dst + count - STEP, src + count - STEP, STEP * sizeof *dst);
    } else {
        for (size_t j = 0; j < count; j++)
            dst[j] = src[j];
    }
}

/* Where one reduction element lies: in a channel, and in the window. */
typedef struct element {
    const float *channel; /* of the first image */
    size_t h, w;          /* distance from the window's corner */
    range rows, columns;  /* of the output, for which it lies inside the image */
} element;

/* `count` output pixels of one output row. */
static void copy_run(float *dst, const element *e, const im2col_window *w, const float *row,
                     size_t column, size_t count)
{
    const size_t end = column + count;
    const size_t from = e->columns.first < column ? column : min(e->columns.first, end);
    const size_t to = e->columns.end < from ? from : min(e->columns.end, end);

    zero(dst, from - column);
    dst += from - column;
    if (to > from) {
        const float *src = row + (from * w->stride_w + e->w - w->pad_left);

        if (w->stride_w == 1)
            copy(dst, src, to - from);
        else
            for (size_t j = 0; j < to - from; j++)
                dst[j] = src[j * w->stride_w];
    }
    zero(dst + (to - from), end - to);
}

/* As many whole output rows as `count` pixels hold, of an element that never leaves the
 * image; `at` is the beginning of a row. Returns the pixels copied, and moves `at`. */
static size_t copy_whole_rows(float *dst, const element *e, const im2col_window *w,
                              const im2col_images *x, pixel *at, size_t count)
{
    const float *end = dst + count / x->out_width * x->out_width;
    const float *begin = dst;

    while (dst != end) {
        const float *src = e->channel + at->image * x->batch_stride +
                           (at->row * w->stride_h + e->h - w->pad_top) * x->width +
                           (e->w - w->pad_left);
        const size_t left = (size_t)(end - dst) / x->out_width;
        const size_t rows = min(left, x->out_height - at->row);

        for (size_t r = 0; r < rows; r++) {
            copy(dst, src, x->out_width);
            dst += x->out_width;
            src += w->stride_h * x->width;
        }
        at->row += rows - 1;
        next_row(at, x);
    }
    return (size_t)(end - begin);
}

static bool never_leaves(const element *e, const im2col_images *x)
{
    return e->rows.first == 0 && e->rows.end == x->out_height && e->columns.first == 0 &&
           e->columns.end == x->out_width;
}

static void copy_element(float *dst, const element *e, const im2col_window *w,
                         const im2col_images *x, pixel at, size_t count)
{
    if (at.column == 0 && w->stride_w == 1 && never_leaves(e, x)) {
        const size_t done = copy_whole_rows(dst, e, w, x, &at, count);

        dst += done;
        count -= done;
    }
    while (count > 0) {
        const size_t run = min(count, x->out_width - at.column);
        const size_t row = at.row * w->stride_h + e->h;

        if (row < w->pad_top || row - w->pad_top >= x->height)
            zero(dst, run);
        else
            copy_run(dst, e, w,
                     e->channel + at.image * x->batch_stride +
                         (row - w->pad_top) * x->width,
                     at.column, run);
        dst += run;
        count -= run;
        next_row(&at, x);
    }
}

void im2col_nchw(float *dst, size_t ld, const im2col_window *w, const im2col_images *x,
                      size_t first, size_t count)
{
    const pixel at = locate(x, first);
    const size_t positions = w->kernel_h * w->kernel_w;
    const size_t position_step = w->channels_fastest ? w->channels : 1;
    const size_t channel_step = w->channels_fastest ? 1 : positions;

    for (size_t position = 0; position < positions; position++) {
        element e;

        e.h = position / w->kernel_w * w->dilation_h;
        e.w = position % w->kernel_w * w->dilation_w;
        e.rows = inside(e.h, w->stride_h, x->out_height, w->pad_top, x->height);
        e.columns = inside(e.w, w->stride_w, x->out_width, w->pad_left, x->width);
        for (size_t i = 0; i < w->channels; i++) {
            e.channel = x->data + i * x->ld;
            copy_element(dst + (position * position_step + i * channel_step) * ld, &e, w, x,
                         at, count);
        }
    }
}

/* The elements of one row of the window, for one output pixel, from its first one inside
 * the image on. */
static void copy_window_row(float *dst, const im2col_window *w, const im2col_images *x,
                            const float *src, size_t h, range columns)
{
    const size_t positions = w->kernel_h * w->kernel_w;
    const size_t step = w->dilation_w * x->ld;
    size_t position = h * w->kernel_w + columns.first;

    if (w->channels_fastest && step == w->channels) { /* neighbours on both sides */
        copy(dst + position * w->channels, src,
             (columns.end - columns.first) * w->channels);
        return;
    }
    for (size_t i = columns.first; i < columns.end; i++, position++, src += step) {
        if (w->channels_fastest)
            copy(dst + position * w->channels, src, w->channels);
        else
            for (size_t c = 0; c < w->channels; c++)
                dst[c * positions + position] = src[c];
    }
}

/* Output columns whose window does not leave the image on either side. */
static range inner_columns(const im2col_window *w, const im2col_images *x)
{
    const size_t span = (w->kernel_w - 1) * w->dilation_w;
    const range first = inside(0, w->stride_w, x->out_width, w->pad_left, x->width);
    const range last = inside(span, w->stride_w, x->out_width, w->pad_left, x->width);

    return (range){first.first, last.end};
}

void im2col_nhwc(float *dst, size_t ld, const im2col_window *w, const im2col_images *x,
                      size_t first, size_t count)
{
    const range inner = inner_columns(w, x), all = {0, w->kernel_w};
    pixel at = locate(x, first);
    const float *end = dst + count * ld;

    while (dst != end) {
        const size_t top = at.row * w->stride_h;
        const range rows = inside(top, w->dilation_h, w->kernel_h, w->pad_top, x->height);
        const float *image = x->data + at.image * x->batch_stride;

        for (; dst != end && at.column < x->out_width; at.column++, dst += ld) {
            const size_t left = at.column * w->stride_w;
            const bool whole = at.column >= inner.first && at.column < inner.end;
            const range columns = whole ? all : inside(left, w->dilation_w, w->kernel_w,
                                                       w->pad_left, x->width);

            if (!whole || rows.end - rows.first < w->kernel_h)
                zero(dst, w->kernel_h * w->kernel_w * w->channels);
            for (size_t h = rows.first; h < rows.end && columns.first < columns.end; h++) {
                const size_t row = top + h * w->dilation_h - w->pad_top;
                const size_t column = left + columns.first * w->dilation_w - w->pad_left;

                copy_window_row(dst, w, x, image + (row * x->width + column) * x->ld, h,
                                columns);
            }
        }
        next_row(&at, x);
    }
}
