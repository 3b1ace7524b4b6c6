/* SPDX-License-Identifier: BSD-2-Clause */
/* Writing a model in a foreign format. */
#ifndef MSW_TOOLS_EXPORT_H
#define MSW_TOOLS_EXPORT_H

#include "model.h"
#include "output.h"
#include "progress.h"

struct exporter {
    struct model *model;
    const struct item **items; /* those that are wanted */
    size_t count;
    struct output *output;
    struct progress progress;
    struct problem *p;
};

int safetensors_write(struct exporter *e);
int npy_write(struct exporter *e);
int npz_write(struct exporter *e);

/* One item's bytes to the output. */
int export_item(struct exporter *e, const struct item *item);

#endif /* MSW_TOOLS_EXPORT_H */
