/* SPDX-License-Identifier: BSD-2-Clause */
/* Dense tensors and the structure of a msw_unified: write, project, refit. */
#include "internal.h"
#include "merge.h"
#include "walk.h"

#include <math.h>

/* Weights are taken four at a time: four sign bits make four sign masks. */
enum { LANES = 4 };

#define N 0x80000000u /* sign of a float */
static const uint32_t sign_masks[1 << LANES][LANES] = {
    {0, 0, 0, 0}, {N, 0, 0, 0}, {0, N, 0, 0}, {N, N, 0, 0},
    {0, 0, N, 0}, {N, 0, N, 0}, {0, N, N, 0}, {N, N, N, 0},
    {0, 0, 0, N}, {N, 0, 0, N}, {0, N, 0, N}, {N, N, 0, N},
    {0, 0, N, N}, {N, 0, N, N}, {0, N, N, N}, {N, N, N, N},
};
#undef N

static const uint32_t *masks_of(uint64_t signs)
{
    return sign_masks[signs & ((1 << LANES) - 1)];
}

static float flip(float v, uint32_t mask)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof bits);
    bits ^= mask;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* Sum of s_i v_i. @p signs NULL: all positive. */
static msw__block_sum signed_sum(const msw__cell *cell, const uint8_t *signs)
{
    double s[LANES] = {0};
    size_t at = cell->sign;

    for (size_t r = 0; r < cell->rows; r++, at += cell->columns) {
        const float *v = cell->v + r * cell->ld;
        uint64_t word = signs ? msw__signs_load(signs, at, cell->columns) : 0;
        size_t c = 0;

        for (; c + LANES <= cell->columns; c += LANES, word >>= LANES) {
            const uint32_t *masks = masks_of(word);

            for (size_t l = 0; l < LANES; l++)
                s[l] += (double)flip(v[c + l], masks[l]);
        }
        for (size_t l = 0; c + l < cell->columns; l++)
            s[l] += (double)flip(v[c + l], masks_of(word)[l]);
    }
    return (msw__block_sum){(s[0] + s[1]) + (s[2] + s[3]),
                            (double)(cell->rows * cell->columns)};
}

/* Never -0, which would not survive a second projection. */
static float rounded(double mean)
{
    const float m = (float)mean;

    return m == 0 ? 0 : m;
}

/* Write s_i m; @p signs NULL: all positive. */
static void fill_signed(const msw__cell *cell, const uint8_t *signs, float m)
{
    size_t at = cell->sign;

    for (size_t r = 0; r < cell->rows; r++, at += cell->columns) {
        float *v = cell->v + r * cell->ld;
        uint64_t word = signs ? msw__signs_load(signs, at, cell->columns) : 0;
        size_t c = 0;

        for (; c + LANES <= cell->columns; c += LANES, word >>= LANES) {
            const uint32_t *masks = masks_of(word);

            for (size_t l = 0; l < LANES; l++)
                v[c + l] = flip(m, masks[l]);
        }
        for (size_t l = 0; c + l < cell->columns; l++)
            v[c + l] = flip(m, masks_of(word)[l]);
    }
}

static void fill_zero(const msw__cell *cell)
{
    for (size_t r = 0; r < cell->rows; r++)
        memset(cell->v + r * cell->ld, 0, cell->columns * sizeof *cell->v);
}

static void fill_free(const msw__cell *cell, const float *from)
{
    for (size_t r = 0; r < cell->rows; r++, from += cell->columns)
        memcpy(cell->v + r * cell->ld, from, cell->columns * sizeof *from);
}

static void write_block(const msw__cell *cell, void *unused)
{
    const msw_unified *u = cell->u;

    (void)unused;
    if (cell->label == MSW_CLASS_PRUNED)
        fill_zero(cell);
    else if (cell->label == MSW_CLASS_UNIFIED)
        fill_signed(cell, u->signs, u->magnitudes[cell->magnitude]);
    else
        fill_free(cell, u->free_weights + cell->free);
}

