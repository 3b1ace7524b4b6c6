/* SPDX-License-Identifier: BSD-2-Clause */
/* Transposed convolution: along each axis, the output positions that the same kernel
 * positions reach are every stride-th one, and make an ordinary convolution with these
 * kernel positions, in reverse order. */
#include "conv.h"
#include "sizes.h"

/* One axis of a phase. */
typedef struct part {
    size_t kernel, first, period; /* kernel positions first, first + period, ... */
    msw__axis axis;               /* of the ordinary convolution */
    size_t crop;                  /* of x, at the beginning */
    size_t start;                 /* in y */
} part;

bool msw__conv_transposed_size(size_t *out, const msw__axis *a, size_t size,
                               size_t output_pad)
{
    size_t span, pads;

    if (size == 0 || !msw__size_mul(&span, size - 1, a->stride) ||
        !msw__size_mul(out, a->kernel - 1, a->dilation) ||
        !msw__size_add(out, *out, span) || !msw__size_add(out, *out, output_pad + 1) ||
        !msw__size_add(&pads, a->before, a->after) || *out <= pads)
        return false;
    *out -= pads;
    return true;
}

/* Output P gets kernel position h where P + before = p stride + h dilation. So P + before
 * has the remainder of h dilation, and reads p = (P + before) / stride -
 * h dilation / stride, both rounded down. */
static part part_of(const msw__axis *a, size_t number)
{
    const size_t remainder = number * a->dilation % a->stride;
    const size_t to_start = (remainder + a->stride - a->before % a->stride) % a->stride;
    part p = {.first = number, .period = msw__axis_period(a), .start = to_start};
    size_t reach, begin;

    p.kernel = (a->kernel - 1 - number) / p.period + 1;
    p.axis = (msw__axis){p.kernel, 1, p.period * a->dilation / a->stride, 0, 0};
    reach = number * a->dilation / a->stride + (p.kernel - 1) * p.axis.dilation;
    begin = (to_start + a->before) / a->stride; /* p of kernel position 0 */
    p.axis.before = reach > begin ? reach - begin : 0;
    p.crop = reach > begin ? 0 : begin - reach;
    return p;
}

static size_t part_count(const msw__axis *a)
{
    return msw__min(a->kernel, msw__axis_period(a));
}

/* The weights of a phase */

typedef struct source {
    const msw_unified *u;
    const float *dense;      /* its weights, as the tensor */
    const uint32_t *column;  /* view column of each reduction element */
    size_t kernel_h, kernel_w, channels;
    const part *h, *w;
} source;

/* Reduction element (h, w, i) of the phase, in the layer. */
static size_t element(const source *s, size_t h, size_t w, size_t i)
{
    const size_t row = s->h->first + (s->h->kernel - 1 - h) * s->h->period;
    const size_t column = s->w->first + (s->w->kernel - 1 - w) * s->w->period;
    const size_t position = row * s->kernel_w + column;

    return s->u->plan->reduction == MSW_REDUCTION_CHANNELS
               ? position * s->channels + i
               : i * s->kernel_h * s->kernel_w + position;
}

/* Blocks stay whole where each lies in one kernel position; otherwise they fall into
 * their columns. */
static uint32_t block_columns(const source *s)
{
    const msw_plan *p = s->u->plan;
    const bool whole = p->reduction == MSW_REDUCTION_CHANNELS && !p->column_permutation &&
                       s->channels % p->block_columns == 0;

    return whole ? p->block_columns : 1;
}

static msw_status phase_plan(msw_plan **out, msw_context *ctx, const source *s)
{
    const msw_plan *p = s->u->plan;
    const size_t shape[4] = {p->rows, s->h->kernel, s->w->kernel, s->channels};
    msw_plan_options o;

    msw_plan_options_init(&o);
    o.weights = MSW_WEIGHTS_OHWI;
    o.reduction = MSW_REDUCTION_CHANNELS;
    o.block_rows = p->block_rows;
    o.block_columns = block_columns(s);
    o.groups = p->groups;
    o.row_permutation = p->row_permutation;
    return msw_plan_new(out, ctx, shape, 4, &o);
}

