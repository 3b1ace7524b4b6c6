/* SPDX-License-Identifier: BSD-2-Clause */
#include "direct.h"
#include "sizes.h"
#if defined(__x86_64__)
#include "x86/direct.h"
#endif

#include <math.h>
#include <string.h>

enum { MAX_ROWS = 4, C_LANES = 8, MODEL_LANES = 16 };

/* Nanoseconds of a tap in a vector of 16 pixels, per row and besides. */
static const double row_cost = 0.3, tap_cost = 0.3;

/* The kernel in C */

typedef float sums[MAX_ROWS][C_LANES];

static void add_taps(sums sum, const msw__direct_unit *u, size_t at, size_t lanes)
{
    for (size_t t = 0; t < u->taps; t++) {
        const float *x = u->x + u->place[u->element[t]] + at;
        const float *w = u->weights + t * u->rows;

        for (uint32_t r = 0; r < u->rows; r++)
            for (size_t j = 0; j < lanes; j++)
                sum[r][j] += w[r] * x[j];
    }
}

/* Comparisons such that NaN stays. */
static float clamp(float v, float low, float high)
{
    v = v < low ? low : v;
    return v > high ? high : v;
}

void msw__direct_c(const msw__direct_unit *u)
{
    for (size_t i = 0; i < u->height; i++)
        for (size_t j = 0; j < u->width; j += C_LANES) {
            const size_t lanes = u->width - j < C_LANES ? u->width - j : C_LANES;
            sums sum = {{0}};

            add_taps(sum, u, i * u->pitch + j, lanes);
            for (uint32_t r = 0; r < u->outputs; r++) {
                float *y = u->y + r * u->ldy + i * u->width + j;

                for (size_t k = 0; k < lanes; k++) {
                    const float v = sum[r][k] + u->bias[r];
                    y[k] = clamp(u->beta ? v + y[k] : v, u->low, u->high);
                }
            }
        }
}

/* The best kernels that these processor levels allow. */
static void choose(msw__direct *d, uint32_t cpu)
{
    d->kernel = msw__direct_c;
    d->half = NULL;
    d->lanes = C_LANES;
#if defined(__x86_64__)
    direct_choose_x86(d, cpu);
#endif
    (void)cpu;
}

/* Packing */

static uint32_t rows_of(size_t outputs)
{
    return outputs > 2 ? MAX_ROWS : (uint32_t)outputs;
}

float msw__dense_weight(const msw_plan *p, const float *dense, size_t o, size_t k)
{
    const bool oihw = p->weights == MSW_WEIGHTS_OIHW;
    size_t channels, positions, i, position;

    if (p->weights == MSW_WEIGHTS_OI)
        return dense[o * p->columns + k];
    if (p->weights == MSW_WEIGHTS_IO)
        return dense[k * p->rows + o];
    channels = p->shape[oihw ? 1 : 3];
    positions = p->columns / channels;
    i = p->reduction == MSW_REDUCTION_CHANNELS ? k % channels : k / positions;
    position = p->reduction == MSW_REDUCTION_CHANNELS ? k / channels : k % positions;
    return dense[o * p->columns + (oihw ? i * positions + position
                                        : position * channels + i)];
}

/* Some outputs of a group: those of a block. */
typedef struct part {
    size_t first, count;
} part;

static part block_outputs(const msw__direct *d, size_t block)
{
    const size_t blocks = d->blocks / d->groups, row = block % blocks * d->rows;
    const size_t left = d->outputs - row;

    return (part){block / blocks * d->outputs + row, left < d->rows ? left : d->rows};
}

/* The weights of a tap; false when all are 0. */
static bool read_tap(float *w, const msw_plan *p, const float *dense, part outputs,
                     size_t k)
{
    bool used = false;

    for (size_t r = 0; r < outputs.count; r++) {
        w[r] = msw__dense_weight(p, dense, outputs.first + r, k);
        used = used || w[r] != 0;
    }
    return used;
}

static void count_taps(msw__direct *d, const msw_plan *p, const float *dense)
{
    float w[MAX_ROWS];

    for (size_t b = 0; b < d->blocks; b++) {
        const part outputs = block_outputs(d, b);

        d->start[b + 1] = d->start[b];
        for (size_t k = 0; k < p->columns; k++)
            d->start[b + 1] += read_tap(w, p, dense, outputs, k);
    }
}

static void pack(msw__direct *d, const msw_plan *p, const float *dense, const float *bias)
{
    for (size_t b = 0; b < d->blocks; b++) {
        const part outputs = block_outputs(d, b);
        size_t tap = d->start[b];

        for (size_t k = 0; k < p->columns; k++) {
            float w[MAX_ROWS] = {0};

            if (!read_tap(w, p, dense, outputs, k))
                continue;
            memcpy(d->weights + tap * d->rows, w, d->rows * sizeof *w);
            d->element[tap++] = (uint32_t)k;
        }
        for (size_t r = 0; bias && r < outputs.count; r++)
            d->bias[b * d->rows + r] = bias[outputs.first + r];
    }
}