/* With memory it ends well: on the caller's thread where the host's parallel_for failed. */
static msw_status walk_with(msw__walk *walk, const msw__walk_memory *memory)
{
    msw_status status;

    walk->columns = memory ? memory->columns : NULL;
    walk->importance_columns = memory ? memory->importance_columns : NULL;
    status = msw__walk_blocks(walk);
    if (status && memory) {
        walk->serial = true;
        status = msw__walk_blocks(walk);
    }
    return status;
}

msw_status msw__unified_write(msw_tensor *out, const msw_unified *u,
                              const msw__walk_memory *memory)
{
    msw__walk walk = {.plan = u->plan, .u = u, .tensor = out, .access = MSW__WRITE,
                      .visit = write_block};

    return walk_with(&walk, memory);
}

/* sign(v_i) m. */
static void fill_own_signs(const msw__cell *cell, float m)
{
    for (size_t r = 0; r < cell->rows; r++) {
        float *v = cell->v + r * cell->ld;

        for (size_t c = 0; c < cell->columns; c++)
            v[c] = msw__negative(v[c]) ? -m : m;
    }
}

static void project_own_block(const msw__cell *cell, void *unused)
{
    (void)unused;
    if (cell->label == MSW_CLASS_PRUNED)
        fill_zero(cell);
    else if (cell->label == MSW_CLASS_UNIFIED)
        fill_own_signs(cell, msw__block_magnitude(cell->v, cell->ld, cell->h, cell->ld_h,
                                                  cell->rows, cell->columns));
}

msw_status msw__project_onto(msw_tensor *weights, const msw_plan *plan,
                             const msw__importance *importance, const uint8_t *classes,
                             const msw__walk_memory *memory)
{
    msw__walk walk = {.plan = plan, .classes = classes, .tensor = weights,
                      .importance = importance, .access = MSW__READ | MSW__WRITE,
                      .visit = project_own_block};

    return walk_with(&walk, memory);
}

msw_status msw_unified_to_dense(msw_tensor *out, const msw_unified *u)
{
    return out && u ? msw__unified_write(out, u, NULL) : MSW_E_INVAL;
}

/* A projection on the structure; the signs NULL: all positive. */
typedef struct projection {
    const uint8_t *signs;
    msw__block_sum *sums; /* of unified blocks, then means, where some are merged */
} projection;

/* The mean of a unified block: of all its node, where there are sums. Of values equal to m
 * it is m exactly. */
static float mean_of(const msw__cell *cell, const projection *p)
{
    const msw__block_sum s =
        p->sums ? p->sums[cell->magnitude] : signed_sum(cell, p->signs);

    return rounded(p->sums ? s.sum : s.sum / s.weight);
}

static void sum_block(const msw__cell *cell, void *arg)
{
    const projection *p = arg;

    if (cell->label == MSW_CLASS_UNIFIED)
        p->sums[cell->magnitude] = signed_sum(cell, p->signs);
}

/* The means of merged blocks. */
static msw_status find_means(projection *p, const msw_unified *u, const msw_tensor *t,
                             const msw__walk_memory *memory)
{
    msw__walk walk = {.plan = u->plan, .u = u, .tensor = t, .access = MSW__READ,
                      .visit = sum_block, .arg = p};
    msw_status status;

    if (!p->sums)
        return MSW_OK;
    status = walk_with(&walk, memory);
    if (!status)
        msw__merge_means(p->sums, u);
    return status;
}

static void project_block(const msw__cell *cell, void *arg)
{
    const projection *p = arg;

    if (cell->label == MSW_CLASS_PRUNED)
        fill_zero(cell);
    else if (cell->label == MSW_CLASS_UNIFIED)
        fill_signed(cell, p->signs, mean_of(cell, p));
}

/* Sums for the means of merged blocks, unless there are none. */
static msw_status alloc_sums(msw__block_sum **out, const msw_unified *u)
{
    const size_t count = u->magnitude_start[u->plan->block_row_count];
    msw_status status = MSW_OK;
    void *memory = NULL;

    if (u->leaders)
        status = msw__alloc(&memory, u->plan->ctx, count, sizeof **out);
    *out = memory;
    return status;
}