static void copy_weights(float *to, const source *s)
{
    for (size_t o = 0; o < s->u->plan->rows; o++)
        for (size_t h = 0; h < s->h->kernel; h++)
            for (size_t w = 0; w < s->w->kernel; w++)
                for (size_t i = 0; i < s->channels; i++)
                    *to++ = msw__dense_weight(s->u->plan, s->dense, o,
                                              element(s, h, w, i));
}

static void copy_classes(uint8_t *to, const source *s, const msw_plan *plan)
{
    const msw_plan *p = s->u->plan;
    const size_t positions_w = s->w->kernel;

    for (size_t i = 0; i < plan->block_row_count; i++)
        for (size_t j = 0; j < plan->block_column_count; j++) {
            const size_t k = j * plan->block_columns, position = k / s->channels;
            const size_t e = element(s, position / positions_w, position % positions_w,
                                     k % s->channels);

            *to++ = s->u->classes[i * p->block_column_count +
                                  s->column[e] / p->block_columns];
        }
}

/* Weights of equal magnitude keep it, to the last bit. */
static msw_status phase_weights(msw_unified **out, msw_context *ctx, const source *s)
{
    msw_plan *plan;
    msw_tensor *t = NULL;
    void *classes = NULL;
    size_t blocks = 0;
    msw_status status = phase_plan(&plan, ctx, s);

    if (!status) {
        blocks = plan->block_count;
        status = msw_tensor_new(&t, ctx, plan->shape, 4);
    }
    if (!status)
        status = msw__alloc(&classes, ctx, blocks, 1);
    if (!status) {
        copy_weights(t->data, s);
        copy_classes(classes, s, plan);
        status = msw_unified_new(out, plan, t, classes, blocks);
    }
    msw__free(ctx, classes, blocks, 1);
    msw_tensor_free(t);
    msw_plan_free(plan);
    return status;
}

/* Making */

static msw_status make_phase(msw__conv_phase *phase, msw_conv *c, const source *s,
                             const msw_conv_options *options, uint64_t *left)
{
    msw_conv_options o = *options;
    msw_unified *u = NULL;
    uint64_t used;
    msw_status status = phase_weights(&u, c->ctx, s);

    o.transposed = o.output_pad_h = o.output_pad_w = 0;
    o.stride_h = o.stride_w = 1;
    o.pad_top = o.pad_bottom = o.pad_left = o.pad_right = 0;
    o.max_bytes = *left;
    o.expected_pixels = msw__divide_up(o.expected_pixels,
                                       c->window.h.stride * c->window.w.stride);
    if (!status)
        status = msw_conv_new(&phase->conv, c->ctx, u, &o);
    msw_unified_free(u);
    if (status)
        return status;
    phase->conv->window.h = s->h->axis;
    phase->conv->window.w = s->w->axis;
    phase->view = (msw__conv_view){s->h->crop, s->w->crop, s->h->start, s->w->start,
                                   c->window.h.stride, c->window.w.stride};
    status = msw__conv_bytes(&used, phase->conv);
    if (!status && *left && used >= *left && phase + 1 != c->phases + c->phase_count)
        status = MSW_E_LIMIT; /* the other phases need some, too */
    *left -= *left ? used : 0;
    return status;
}

static msw_status make_all(msw_conv *c, source *s, const msw_conv_options *o)
{
    const size_t count_w = part_count(&c->window.w);
    uint64_t left = o->max_bytes;
    msw_status status = MSW_OK;

    for (size_t i = 0; i < c->phase_count && !status; i++) {
        const part h = part_of(&c->window.h, i / count_w);
        const part w = part_of(&c->window.w, i % count_w);

        s->h = &h;
        s->w = &w;
        status = make_phase(&c->phases[i], c, s, o, &left);
    }
    return status;
}

