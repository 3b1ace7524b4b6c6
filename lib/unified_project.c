/* SPDX-License-Identifier: BSD-2-Clause */
/* Dense tensors and the structure of a msw_unified: write, project, refit, verify. */
#include "internal.h"
#include "walk.h"

#include <math.h>

enum { OLDEST_VERIFY_INFO = sizeof(msw_verify_info) };

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

/* Mean of s_i v_i; of values equal to m it is m exactly. Never -0, which would not
 * survive a second projection. @p signs NULL: all positive. */
static float signed_mean(const msw__cell *cell, const uint8_t *signs)
{
    double s[LANES] = {0};
    size_t at = cell->sign;
    float mean;

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
    mean = (float)(((s[0] + s[1]) + (s[2] + s[3])) / (double)(cell->rows * cell->columns));
    return mean == 0 ? 0 : mean;
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

msw_status msw__unified_write(msw_tensor *out, const msw_unified *u, size_t *columns,
                              bool serial)
{
    return msw__walk_blocks(&(msw__walk){
        .plan = u->plan, .u = u, .tensor = out, .access = MSW__WRITE,
        .visit = write_block, .columns = columns, .serial = serial,
    });
}

msw_status msw_unified_to_dense(msw_tensor *out, const msw_unified *u)
{
    return out && u ? msw__unified_write(out, u, NULL, false) : MSW_E_INVAL;
}

static void project_block(const msw__cell *cell, const uint8_t *signs)
{
    if (cell->label == MSW_CLASS_PRUNED)
        fill_zero(cell);
    else if (cell->label == MSW_CLASS_UNIFIED)
        fill_signed(cell, signs, signed_mean(cell, signs));
}

static void project_linear(const msw__cell *cell, void *unused)
{
    (void)unused;
    project_block(cell, cell->u->signs);
}

static void project_squared(const msw__cell *cell, void *unused)
{
    (void)unused;
    project_block(cell, NULL);
}

msw_status msw__unified_mask(msw_tensor *t, const msw_unified *u, msw_slot kind,
                             size_t *columns, bool serial)
{
    return msw__walk_blocks(&(msw__walk){
        .plan = u->plan, .u = u, .tensor = t, .access = MSW__READ | MSW__WRITE,
        .visit = kind == MSW_SLOT_LINEAR ? project_linear : project_squared,
        .columns = columns, .serial = serial,
    });
}

msw_status msw_unified_project_gradient(msw_tensor *gradient, const msw_unified *u)
{
    if (!gradient || !u)
        return MSW_E_INVAL;
    return msw__unified_mask(gradient, u, MSW_SLOT_LINEAR, NULL, false);
}

msw_status msw_unified_project_slot(msw_tensor *slot, const msw_unified *u, msw_slot kind)
{
    if (!slot || !u || (kind != MSW_SLOT_LINEAR && kind != MSW_SLOT_SQUARED) ||
        !msw__plan_fits(u->plan, slot))
        return MSW_E_INVAL;
    if (!msw__tensor_finite(slot))
        return MSW_E_NUMERIC;
    return msw__unified_mask(slot, u, kind, NULL, false);
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

static void refit_block(const msw__cell *cell, void *arg)
{
    msw_unified *to = arg;

    if (cell->label == MSW_CLASS_FREE) {
        msw__cell_copy(to->free_weights + cell->free, cell);
    } else if (cell->label == MSW_CLASS_UNIFIED) {
        const float mean = signed_mean(cell, cell->u->signs);

        to->magnitudes[cell->magnitude] = fabsf(mean);
        take_signs(cell, to->signs, mean < 0);
    }
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
    status = msw__unified_alloc(out, u->plan, u->classes);
    if (status)
        return status;
    status = msw__walk_blocks(&(msw__walk){
        .plan = u->plan, .u = u, .tensor = weights, .access = MSW__READ,
        .visit = refit_block, .arg = *out,
    });
    if (status) {
        msw_unified_free(*out);
        *out = NULL;
    }
    return status;
}

/* What tasks find, in any order. */
typedef struct verify_job {
    _Atomic uint64_t violations[MSW_CLASS_UNIFIED + 1]; /* by class */
    _Atomic uint64_t first;                             /* block */
    msw_verify_info *info; /* of the first violating block */
} verify_job;

/* A weight as read in the order of the block. */
static float weight_at(const msw__cell *cell, size_t i)
{
    return cell->v[i / cell->columns * cell->ld + i % cell->columns];
}

static float sign_at(const msw__cell *cell, size_t i)
{
    return msw__sign_get(cell->u->signs, cell->sign + i) ? -1.0f : 1.0f;
}

/* What all s_i w_i of a unified block should be: what two of the first three agree on,
 * so that a single wrong weight is the one reported. */
static float signed_reference(const msw__cell *cell)
{
    const size_t weights = cell->rows * cell->columns;
    float x[3];

    for (size_t i = 0; i < 3; i++)
        x[i] = weight_at(cell, i % weights) * sign_at(cell, i % weights);
    if (!isfinite(x[0]) || x[1] == x[2])
        x[0] = x[1];
    return isfinite(x[0]) ? x[0] : cell->u->magnitudes[cell->magnitude];
}

/* What weight i should be; a free one may be anything finite. */
static float expected_at(const msw__cell *cell, size_t i, float reference)
{
    const float v = weight_at(cell, i);

    if (cell->label == MSW_CLASS_PRUNED)
        return 0;
    if (cell->label == MSW_CLASS_UNIFIED)
        return reference * sign_at(cell, i);
    return isfinite(v) ? v : cell->u->free_weights[cell->free + i];
}

/* The first offending weight of a block; their number when there is none. */
static size_t offending_weight(const msw__cell *cell, float *expected)
{
    const float reference = cell->label == MSW_CLASS_UNIFIED ? signed_reference(cell) : 0;
    size_t i = 0;

    for (; i < cell->rows * cell->columns; i++) {
        *expected = expected_at(cell, i, reference);
        if (!(weight_at(cell, i) == *expected))
            break;
    }
    return i;
}

static void verify_block(const msw__cell *cell, void *arg)
{
    verify_job *job = arg;
    uint64_t first;
    float expected;

    if (offending_weight(cell, &expected) == cell->rows * cell->columns)
        return;
    atomic_fetch_add(&job->violations[cell->label], 1);
    first = atomic_load(&job->first);
    while (cell->block < first &&
           !atomic_compare_exchange_weak(&job->first, &first, cell->block)) {
    }
}

/* Name the weight, once the first violating block is known. */
static void report_block(const msw__cell *cell, void *arg)
{
    verify_job *job = arg;
    float expected;
    size_t i;

    if (cell->block != job->info->first)
        return;
    i = offending_weight(cell, &expected);
    job->info->row = cell->row + i / cell->columns;
    job->info->column = cell->column + i % cell->columns;
    job->info->value = (double)weight_at(cell, i);
    job->info->expected = (double)expected;
}

static void count_blocks(msw_verify_info *info, verify_job *job, const msw_unified *u)
{
    uint64_t blocks[MSW_CLASS_UNIFIED + 1] = {0};

    for (size_t b = 0; b < u->plan->block_count; b++)
        blocks[u->classes[b]]++;
    for (size_t k = 0; k <= MSW_CLASS_UNIFIED; k++) {
        const uint64_t violations = atomic_load(&job->violations[k]);

        blocks[k] -= violations;
        info->violations += violations;
    }
    info->free_blocks = blocks[MSW_CLASS_FREE];
    info->pruned_blocks = blocks[MSW_CLASS_PRUNED];
    info->unified_blocks = blocks[MSW_CLASS_UNIFIED];
    info->first = atomic_load(&job->first);
}

msw_status msw_unified_verify(msw_verify_info *out, const msw_unified *u,
                              const msw_tensor *weights)
{
    msw_verify_info info;
    verify_job job = {.info = &info};
    msw__walk walk = {.tensor = weights, .u = u, .access = MSW__READ,
                      .visit = verify_block, .arg = &job};
    msw_status status;

    if (!out || !u || !weights)
        return MSW_E_INVAL;
    walk.plan = u->plan;
    atomic_init(&job.first, UINT64_MAX);
    status = msw__walk_blocks(&walk);
    if (status)
        return status;
    msw_verify_info_init(&info);
    count_blocks(&info, &job, u);
    if (info.violations) {
        walk.visit = report_block;
        status = msw__walk_blocks(&walk);
    }
    return status ? status : msw__give_output(out, &info, sizeof info, OLDEST_VERIFY_INFO);
}
