/* SPDX-License-Identifier: BSD-2-Clause */
/* Loading a solver's state: all of it is read and checked beside the one that is there,
 * then both are exchanged. */
#include "bytes.h"
#include "checkpoint_load.h"
#include "elements.h"
#include "optimiser.h"

#include <math.h>

msw_status msw__load_corrupt(const msw__loaded *in, const char *what)
{
    return msw__admm_fail(in->admm, MSW_E_CORRUPT, "solver state: %s", what);
}

msw_status msw__load_other(const msw__loaded *in, const char *what)
{
    return msw__admm_fail(in->admm, MSW_E_INVAL, "the state of another solver: %s", what);
}

msw_status msw__load_failed(const msw__loaded *in, msw_status status, const char *name)
{
    if (status == MSW_E_NOTFOUND || status == MSW_E_INVAL)
        return msw__load_corrupt(in, name);
    return msw__admm_fail(in->admm, status, "%s", msw_reader_error(in->reader));
}

/* The solver */

static bool none_or_finite(double x)
{
    return isnan(x) || isfinite(x);
}

static bool solver_valid(const msw__loaded *in)
{
    return (in->begun || in->phase == MSW_PHASE_ADMM) && in->updates < UINT32_MAX &&
           in->since <= SIZE_MAX && isfinite(in->loss_sum) &&
           none_or_finite(in->first_loss) && msw__positive(in->learning_rate);
}

static msw_status read_solver(msw__loaded *in)
{
    const uint8_t *bytes;
    const void *value;
    size_t size;
    msw_status status = msw_reader_get_metadata(&value, &size, in->reader,
                                                MSW__CHECKPOINT_KEY);

    if (status)
        return msw__admm_fail(in->admm, status, "no solver state in the file");
    bytes = value;
    if (size < 4 || msw__load32(bytes) == 0)
        return msw__load_corrupt(in, "version");
    in->version = msw__load32(bytes);
    if (in->version > MSW__CHECKPOINT_VERSION)
        return msw__admm_fail(in->admm, MSW_E_UNSUPPORTED, "solver state of version %lu",
                              (unsigned long)msw__load32(bytes));
    if (size != MSW__CHECKPOINT_BYTES || msw__load32(bytes + 4) > MSW_PHASE_FROZEN ||
        msw__load32(bytes + 8) > 1)
        return msw__load_corrupt(in, "header");
    in->phase = (msw_phase)msw__load32(bytes + 4);
    in->begun = msw__load32(bytes + 8);
    in->updates = msw__load32(bytes + 20);
    in->since = msw__load64(bytes + 24);
    in->steps = msw__load64(bytes + 32);
    in->loss_sum = msw__double_of(msw__load64(bytes + 40));
    in->first_loss = msw__double_of(msw__load64(bytes + 48));
    in->learning_rate = msw__double_of(msw__load64(bytes + 56));
    if (!solver_valid(in))
        return msw__load_corrupt(in, "counters");
    if (msw__load32(bytes + 12) != in->admm->layer_count)
        return msw__load_other(in, "another number of layers");
    if (msw__load32(bytes + 16) != in->admm->options.optimiser)
        return msw__load_other(in, "another optimiser");
    if (in->begun && in->phase == MSW_PHASE_ADMM &&
        in->admm->options.relaxation == MSW_RELAXATION_SOFT)
        return msw__load_other(in, "another relaxation");
    return MSW_OK;
}

/* The budget */

static bool amount_valid(double x)
{
    return x >= 0 && isfinite(x);
}

static bool read_layer_budget(msw__layer_budget *l, const uint8_t *bytes)
{
    bool valid;

    l->factor = msw__double_of(msw__load64(bytes));
    l->fixed = msw__double_of(msw__load64(bytes + 8));
    valid = l->factor > 0 && isfinite(l->factor) && amount_valid(l->fixed);
    for (size_t k = 0; k < MSW__BLOCK_KINDS * MSW__CLASSES; k++) {
        const double amount = msw__double_of(msw__load64(bytes + 16 + 8 * k));

        l->amount[k / MSW__CLASSES][k % MSW__CLASSES] = amount;
        valid = valid && amount_valid(amount);
    }
    return valid;
}

