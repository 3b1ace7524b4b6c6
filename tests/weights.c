/* SPDX-License-Identifier: BSD-2-Clause */
#include "weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

uint32_t random_next(uint32_t *state) /* xorshift */
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

uint32_t random_below(uint32_t *state, uint32_t limit)
{
    return (uint32_t)((uint64_t)random_next(state) * limit >> 32);
}

float random_float(uint32_t *state)
{
    return (float)(random_next(state) >> 8) / 8388608.0f - 1.0f;
}

float random_power(uint32_t *state)
{
    const float f = ldexpf(1, (int)random_below(state, 7) - 3);

    return random_next(state) & 0x10000 ? -f : f;
}

static void *need(void *p)
{
    if (!p) {
        fputs("no memory\n", stderr);
        exit(1);
    }
    return p;
}

static uint32_t *permutation(uint32_t *seed, size_t n)
{
    uint32_t *p = need(malloc(n * sizeof *p));

    for (uint32_t i = 0; i < n; i++) {
        const uint32_t j = random_below(seed, i + 1);
        p[i] = p[j];
        p[j] = i;
    }
    return p;
}

static msw_plan *make_plan(msw_context *ctx, const weights_spec *s, uint32_t *seed)
{
    const size_t shape[2] = {s->rows, s->columns};
    uint32_t *rows = NULL, *columns = NULL;
    msw_plan_options o;
    msw_plan *plan = NULL;

    msw_plan_options_init(&o);
    o.block_rows = s->block_rows;
    o.block_columns = s->block_columns;
    if (s->permuted) {
        o.row_permutation = rows = permutation(seed, s->rows);
        o.column_permutation = columns = permutation(seed, s->columns);
    }
    if (msw_plan_new(&plan, ctx, shape, 2, &o))
        need(NULL);
    free(rows);
    free(columns);
    return plan;
}

static void fill_block(weights *w, const weights_spec *s, size_t i, size_t j, uint32_t *seed,
                       size_t *magnitude, size_t *sign, size_t *weight)
{
    msw_unified *u = w->u;
    const msw_plan *p = u->plan;
    const uint8_t class = u->classes[i * p->block_column_count + j];
    const float m = s->powers ? fabsf(random_power(seed)) : 0.1f + fabsf(random_float(seed));

    if (class == MSW_CLASS_UNIFIED)
        u->magnitudes[(*magnitude)++] = m;
    for (size_t r = 0; r < msw__plan_rows(p, i); r++)
        for (size_t c = 0; c < msw__plan_columns(p, j); c++) {
            const size_t row = msw__plan_row(p, i) + r, column = j * p->block_columns + c;
            float v = 0;

            if (class == MSW_CLASS_FREE) {
                v = s->powers ? random_power(seed) : random_float(seed);
                u->free_weights[(*weight)++] = v;
            } else if (class == MSW_CLASS_UNIFIED) {
                const bool negative = random_next(seed) >> 20 & 1;
                if (negative)
                    msw__sign_set(u->signs, *sign);
                ++*sign;
                v = negative ? -m : m;
            }
            w->dense[(p->row_permutation ? p->row_permutation[row] : row) * w->columns +
                     (p->column_permutation ? p->column_permutation[column] : column)] = v;
        }
}

void weights_make(weights *out, msw_context *ctx, const weights_spec *spec)
{
    uint32_t seed = spec->seed * 2654435761u | 1;
    msw_plan *plan = make_plan(ctx, spec, &seed);
    uint8_t *classes = need(malloc(plan->block_count));

    for (size_t b = 0; b < plan->block_count; b++) {
        const uint32_t draw = random_below(&seed, 100);
        classes[b] = draw < spec->pruned                   ? MSW_CLASS_PRUNED
                     : draw < spec->pruned + spec->unified ? MSW_CLASS_UNIFIED
                                                           : MSW_CLASS_FREE;
    }
    out->rows = spec->rows;
    out->columns = spec->columns;
    out->dense = need(calloc(spec->rows * spec->columns, sizeof(float)));
    if (msw__unified_alloc(&out->u, plan, classes, NULL))
        need(NULL);
    for (size_t i = 0; i < plan->block_row_count; i++) {
        size_t magnitude = out->u->magnitude_start[i], sign = out->u->sign_start[i];
        size_t weight = out->u->free_start[i];

        for (size_t j = 0; j < plan->block_column_count; j++)
            fill_block(out, spec, i, j, &seed, &magnitude, &sign, &weight);
    }
    free(classes);
    msw_plan_free(plan);
}

void weights_free(weights *w)
{
    msw_unified_free(w->u);
    free(w->dense);
}
