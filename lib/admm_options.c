/* SPDX-License-Identifier: BSD-2-Clause */
/* Options of the solver: defaults, and what is in range. */
#include "admm.h"

#include <math.h>
#include <stddef.h>

enum { OLDEST_OPTIONS = offsetof(msw_admm_options, rho_threshold) };

/* Beyond them rho and its inverse leave the range of floats. */
#define MIN_RHO 1e-30
#define MAX_RHO 1e30
/* Beyond them the envelope is the identity or the projection. */
#define MIN_LAMBDA 1e-6
#define MAX_LAMBDA 1e6

static void default_to(double *value, double standard)
{
    if (*value == 0)
        *value = standard;
}

static double standard_factor(uint32_t schedule)
{
    switch (schedule) {
    case MSW_RHO_STAGES:
        return 10;
    case MSW_RHO_BALANCE:
        return 2;
    default:
        return 1.3;
    }
}

static void fill_defaults(msw_admm_options *o)
{
    const bool adam = o->optimiser == MSW_OPTIMISER_ADAM;

    if (!o->updates)
        o->updates = 24;
    if (!o->update_every)
        o->update_every = 100;
    default_to(&o->rho, 1e-2);
    default_to(&o->rho_end, o->rho_schedule == MSW_RHO_TO_END ? 1 : MAX_RHO);
    default_to(&o->rho_factor, standard_factor(o->rho_schedule));
    default_to(&o->rho_threshold, 10);
    default_to(&o->soft_factor, 0.95);
    if (o->soft_factor < 0)
        o->soft_factor = 0;
    default_to(&o->envelope_start, 0.1);
    default_to(&o->envelope_end, fmax(o->envelope_start, 100));
    default_to(&o->guard, 10);
    default_to(&o->learning_rate, adam ? 0.001 : 0.01);
    default_to(&o->momentum, 0.9);
    default_to(&o->beta2, 0.999);
    if (o->momentum < 0)
        o->momentum = 0;
}

static bool in_range(double x, double low, double high)
{
    return x >= low && x <= high; /* false for NaN */
}

bool msw__rho_valid(double rho)
{
    return in_range(rho, MIN_RHO, MAX_RHO);
}

bool msw__positive(double x)
{
    return x > 0 && isfinite(x);
}

static bool options_valid(const msw_admm_options *o)
{
    return o->rho_schedule <= MSW_RHO_BALANCE && o->optimiser <= MSW_OPTIMISER_ADAM &&
           o->rollback <= 1 && o->updates <= UINT32_MAX && msw__rho_valid(o->rho) &&
           msw__rho_valid(o->rho_end) && in_range(o->rho_factor, 1, MAX_RHO) &&
           o->relaxation <= MSW_RELAXATION_STRAIGHT && o->soft_factor >= 0 &&
           in_range(o->envelope_start, MIN_LAMBDA, MAX_LAMBDA) &&
           in_range(o->envelope_end, o->envelope_start, MAX_LAMBDA) &&
           !((o->relaxation == MSW_RELAXATION_SOFT ||
              o->relaxation == MSW_RELAXATION_STRAIGHT) && o->importance_memory) &&
           o->soft_factor < 1 && in_range(o->rho_threshold, 1, HUGE_VAL) &&
           in_range(o->tolerance, 0, HUGE_VAL) && in_range(o->ramp, 0, 1) &&
           in_range(o->guard, 0, HUGE_VAL) && msw__positive(o->learning_rate) &&
           o->momentum >= 0 && o->momentum < 1 && o->beta2 >= 0 && o->beta2 < 1 &&
           in_range(o->weight_decay, 0, MAX_RHO);
}

msw_status msw__admm_take_options(msw_admm_options *o, const msw_admm_options *options)
{
    msw_status status = MSW_OK;

    msw_admm_options_init(o);
    if (options)
        status = msw__take_options(o, sizeof *o, OLDEST_OPTIONS, options);
    if (status)
        return status;
    if (o->reserved || o->reserved2)
        return MSW_E_VERSION;
    fill_defaults(o);
    return options_valid(o) ? MSW_OK : MSW_E_INVAL;
}
