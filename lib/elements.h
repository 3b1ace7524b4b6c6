/* SPDX-License-Identifier: BSD-2-Clause */
/* A tensor's elements by their number in the order of its dimensions, for work that
 * pairs tensors of one shape and different strides. */
#ifndef MSW_LIB_ELEMENTS_H
#define MSW_LIB_ELEMENTS_H

#include "internal.h"

/* Elements i, i + 1, ... up to the next multiple of length lie stride apart. */
typedef struct msw__elements {
    const msw_tensor *t;
    size_t length, stride;
    uint32_t outer; /* dimensions that are not part of a run */
} msw__elements;

/* Runs as long as the strides allow: a contiguous tensor is one. */
static inline msw__elements msw__elements_of(const msw_tensor *t)
{
    msw__elements e = {t, t->shape[t->rank - 1], t->stride[t->rank - 1], t->rank - 1};

    while (e.outer > 0) {
        const size_t shape = t->shape[e.outer - 1];

        if (e.length == 1 && shape > 1)
            e.stride = t->stride[e.outer - 1];
        else if (shape > 1 && t->stride[e.outer - 1] != e.length * e.stride)
            break;
        e.length *= shape;
        e.outer--;
    }
    return e;
}

/* Element i; *run becomes at most the number of elements from there to the run's end. */
static inline float *msw__elements_at(const msw__elements *e, size_t i, size_t *run)
{
    const size_t inner = i % e->length;
    size_t index = i / e->length;
    float *p = e->t->data + inner * e->stride;

    if (*run > e->length - inner)
        *run = e->length - inner;
    for (uint32_t k = e->outer; k-- > 0;) {
        p += index % e->t->shape[k] * e->t->stride[k];
        index /= e->t->shape[k];
    }
    return p;
}

/* Element by element; same shape, whatever strides. */
static inline void msw__copy_elements(msw_tensor *to, const msw_tensor *from)
{
    const msw__elements t = msw__elements_of(to), f = msw__elements_of(from);

    for (size_t i = 0; i < to->count;) {
        size_t n = to->count - i;
        float *dst = msw__elements_at(&t, i, &n);
        const float *src = msw__elements_at(&f, i, &n);

        for (size_t k = 0; k < n; k++)
            dst[k * t.stride] = src[k * f.stride];
        i += n;
    }
}

#endif /* MSW_LIB_ELEMENTS_H */
