/* SPDX-License-Identifier: BSD-2-Clause */
/* ADMM for one layer against the squared error of its output. The W step is exact: the
 * statistics of the layer make it a linear system. */
#ifndef LAYERWISE_H
#define LAYERWISE_H

#include <msw/msw.h>

#include "influence.h"
#include "statistics.h"

/* A new structure with as many blocks of each class as u has; u is released. `weights`
 * [fan-in][outputs] are where it starts, and then those of the structure. */
void layerwise_admm(msw_unified **u, float *weights, msw_context *ctx,
                    const struct layer *l, const struct statistics *s,
                    const struct influence *influence, size_t updates);

#endif /* LAYERWISE_H */
