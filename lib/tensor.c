/* SPDX-License-Identifier: BSD-2-Clause */
#include "internal.h"

#include <math.h>
#include <string.h>

/* Number of elements, checked so that their bytes fit a size_t. */
static msw_status count_elements(size_t *count, const size_t *shape, uint32_t rank)
{
    size_t bytes;

    if (!shape || rank == 0 || rank > MSW_MAX_RANK)
        return MSW_E_INVAL;
    *count = 1;
    for (uint32_t i = 0; i < rank; i++)
        if (shape[i] == 0)
            return MSW_E_INVAL;
    for (uint32_t i = 0; i < rank; i++)
        if (!msw__size_mul(count, *count, shape[i]))
            return MSW_E_RANGE;
    return msw__size_mul(&bytes, *count, sizeof(float)) ? MSW_OK : MSW_E_RANGE;
}

/* No two indices share an element when each stride exceeds what the dimensions of
 * smaller strides span together. */
static msw_status check_strides(const size_t *shape, const size_t *strides, uint32_t rank)
{
    bool done[MSW_MAX_RANK] = {false};
    size_t span = 0; /* largest offset that the dimensions seen so far reach */

    for (uint32_t n = 0; n < rank; n++) {
        uint32_t least = rank;
        size_t reach;

        for (uint32_t i = 0; i < rank; i++)
            if (!done[i] && (least == rank || strides[i] < strides[least]))
                least = i;
        done[least] = true;
        if (shape[least] == 1)
            continue;
        if (strides[least] <= span)
            return MSW_E_INVAL;
        if (!msw__size_mul(&reach, strides[least], shape[least] - 1) ||
            !msw__size_add(&span, span, reach))
            return MSW_E_RANGE;
    }
    return span < SIZE_MAX / sizeof(float) ? MSW_OK : MSW_E_RANGE;
}

static bool aligned(const float *data)
{
    return data && (uintptr_t)data % _Alignof(float) == 0;
}

/* A handle with shape and strides; data is still NULL. */
static msw_status make(msw_tensor **out, msw_context *ctx, const size_t *shape,
                       const size_t *strides, uint32_t rank)
{
    size_t count, contiguous = 1;
    msw_status status;
    msw_tensor *t;
    void *memory;

    *out = NULL;
    if (!ctx)
        return MSW_E_INVAL;
    status = count_elements(&count, shape, rank);
    if (!status && strides)
        status = check_strides(shape, strides, rank);
    if (status)
        return status;
    status = msw__calloc(&memory, ctx, 1, sizeof *t);
    if (status)
        return status;
    t = memory;
    atomic_init(&t->refs, 1);
    t->ctx = msw_context_ref(ctx);
    t->count = count;
    t->rank = rank;
    for (uint32_t i = MSW_MAX_RANK; i-- > 0;) {
        t->shape[i] = i < rank ? shape[i] : 1;
        t->stride[i] = i >= rank ? 0 : strides ? strides[i] : contiguous;
        contiguous *= t->shape[i];
    }
    *out = t;
    return MSW_OK;
}

msw_status msw_tensor_new(msw_tensor **out, msw_context *ctx, const size_t *shape,
                          uint32_t rank)
{
    msw_status status;
    void *data;

    if (!out)
        return MSW_E_INVAL;
    status = make(out, ctx, shape, NULL, rank);
    if (status)
        return status;
    status = msw__calloc(&data, ctx, (*out)->count, sizeof(float));
    (*out)->data = data;
    (*out)->owned = true;
    if (status) {
        msw_tensor_free(*out);
        *out = NULL;
    }
    return status;
}

msw_status msw_tensor_borrow(msw_tensor **out, msw_context *ctx, float *data,
                             const size_t *shape, const size_t *strides, uint32_t rank)
{
    msw_status status;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!aligned(data))
        return MSW_E_INVAL;
    status = make(out, ctx, shape, strides, rank);
    if (!status)
        (*out)->data = data;
    return status;
}

msw_status msw_tensor_repoint(msw_tensor *tensor, float *data)
{
    if (!tensor || !aligned(data))
        return MSW_E_INVAL;
    if (tensor->owned)
        return MSW_E_STATE;
    tensor->data = data;
    return MSW_OK;
}

msw_tensor *msw_tensor_ref(msw_tensor *tensor)
{
    msw__refs_take(&tensor->refs);
    return tensor;
}

void msw_tensor_free(msw_tensor *tensor)
{
    msw_context *ctx;

    if (!tensor || !msw__refs_drop(&tensor->refs))
        return;
    ctx = tensor->ctx;
    if (tensor->owned)
        msw__free(ctx, tensor->data, tensor->count, sizeof(float));
    msw__free(ctx, tensor, 1, sizeof *tensor);
    msw_context_free(ctx);
}

float *msw_tensor_data(const msw_tensor *tensor)
{
    return tensor->data;
}

uint32_t msw_tensor_rank(const msw_tensor *tensor)
{
    return tensor->rank;
}

size_t msw_tensor_dim(const msw_tensor *tensor, uint32_t axis)
{
    return axis < tensor->rank ? tensor->shape[axis] : 0;
}

size_t msw_tensor_stride(const msw_tensor *tensor, uint32_t axis)
{
    return axis < tensor->rank ? tensor->stride[axis] : 0;
}

size_t msw_tensor_count(const msw_tensor *tensor)
{
    return tensor->count;
}

bool msw__tensor_same_shape(const msw_tensor *a, const msw_tensor *b)
{
    return a->rank == b->rank && !memcmp(a->shape, b->shape, sizeof a->shape);
}

bool msw__tensor_contiguous(const msw_tensor *t)
{
    size_t expected = 1;

    for (uint32_t i = t->rank; i-- > 0;) {
        if (t->shape[i] != 1 && t->stride[i] != expected)
            return false;
        expected *= t->shape[i];
    }
    return true;
}

float *msw__tensor_run(const msw_tensor *t, size_t outer)
{
    float *p = t->data;

    for (uint32_t i = t->rank - 1; i-- > 0;) {
        p += outer % t->shape[i] * t->stride[i];
        outer /= t->shape[i];
    }
    return p;
}

/* Whether n adjacent elements are finite: 0 times any that is not is NaN, which a sum
 * keeps. Without a branch for each element. */
static bool run_finite(const float *x, size_t n)
{
    enum { LANES = 16 };
    float lanes[LANES] = {0}, sum = 0;
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lanes[l] += x[i + l] * 0.0f;
    for (; i < n; i++)
        sum += x[i] * 0.0f;
    for (size_t l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum == 0;
}

bool msw__tensor_finite(const msw_tensor *t)
{
    const size_t length = t->shape[t->rank - 1], stride = t->stride[t->rank - 1];

    if (msw__tensor_contiguous(t))
        return run_finite(t->data, t->count);
    for (size_t outer = 0; outer < t->count / length; outer++) {
        const float *run = msw__tensor_run(t, outer);

        if (stride == 1 && !run_finite(run, length))
            return false;
        for (size_t i = 0; i < length && stride != 1; i++)
            if (!isfinite(run[i * stride]))
                return false;
    }
    return true;
}
