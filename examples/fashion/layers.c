/* SPDX-License-Identifier: BSD-2-Clause */
#include "layers.h"

#include <cblas.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

int conv_out_side(const struct conv_shape *s)
{
    return s->side - s->kernel + 1;
}

/* The lengths that occur, as constants: each compiles to a few vector moves, no call. */
static void copy_row(float *to, const float *from, int count)
{
    switch (count) {
    case 24: memcpy(to, from, 24 * sizeof *to); break;
    case 8: memcpy(to, from, 8 * sizeof *to); break;
    default: memcpy(to, from, (size_t)count * sizeof *to);
    }
}

/*
 * Convolution as a matrix product: row (channel, ky, kx) of `columns` holds, for
 * every output pixel, the input pixel that this weight of a filter meets.
 */
static void im2col(float *columns, const float *in, const struct conv_shape *s)
{
    int out_side = conv_out_side(s);

    for (int c = 0; c < s->channels; c++)
        for (int ky = 0; ky < s->kernel; ky++)
            for (int kx = 0; kx < s->kernel; kx++)
                for (int y = 0; y < out_side; y++, columns += out_side)
                    copy_row(columns, in + (c * s->side + y + ky) * s->side + kx,
                             out_side);
}

/* The transpose of im2col: every pixel sums up what all its copies received. */
static void col2im(float *in_gradient, const float *columns, const struct conv_shape *s)
{
    int out_side = conv_out_side(s);
    size_t in_size = (size_t)s->channels * (size_t)s->side * (size_t)s->side;

    memset(in_gradient, 0, in_size * sizeof *in_gradient);
    for (int c = 0; c < s->channels; c++)
        for (int ky = 0; ky < s->kernel; ky++)
            for (int kx = 0; kx < s->kernel; kx++)
                for (int y = 0; y < out_side; y++) {
                    float *row = in_gradient + (c * s->side + y + ky) * s->side + kx;

                    for (int x = 0; x < out_side; x++)
                        row[x] += columns[x];
                    columns += out_side;
                }
}

void conv_forward(float *out, const float *in, const float *weight, const float *bias,
                  const struct conv_shape *s, float *columns)
{
    int out_side = conv_out_side(s);
    int pixels = out_side * out_side;
    int reduction = s->channels * s->kernel * s->kernel;

    im2col(columns, in, s);
    for (int f = 0; f < s->filters; f++)
        for (int i = 0; i < pixels; i++)
            out[f * pixels + i] = bias[f];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, s->filters, pixels, reduction,
                1.0f, weight, reduction, columns, pixels, 1.0f, out, pixels);
}

/* Eight sums side by side: a single one would make each addition wait for the last. */
static float sum(const float *values, int count)
{
    float part[8] = {0};
    float total = 0.0f;
    int i;

    for (i = 0; i + 8 <= count; i += 8)
        for (int j = 0; j < 8; j++)
            part[j] += values[i + j];
    for (; i < count; i++)
        total += values[i];
    for (int j = 0; j < 8; j++)
        total += part[j];
    return total;
}

void conv_backward(float *in_gradient, float *weight_gradient, float *bias_gradient,
                   const float *out_gradient, const float *in, const float *weight,
                   const struct conv_shape *s, float *columns)
{
    int out_side = conv_out_side(s);
    int pixels = out_side * out_side;
    int reduction = s->channels * s->kernel * s->kernel;

    /* Making the columns anew is cheaper than keeping those of a whole batch. */
    im2col(columns, in, s);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, s->filters, reduction, pixels,
                1.0f, out_gradient, pixels, columns, pixels, 1.0f, weight_gradient,
                reduction);
    for (int f = 0; f < s->filters; f++)
        bias_gradient[f] += sum(out_gradient + f * pixels, pixels);
    if (in_gradient == NULL)
        return;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, reduction, pixels, s->filters,
                1.0f, weight, reduction, out_gradient, pixels, 0.0f, columns, pixels);
    col2im(in_gradient, columns, s);
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

