/* SPDX-License-Identifier: BSD-2-Clause */
/* What a solver tells about itself. */
#include "admm.h"

#include <math.h>

enum { OLDEST_MEMORY = sizeof(msw_admm_memory) };

static uint64_t tensor_bytes(const msw_tensor *t)
{
    return t ? sizeof *t + (uint64_t)t->count * sizeof(float) : 0;
}

static uint64_t unified_bytes(const msw_unified *u)
{
    size_t rows;

    if (!u)
        return 0;
    rows = u->plan->block_row_count;
    return sizeof *u + (u->levels ? 2 : 1) * u->plan->block_count +
           (u->leaders ? u->magnitude_start[rows] * sizeof *u->leaders : 0) +
           3 * (rows + 1) * sizeof *u->sign_start +
           u->magnitude_start[rows] * sizeof *u->magnitudes +
           (u->sign_start[rows] + 7) / 8 + u->free_start[rows] * sizeof *u->free_weights;
}

msw_status msw_admm_get_memory(msw_admm_memory *out, const msw_admm *admm)
{
    msw_admm_memory m;

    if (!out || !admm)
        return MSW_E_INVAL;
    if (admm->state == MSW__BUSY)
        return MSW_E_STATE;
    msw_admm_memory_init(&m);
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer *l = &admm->layers[i];

        m.state += msw__layer_state_bytes(l) + unified_bytes(l->frozen) +
                   tensor_bytes(l->soft);
        m.gradients += tensor_bytes(l->gradient);
        m.importance += tensor_bytes(l->importance) + tensor_bytes(l->squares);
        m.rollback += tensor_bytes(l->rollback);
        for (size_t k = 0; k < MSW__SLOTS; k++)
            m.slots += tensor_bytes(l->slots[k]);
    }
    if (admm->weight_data)
        m.gradients += admm->layer_count * sizeof *admm->weight_data;
    if (admm->gradient_data)
        m.gradients += admm->layer_count * sizeof *admm->gradient_data;
    m.state += msw__straight_bytes(admm) + admm->done_count + admm->column_count * sizeof *admm->masking.columns +
               admm->mask_sum_count * sizeof *admm->masking.sums;
    if (admm->phase == MSW_PHASE_ADMM)
        m.scratch = msw__admm_scratch_bytes(admm);
    return msw__give_output(out, &m, sizeof m, OLDEST_MEMORY);
}

static const msw__layer *layer_of(const msw_admm *admm, uint32_t layer)
{
    return admm && layer < admm->layer_count ? &admm->layers[layer] : NULL;
}

msw_phase msw_admm_phase(const msw_admm *admm)
{
    return admm->phase;
}

uint32_t msw_admm_layer_count(const msw_admm *admm)
{
    return admm->layer_count;
}

const char *msw_admm_layer_name(const msw_admm *admm, uint32_t layer)
{
    const msw__layer *l = layer_of(admm, layer);

    return l ? l->name : NULL;
}

uint32_t msw_admm_updates(const msw_admm *admm)
{
    return admm->updates;
}

double msw_admm_learning_rate(const msw_admm *admm)
{
    return admm->options.learning_rate;
}

double msw_admm_rho(const msw_admm *admm, uint32_t layer)
{
    const msw__layer *l = layer_of(admm, layer);

    return l ? l->rho : (double)NAN;
}

double msw_admm_residual(const msw_admm *admm, uint32_t layer, msw_residual kind)
{
    const msw__layer *l = layer_of(admm, layer);

    if (!l)
        return (double)NAN;
    return kind == MSW_RESIDUAL_PRIMAL ? l->primal : l->dual;
}

msw_plan *msw_admm_plan(const msw_admm *admm, uint32_t layer)
{
    const msw__layer *l = layer_of(admm, layer);

    return l ? l->plan : NULL;
}

msw_stop_reason msw_admm_stop_reason(const msw_admm *admm)
{
    return admm->stop_reason;
}

int msw_admm_host_code(const msw_admm *admm)
{
    return admm->host_code;
}

const char *msw_admm_error(const msw_admm *admm)
{
    return admm->error;
}
