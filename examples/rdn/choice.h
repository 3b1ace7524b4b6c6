/* SPDX-License-Identifier: BSD-2-Clause */
/* One projection of all layers onto a size of file. */
#ifndef CHOICE_H
#define CHOICE_H

#include <msw/msw.h>

#include "influence.h"

/* Unified weights of each convolution, so that a file with all of them, stored so, takes
 * at most `bytes`. `influence` NULL: the plain projection, by the weights alone. */
msw_unified **choose(msw_context *ctx, const struct network *net,
                     const struct influence *influence, double bytes,
                     const msw_store_options *store);

#endif /* CHOICE_H */