static void free_sums(msw__block_sum *sums, const msw_unified *u)
{
    msw__free(u->plan->ctx, sums, u->magnitude_start[u->plan->block_row_count],
              sizeof *sums);
}

msw_status msw__unified_mask(msw_tensor *t, const msw_unified *u, msw_slot kind,
                             const msw__walk_memory *memory)
{
    projection p = {kind == MSW_SLOT_LINEAR ? u->signs : NULL, NULL};
    msw__walk walk = {.plan = u->plan, .u = u, .tensor = t,
                      .access = MSW__READ | MSW__WRITE, .visit = project_block, .arg = &p};
    msw_status status = MSW_OK;

    if (!memory)
        status = alloc_sums(&p.sums, u);
    else if (u->leaders)
        p.sums = memory->sums;
    if (!status)
        status = find_means(&p, u, t, memory);
    if (!status)
        status = walk_with(&walk, memory);
    if (!memory)
        free_sums(p.sums, u);
    return status;
}

msw_status msw_unified_project_gradient(msw_tensor *gradient, const msw_unified *u)
{
    if (!gradient || !u)
        return MSW_E_INVAL;
    return msw__unified_mask(gradient, u, MSW_SLOT_LINEAR, NULL);
}

msw_status msw_unified_project_slot(msw_tensor *slot, const msw_unified *u, msw_slot kind)
{
    if (!slot || !u || (kind != MSW_SLOT_LINEAR && kind != MSW_SLOT_SQUARED) ||
        !msw__plan_fits(u->plan, slot))
        return MSW_E_INVAL;
    if (!msw__tensor_finite(slot))
        return MSW_E_NUMERIC;
    return msw__unified_mask(slot, u, kind, NULL);
}

msw_status msw_unified_project(msw_tensor *weights, const msw_unified *u)
{
    return msw_unified_project_slot(weights, u, MSW_SLOT_LINEAR);
}

/* The signs of a block, all of them flipped when it is so. */
static void take_signs(const msw__cell *cell, uint8_t *signs, bool flipped)
{
    const uint64_t flips = flipped ? UINT64_MAX >> (64 - cell->columns) : 0;
    size_t at = cell->sign;

    for (size_t r = 0; r < cell->rows; r++, at += cell->columns)
        msw__signs_store(signs, at, cell->columns,
                         msw__signs_load(cell->u->signs, at, cell->columns) ^ flips);
}

typedef struct refitting {
    projection means;
    msw_unified *to;
} refitting;

static void refit_block(const msw__cell *cell, void *arg)
{
    const refitting *r = arg;

    if (cell->label == MSW_CLASS_FREE) {
        msw__cell_copy(r->to->free_weights + cell->free, cell);
    } else if (cell->label == MSW_CLASS_UNIFIED) {
        const float mean = mean_of(cell, &r->means);

        r->to->magnitudes[cell->magnitude] = fabsf(mean);
        take_signs(cell, r->to->signs, mean < 0);
    }
}

static msw_status refit(msw_unified *to, const msw_unified *u, const msw_tensor *weights)
{
    refitting r = {{u->signs, NULL}, to};
    msw__walk walk = {.plan = u->plan, .u = u, .tensor = weights, .access = MSW__READ,
                      .visit = refit_block, .arg = &r};
    msw_status status = alloc_sums(&r.means.sums, u);

    if (!status)
        status = find_means(&r.means, u, weights, NULL);
    if (!status)
        status = msw__walk_blocks(&walk);
    free_sums(r.means.sums, u);
    return status;
}

msw_status msw_unified_refit(msw_unified **out, const msw_unified *u,
                             const msw_tensor *weights)
{
    msw_status status;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!u || !weights || !msw__plan_fits(u->plan, weights))
        return MSW_E_INVAL;
    if (!msw__tensor_finite(weights))
        return MSW_E_NUMERIC;
    status = msw__unified_alloc(out, u->plan, u->classes, u->levels);
    if (status)
        return status;
    status = refit(*out, u, weights);
    if (status) {
        msw_unified_free(*out);
        *out = NULL;
    }
    return status;
}