static size_t tap_count(const msw__direct *d)
{
    return d->start ? d->start[d->blocks] : 0;
}

static msw_status make(msw__direct *d, msw_context *ctx, const msw_plan *p,
                       const float *dense, const float *bias)
{
    void *memory;
    msw_status status = msw__calloc(&memory, ctx, d->blocks + 1, sizeof *d->start);

    d->start = memory;
    if (status)
        return status;
    count_taps(d, p, dense);
    status = msw__alloc(&memory, ctx, tap_count(d), sizeof *d->element);
    d->element = memory;
    if (!status) {
        status = msw__alloc(&memory, ctx, tap_count(d), d->rows * sizeof *d->weights);
        d->weights = memory;
    }
    if (!status) {
        status = msw__calloc(&memory, ctx, d->blocks * d->rows, sizeof *d->bias);
        d->bias = memory;
    }
    if (!status)
        pack(d, p, dense, bias);
    return status;
}

void msw__activation_range(float *low, float *high, uint32_t activation)
{
    *low = activation == MSW_ACTIVATION_NONE ? -INFINITY : 0;
    *high = activation == MSW_ACTIVATION_RELU6 ? 6 : INFINITY;
}

msw_status msw__direct_init(msw__direct *d, msw_context *ctx, const msw_unified *u,
                            const float *bias, uint32_t activation)
{
    const msw_plan *p = u->plan;
    msw_tensor *dense;
    msw_status status;

    *d = (msw__direct){.groups = p->groups, .outputs = p->group_rows};
    d->rows = rows_of(d->outputs);
    d->blocks = d->groups * msw__divide_up(d->outputs, d->rows);
    msw__activation_range(&d->low, &d->high, activation);
    choose(d, ctx->cpu);
    status = msw_tensor_new(&dense, ctx, p->shape, p->rank);
    if (!status)
        status = msw_unified_to_dense(dense, u);
    if (!status)
        status = make(d, ctx, p, dense->data, bias);
    msw_tensor_free(dense);
    if (status)
        msw__direct_free(d, ctx);
    return status;
}

void msw__direct_free(msw__direct *d, msw_context *ctx)
{
    const size_t taps = tap_count(d);

    msw__free(ctx, d->bias, d->blocks * d->rows, sizeof *d->bias);
    msw__free(ctx, d->weights, taps, d->rows * sizeof *d->weights);
    msw__free(ctx, d->element, taps, sizeof *d->element);
    msw__free(ctx, d->start, d->blocks + 1, sizeof *d->start);
    *d = (msw__direct){0};
}

uint64_t msw__direct_bytes(const msw__direct *d)
{
    return tap_count(d) * (sizeof *d->element + d->rows * sizeof *d->weights) +
           (d->blocks + 1) * sizeof *d->start + d->blocks * d->rows * sizeof *d->bias;
}

const char *msw__direct_name(uint32_t cpu)
{
    return cpu & MSW_CPU_AVX512 ? "direct avx512"
           : cpu & MSW_CPU_AVX2 ? "direct avx2" : "direct c";
}

/* A tap falls away where the blocks of all its rows are pruned. */
double msw__direct_cost(const msw_unified *u)
{
    const msw_plan *p = u->plan;
    const uint32_t rows = rows_of(p->group_rows);
    const size_t blocks = p->groups * msw__divide_up(p->group_rows, rows);
    const size_t met = msw__divide_up(rows, p->block_rows);
    double pruned = 0, away = 1;

    for (size_t b = 0; b < p->block_count; b++)
        pruned += u->classes[b] == MSW_CLASS_PRUNED;
    for (size_t i = 0; i < met; i++)
        away *= pruned / (double)p->block_count;
    return 1e-9 / MODEL_LANES * (double)blocks * (double)p->columns * (1 - away) *
           (rows * row_cost + tap_cost);
}

/* Running */

void msw__direct_run(const msw__direct *d, size_t block, msw__direct_unit *u)
{
    const size_t start = d->start[block];

    u->element = d->element + start;
    u->weights = d->weights + start * d->rows;
    u->bias = d->bias + block * d->rows;
    u->taps = d->start[block + 1] - start;
    u->rows = d->rows;
    u->outputs = (uint32_t)block_outputs(d, block).count;
    u->low = d->low;
    u->high = d->high;
    if (d->half && msw__divide_up(u->width, d->lanes / 2) <
                       2 * msw__divide_up(u->width, d->lanes))
        d->half(u);
    else
        d->kernel(u);
}
