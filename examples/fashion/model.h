/* SPDX-License-Identifier: BSD-2-Clause */
/* The network from a compact file, ready to run with libmsw's kernels. */
#ifndef FASHION_MODEL_H
#define FASHION_MODEL_H

#include <msw/msw.h>

#include "network.h"

struct model {
    msw_context *context;
    msw_reader *reader;
    msw_conv *conv1, *conv2;
    msw_gemm *fc1, *fc2;
    void *workspace;
    size_t workspace_bytes;
    uint64_t file_bytes;
};

/* For up to `capacity` images at a time. False: said on stderr what went wrong. */
bool model_open(struct model *model, const char *path, int capacity);
void model_close(struct model *model);

/* From a->images, `count` of them, to a->scores, as network_classify(). */
bool model_classify(const struct model *model, struct activations *a, int count);

#endif
