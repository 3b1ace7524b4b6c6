/* SPDX-License-Identifier: BSD-2-Clause */
/* What changes from update to update. Updates count from 1; the planned ones are
 * 1 ... options.updates, and after the last of them nothing changes any more. */
#include "admm.h"

#include <math.h>

/* Steps from the rho of now, which the host may have set, so that the last planned
 * update has rho_end exactly. */
static double to_end(const msw_admm_options *o, double rho, uint32_t updates)
{
    const double left = (double)o->updates - updates;

    if (left <= 1)
        return o->rho_end;
    return rho * pow(o->rho_end / rho, 1 / left);
}

static double grow(const msw_admm_options *o, double rho, double factor)
{
    const double next = rho * factor;

    if (o->rho_end > 0 && next > o->rho_end)
        return rho > o->rho_end ? rho : o->rho_end;
    return next;
}

/* Quarters of the planned updates that end with @p updates or before. */
static uint32_t quarters(const msw_admm_options *o, uint32_t updates)
{
    return (uint32_t)(4 * ((double)updates / (double)o->updates));
}

double msw__next_rho(const msw_admm_options *o, double rho, uint32_t updates)
{
    uint32_t stages;

    if (updates >= o->updates)
        return rho;
    switch (o->rho_schedule) {
    case MSW_RHO_TO_END:
        return to_end(o, rho, updates);
    case MSW_RHO_GROW:
        return grow(o, rho, o->rho_factor);
    case MSW_RHO_STAGES:
        stages = quarters(o, updates) - quarters(o, updates - 1);
        return stages ? grow(o, rho, pow(o->rho_factor, stages)) : rho;
    default:
        return rho;
    }
}

/* False for NaN, which 0 / 0 is. */
static bool exceeds(double x, double limit)
{
    return x > limit;
}

double msw__balanced_rho(const msw_admm_options *o, double rho, uint32_t updates,
                         double primal, double dual)
{
    if (updates >= o->updates)
        return rho;
    if (exceeds(primal, o->rho_threshold * dual))
        return grow(o, rho, o->rho_factor);
    if (exceeds(dual, o->rho_threshold * primal) && isfinite(dual))
        return rho / o->rho_factor;
    return rho;
}

double msw__envelope_lambda(const msw_admm_options *o, uint32_t updates)
{
    if (updates + 1 >= o->updates)
        return o->envelope_end;
    return o->envelope_start * pow(o->envelope_end / o->envelope_start,
                                   (double)updates / ((double)o->updates - 1));
}

double msw__ramp(const msw_admm_options *o, uint32_t updates)
{
    const double length = o->ramp * (double)o->updates;
    const double left = 1 - ((double)updates + 1) / length;

    if (length < 1 || left <= 0)
        return 1;
    return 1 - left * left * left;
}
