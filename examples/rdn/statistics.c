/* SPDX-License-Identifier: BSD-2-Clause */
#include "statistics.h"

#include <cblas.h>
#include <string.h>

#include "memory.h"

/* Positions at once: sums within a chunk are in single precision, across in double. */
enum { CHUNK = 1024 };

void statistics_new(struct statistics *s, const struct layer *l)
{
    *s = (struct statistics){.inputs = layer_fan_in(l) + 1, .outputs = l->channels};
    s->gram = allocate(s->inputs * s->inputs, sizeof *s->gram);
    s->cross = allocate(s->outputs * s->inputs, sizeof *s->cross);
}

void statistics_free(struct statistics *s)
{
    free(s->gram);
    free(s->cross);
    *s = (struct statistics){0};
}

/* One row of the transposed im2col matrix, all zeros around the map. */
static void gather(float *row, const struct layer *l, const float *map, size_t height,
                   size_t width, size_t y, size_t x)
{
    const size_t above = l->kernel_height / 2, left = l->kernel_width / 2;
    const size_t channels = l->input_channels;

    for (size_t h = 0; h < l->kernel_height; h++)
        for (size_t w = 0; w < l->kernel_width; w++, row += channels) {
            const size_t from_y = y + h - above, from_x = x + w - left; /* may wrap */

            if (from_y < height && from_x < width)
                memcpy(row, map + (from_y * width + from_x) * channels,
                       channels * sizeof *row);
            else
                memset(row, 0, channels * sizeof *row);
        }
    *row = 1;
}

static void add_all(double *to, const float *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] += from[i];
}

/* Of the lower triangle, which is all that there is. */
static void add_gram(double *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add_all(to + i * n, from + i * n, i + 1);
}

static void mirror(double *a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++)
            a[i * n + k] = a[k * n + i];
}

void statistics_add(struct statistics *s, const struct layer *l, const float *x,
                    const float *y, size_t batch, size_t height, size_t width)
{
    const size_t positions = batch * height * width, n = s->inputs, m = s->outputs;
    float *rows = allocate_floats(CHUNK * n);
    float *gram = allocate_floats(n * n), *cross = allocate_floats(m * n);

    for (size_t first = 0; first < positions; first += CHUNK) {
        const size_t count = positions - first < CHUNK ? positions - first : CHUNK;

        for (size_t i = 0; i < count; i++) {
            const size_t at = (first + i) % (height * width);
            const size_t image = (first + i) / (height * width);

            gather(rows + i * n, l, x + image * height * width * l->input_channels, height,
                   width, at / width, at % width);
        }
        cblas_ssyrk(CblasRowMajor, CblasLower, CblasTrans, (int)n, (int)count, 1, rows,
                    (int)n, 0, gram, (int)n);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)m, (int)n, (int)count, 1,
                    y + first * m, (int)m, rows, (int)n, 0, cross, (int)n);
        add_gram(s->gram, gram, n);
        add_all(s->cross, cross, m * n);
    }
    for (size_t i = 0; i < positions * m; i++)
        s->energy += (double)y[i] * (double)y[i];
    s->count += (double)positions;
    mirror(s->gram, n);
    free(rows);
    free(gram);
    free(cross);
}

double statistics_error(const struct statistics *s, const float *weights, const float *bias)
{
    const size_t n = s->inputs;
    double *row = allocate(n, sizeof *row), *product = allocate(n, sizeof *product);
    double error = s->energy;

    for (size_t o = 0; o < s->outputs; o++) {
        for (size_t k = 0; k + 1 < n; k++)
            row[k] = weights[k * s->outputs + o];
        row[n - 1] = bias[o];
        cblas_dsymv(CblasRowMajor, CblasLower, (int)n, 1, s->gram, (int)n, row, 1, 0,
                    product, 1);
        error += cblas_ddot((int)n, row, 1, product, 1) -
                 2 * cblas_ddot((int)n, row, 1, s->cross + o * n, 1);
    }
    free(row);
    free(product);
    return error / s->count;
}