/* View column of each reduction element: the permutation, inverted. */
static msw_status view_columns(uint32_t **out, msw_context *ctx, const msw_plan *p)
{
    void *memory;
    const msw_status status = msw__alloc(&memory, ctx, p->columns, sizeof **out);

    *out = memory;
    for (uint32_t i = 0; !status && i < p->columns; i++)
        (*out)[p->column_permutation ? p->column_permutation[i] : i] = i;
    return status;
}

msw_status msw__conv_make_phases(msw_conv *c, const msw_unified *u,
                                 const msw_conv_options *o)
{
    const msw_plan *p = u->plan;
    source s = {.u = u, .kernel_h = c->window.h.kernel, .kernel_w = c->window.w.kernel,
                .channels = c->window.channels};
    uint32_t *columns = NULL;
    msw_tensor *dense = NULL;
    void *memory;
    msw_status status;

    c->phase_count = part_count(&c->window.h) * part_count(&c->window.w);
    status = msw__calloc(&memory, c->ctx, c->phase_count, sizeof *c->phases);
    c->phases = memory;
    if (!status)
        status = view_columns(&columns, c->ctx, p);
    if (!status)
        status = msw_tensor_new(&dense, c->ctx, p->shape, p->rank);
    if (!status)
        status = msw_unified_to_dense(dense, u);
    if (!status) {
        s.dense = dense->data;
        s.column = columns;
        status = make_all(c, &s, o);
    }
    msw_tensor_free(dense);
    msw__free(c->ctx, columns, p->columns, sizeof *columns);
    return status;
}

/* Running */

bool msw__conv_open_phase(msw__conv_job *j, const msw__conv_job *whole,
                          const msw__conv_phase *phase)
{
    const msw__conv_view *v = &phase->view;
    msw__images *x = &j->x;

    if (whole->x.out_height <= v->row || whole->x.out_width <= v->column)
        return false;
    *j = *whole;
    j->conv = phase->conv;
    x->out_height = msw__divide_up(whole->x.out_height - v->row, v->step_h);
    x->out_width = msw__divide_up(whole->x.out_width - v->column, v->step_w);
    if (v->crop_h < x->height && v->crop_w < x->width) {
        if (x->data)
            x->data += (v->crop_h * x->pitch + v->crop_w) * (x->nhwc ? x->ld : 1);
        x->height -= v->crop_h;
        x->width -= v->crop_w;
    } else {
        x->height = x->width = 0;
    }
    j->pixels = x->out_height * x->out_width;
    j->first = v->row * whole->x.out_width + v->column;
    j->row = v->step_h * whole->x.out_width;
    j->column = v->step_w;
    return true;
}

/* Does a kernel position reach output position @p at? */
static bool reached(const msw__axis *a, size_t at)
{
    const size_t remainder = (at + a->before) % a->stride;

    for (size_t h = 0; h < part_count(a); h++)
        if (h * a->dilation % a->stride == remainder)
            return true;
    return false;
}

/* One pixel that gets nothing but the bias. */
static void fill_pixel(const msw__conv_job *j, float *y)
{
    const msw_conv *c = j->conv;
    const size_t step = j->x.nhwc ? 1 : j->call.ldy;

    for (size_t o = 0; o < c->groups * c->outputs; o++, y += step) {
        float v = c->bias ? c->bias[o] : 0;

        v = j->call.beta ? v + *y : v;
        v = v < c->low ? c->low : v;
        *y = v > c->high ? c->high : v;
    }
}

void msw__conv_fill_gaps(const msw__conv_job *j)
{
    const msw__window *w = &j->conv->window;
    const size_t step = j->x.nhwc ? j->call.ldy : 1;

    if (part_count(&w->h) == w->h.stride && part_count(&w->w) == w->w.stride)
        return;
    for (size_t p = 0; p < j->x.out_height; p++) {
        const bool row = reached(&w->h, p);

        for (size_t q = 0; q < j->x.out_width; q++)
            for (size_t b = 0; b < j->call.batch && !(row && reached(&w->w, q)); b++)
                fill_pixel(j, j->call.y + b * j->call.batch_stride_y +
                                  (p * j->x.out_width + q) * step);
    }
}
