/* SPDX-License-Identifier: BSD-2-Clause */
/* An order of filters and hidden units that suits the blocks. */
#ifndef FASHION_ORDER_H
#define FASHION_ORDER_H

#include "compression.h"

/*
 * Which filters and units lie side by side, and so share a block, is a matter of chance:
 * another order, found for what the recipe prunes and unifies, changes the weights less.
 * All layers along an axis follow, so that the network computes what it did, and the file
 * needs nothing for it. False: has said on stderr what went wrong.
 */
bool order_network(struct values *weights, const struct recipe *recipe);

#endif