static msw_status read_budget(msw__loaded *in)
{
    msw__admm_budget *b = &in->budget;
    double *const of_all[] = {&b->target, &b->info.target, &b->info.amount, &b->info.price,
                              &b->info.distance, &b->info.all_free, &b->options.rest};
    const uint8_t *bytes;
    const void *value;
    msw_status status;
    size_t size;
    bool valid = true;

    *b = in->admm->budget;
    status = msw_reader_get_metadata(&value, &size, in->reader, MSW__CHECKPOINT_BUDGET);
    if (status && status != MSW_E_NOTFOUND)
        return msw__load_failed(in, status, MSW__CHECKPOINT_BUDGET);
    if (!status != !!b->target)
        return msw__load_other(in, "with a budget or without");
    if (status)
        return MSW_OK;
    if (in->version < 2 ||
        size != MSW__CHECKPOINT_BUDGET_BYTES +
                    (size_t)in->admm->layer_count * MSW__CHECKPOINT_BUDGET_LAYER)
        return msw__load_corrupt(in, MSW__CHECKPOINT_BUDGET);
    bytes = value;
    if (msw__load32(bytes) != b->options.resource ||
        msw__load32(bytes + 4) != b->options.scale)
        return msw__load_other(in, "another kind of budget");
    for (size_t i = 0; i < sizeof of_all / sizeof *of_all; i++) {
        *of_all[i] = msw__double_of(msw__load64(bytes + 8 + 8 * i));
        valid = valid && amount_valid(*of_all[i]);
    }
    bytes += MSW__CHECKPOINT_BUDGET_BYTES;
    for (uint32_t i = 0; i < in->admm->layer_count; i++) {
        valid = read_layer_budget(&in->layers[i].budget, bytes) && valid;
        bytes += MSW__CHECKPOINT_BUDGET_LAYER;
    }
    return valid && b->target > 0 ? MSW_OK : msw__load_corrupt(in, MSW__CHECKPOINT_BUDGET);
}

/* All */

static msw_status open_layers(msw__loaded *in)
{
    msw_admm *admm = in->admm;
    void *memory;
    msw_status status = msw__calloc(&memory, admm->ctx, admm->layer_count,
                                    sizeof *in->layers);

    in->layers = memory;
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        in->layers[i].budget = admm->layers[i].budget;
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        if (admm->layers[i].plan)
            in->layers[i].plan = msw_plan_ref(admm->layers[i].plan);
    return status;
}

static void close_layers(msw__loaded *in)
{
    for (uint32_t i = 0; in->layers && i < in->admm->layer_count; i++)
        msw__layer_free(in->admm, &in->layers[i]);
    msw__free(in->admm->ctx, in->layers, in->admm->layer_count, sizeof *in->layers);
}

/* The host's tensor stays, with the values that were read; name and gradient too. */
static void exchange(msw__layer *l, msw__layer *read)
{
    const msw__layer was = *l;

    msw__copy_elements(l->weights, read->weights);
    msw_tensor_free(read->weights);
    *l = *read;
    l->weights = was.weights;
    l->gradient = was.gradient;
    l->name = was.name;
    l->plans = was.plans;
    l->plan_count = was.plan_count;
    *read = was;
    read->weights = read->gradient = NULL;
    read->name = NULL;
    read->plans = NULL;
    read->plan_count = 0;
}

static void take(msw__loaded *in)
{
    msw_admm *admm = in->admm;

    for (uint32_t i = 0; i < admm->layer_count; i++)
        exchange(&admm->layers[i], &in->layers[i]);
    admm->budget = in->budget;
    admm->phase = in->phase;
    admm->begun = in->begun;
    admm->updates = in->updates;
    admm->since = (size_t)in->since;
    admm->steps = in->steps;
    admm->loss_sum = in->loss_sum;
    admm->first_loss = in->first_loss;
    admm->options.learning_rate = in->learning_rate;
    admm->straight.shown = false;
    admm->stop_reason = MSW_STOP_NONE;
    admm->host_code = 0;
}

static msw_status load(msw_admm *admm, msw_reader *reader)
{
    msw__loaded in = {.admm = admm, .reader = reader};
    msw_status status;

    if (!reader)
        return msw__admm_fail(admm, MSW_E_INVAL, "no reader");
    status = read_solver(&in);
    if (!status)
        status = open_layers(&in);
    if (!status)
        status = read_budget(&in);
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        status = msw__load_layer(&in, i);
    if (!status && in.begun)
        status = msw__admm_reserve_tasks(admm, in.layers);
    if (!status && in.begun && in.phase == MSW_PHASE_ADMM &&
        admm->options.relaxation == MSW_RELAXATION_STRAIGHT)
        status = msw__straight_reserve(admm, in.layers);
    if (!status && in.phase == MSW_PHASE_FROZEN)
        status = msw__admm_reserve_columns(admm, in.layers);
    if (!status)
        status = msw__admm_reserve_sums(admm, in.layers);
    if (!status)
        take(&in);
    close_layers(&in);
    return status;
}

msw_status msw_admm_load(msw_admm *admm, msw_reader *reader)
{
    const msw_status status = msw__admm_enter(admm);

    return status ? status : msw__admm_leave(admm, load(admm, reader));
}