void pool_relu(float *out, const float *in, int channels, int side)
{
    /* The channels lie below each other: one tall image. */
    for (int y = 0; y < channels * side / 2; y++, in += 2 * side)
        for (int x = 0; x < side; x += 2)
            *out++ = larger(0.0f, larger(larger(in[x], in[x + 1]),
                                         larger(in[x + side], in[x + side + 1])));
}

void pool_relu_forward(float *out, uint8_t *winner, const float *in, int channels,
                       int side)
{
    for (int y = 0; y < channels * side / 2; y++, in += 2 * side)
        for (int x = 0; x < side; x += 2) {
            const float square[4] = {in[x], in[x + 1], in[x + side], in[x + side + 1]};
            float best = 0.0f;
            uint8_t which = 4;

            for (uint8_t i = 0; i < 4; i++) {
                which = square[i] > best ? i : which;
                best = larger(square[i], best);
            }
            *out++ = best;
            *winner++ = which;
        }
}

void pool_relu_backward(float *in_gradient, const float *out_gradient,
                        const uint8_t *winner, int channels, int side)
{
    for (int y = 0; y < channels * side / 2; y++, in_gradient += 2 * side)
        for (int x = 0; x < side; x += 2, out_gradient++, winner++) {
            in_gradient[x] = *winner == 0 ? *out_gradient : 0.0f;
            in_gradient[x + 1] = *winner == 1 ? *out_gradient : 0.0f;
            in_gradient[x + side] = *winner == 2 ? *out_gradient : 0.0f;
            in_gradient[x + side + 1] = *winner == 3 ? *out_gradient : 0.0f;
        }
}

void dense_forward(float *out, const float *in, const float *weight, const float *bias,
                   int count, int in_size, int out_size)
{
    for (int n = 0; n < count; n++)
        memcpy(out + n * out_size, bias, (size_t)out_size * sizeof *out);
    if (count == 1) /* BLAS libraries are slow at matrix products with one row */
        cblas_sgemv(CblasRowMajor, CblasNoTrans, out_size, in_size, 1.0f, weight, in_size,
                    in, 1, 1.0f, out, 1);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, count, out_size, in_size,
                    1.0f, in, in_size, weight, in_size, 1.0f, out, out_size);
}

void dense_backward(float *in_gradient, float *weight_gradient, float *bias_gradient,
                    const float *out_gradient, const float *in, const float *weight,
                    int count, int in_size, int out_size)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, out_size, in_size, count, 1.0f,
                out_gradient, out_size, in, in_size, 1.0f, weight_gradient, in_size);
    for (int n = 0; n < count; n++)
        for (int o = 0; o < out_size; o++)
            bias_gradient[o] += out_gradient[n * out_size + o];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, in_size, out_size, 1.0f,
                out_gradient, out_size, weight, in_size, 0.0f, in_gradient, in_size);
}

void relu_forward(float *values, int count)
{
    for (int i = 0; i < count; i++)
        values[i] = values[i] > 0.0f ? values[i] : 0.0f;
}

void relu_backward(float *gradient, const float *out, int count)
{
    for (int i = 0; i < count; i++)
        gradient[i] = out[i] > 0.0f ? gradient[i] : 0.0f;
}

double softmax_cross_entropy(float *scores, const uint8_t *labels, int count, int classes,
                             float scale)
{
    double loss = 0.0;

    for (int n = 0; n < count; n++, scores += classes) {
        float largest = scores[0], sum = 0.0f;

        /* Without the largest score taken off, exp() could overflow. */
        for (int c = 1; c < classes; c++)
            largest = scores[c] > largest ? scores[c] : largest;
        loss -= (double)(scores[labels[n]] - largest);
        for (int c = 0; c < classes; c++) {
            scores[c] = expf(scores[c] - largest);
            sum += scores[c];
        }
        loss += log((double)sum);
        for (int c = 0; c < classes; c++)
            scores[c] = scale * (scores[c] / sum - (c == labels[n] ? 1.0f : 0.0f));
    }
    return loss;
}
