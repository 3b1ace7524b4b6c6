/* SPDX-License-Identifier: BSD-2-Clause */
/* A tensor as the matrix that its blocks are cut from (msw/plan.h). */
#ifndef MSW_TOOLS_VIEW_H
#define MSW_TOOLS_VIEW_H

#include "model.h"

struct view {
    size_t rows, columns;
    float *values;        /* row by row */
    msw_unified *unified; /* NULL: plain, seen as [first dimension][all others] */
};

int view_new(struct view *out, struct model *m, const struct item *item, struct problem *p);
void view_free(struct view *v);

#endif /* MSW_TOOLS_VIEW_H */
