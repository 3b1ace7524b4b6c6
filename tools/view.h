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

/* The matrix of a tensor's values, which lie in the order of its dimensions. */
void view_arrange(float *matrix, const float *values, const msw_plan *plan,
                  const msw_plan_info *info);
int view_new(struct view *out, struct model *m, const struct item *item, struct problem *p);
void view_free(struct view *v);

#endif /* MSW_TOOLS_VIEW_H */
