/* SPDX-License-Identifier: BSD-2-Clause */
/* Reader of a layers model of TensorFlow.js: model.json, a Keras network of the layers in
 * network.h, and its weights in files beside it, float32 and little-endian. */
#ifndef TFJS_H
#define TFJS_H

#include <stdbool.h>

#include "network.h"

/* false: said why on stderr, and *net is empty. Whatever is not understood is an error. */
bool tfjs_load(struct network *net, const char *path);

#endif /* TFJS_H */
