/* SPDX-License-Identifier: BSD-2-Clause */
/* The built-in optimisers: SGD with momentum, Adam. */
#ifndef MSW_LIB_OPTIMISER_H
#define MSW_LIB_OPTIMISER_H

#include "admm.h"

/* How many slots a weight has. */
uint32_t msw__optimiser_slots(const msw_admm_options *o);
/* What slot k of the optimiser holds. */
msw_slot msw__slot_kind(const msw_admm_options *o, uint32_t k);
/* Slots, all zero, of every layer that has none yet. */
msw_status msw__optimiser_prepare(msw_admm *admm) MSW_NODISCARD;
/* Forget the past: all slots to zero. */
void msw__optimiser_reset(msw_admm *admm);
/* One step of all layers from their gradients, or none: MSW_E_NUMERIC when a gradient,
 * a slot or a weight would not be finite afterwards. */
msw_status msw__optimiser_step(msw_admm *admm) MSW_NODISCARD;

#endif /* MSW_LIB_OPTIMISER_H */
