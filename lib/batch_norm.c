/* SPDX-License-Identifier: BSD-2-Clause */
#include "internal.h"

#include <math.h>

enum { OLDEST_BATCH_NORM = sizeof(msw_batch_norm) };

/* One output's normalisation is y = scale x + shift. */
static double scale_of(const msw_batch_norm *n, size_t output)
{
    const double variance = (double)n->variance[output] + n->epsilon;

    return (n->gamma ? (double)n->gamma[output] : 1) / sqrt(variance);
}

static float folded_bias(const msw_batch_norm *n, const float *bias, size_t output)
{
    const double shift = n->beta ? (double)n->beta[output] : 0;

    return (float)(((double)bias[output] - (double)n->mean[output]) * scale_of(n, output) +
                   shift);
}

/* The weights of output o are weight[o * output_stride] and what lies at all indices of
 * the other axes from there. */
typedef struct outputs {
    float *data;
    size_t count, stride;
    size_t shape[MSW_MAX_RANK - 1], inner[MSW_MAX_RANK - 1]; /* and their strides */
} outputs;

static outputs outputs_of(const msw_tensor *weights, uint32_t kind)
{
    const uint32_t axis = kind == MSW_WEIGHTS_IO ? 1 : 0;
    outputs o = {.data = weights->data, .count = weights->shape[axis],
                 .stride = weights->stride[axis]};

    for (uint32_t i = 0, j = 0; i < MSW_MAX_RANK; i++)
        if (i != axis) {
            o.shape[j] = weights->shape[i];
            o.inner[j++] = weights->stride[i];
        }
    return o;
}

/* Scale the weights of one output, or only see whether that would stay finite. */
static bool scale_output(const outputs *o, size_t output, double scale, bool write)
{
    float *weights = o->data + output * o->stride;
    bool finite = true;

    for (size_t i = 0; i < o->shape[0]; i++)
        for (size_t j = 0; j < o->shape[1]; j++)
            for (size_t k = 0; k < o->shape[2]; k++) {
                float *w = weights + i * o->inner[0] + j * o->inner[1] + k * o->inner[2];
                const float scaled = (float)((double)*w * scale);

                finite = finite && isfinite(scaled);
                if (write)
                    *w = scaled;
            }
    return finite;
}

static bool foldable(const outputs *o, const float *bias, const msw_batch_norm *n)
{
    for (size_t i = 0; i < o->count; i++) {
        const double variance = (double)n->variance[i] + n->epsilon;

        if (!(variance > 0) || !isfinite(variance) || !isfinite(folded_bias(n, bias, i)) ||
            !scale_output(o, i, scale_of(n, i), false))
            return false;
    }
    return true;
}

msw_status msw_conv_fold_batch_norm(msw_tensor *weights, float *bias, uint32_t kind,
                                    const msw_batch_norm *norm)
{
    msw_batch_norm n;
    msw_status status;
    outputs o;

    if (!weights || !bias || !norm || kind > MSW_WEIGHTS_OHWI)
        return MSW_E_INVAL;
    status = msw__take_options(&n, sizeof n, OLDEST_BATCH_NORM, norm);
    if (status)
        return status;
    o = outputs_of(weights, kind);
    if (weights->rank != (kind >= MSW_WEIGHTS_OIHW ? 4u : 2u) || n.channels != o.count ||
        !n.mean || !n.variance || !(n.epsilon >= 0))
        return MSW_E_INVAL;
    if (!foldable(&o, bias, &n))
        return MSW_E_NUMERIC;
    for (size_t i = 0; i < o.count; i++) {
        scale_output(&o, i, scale_of(&n, i), true);
        bias[i] = folded_bias(&n, bias, i);
    }
    return MSW_OK;
}
