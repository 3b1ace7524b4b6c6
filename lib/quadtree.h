/* SPDX-License-Identifier: BSD-2-Clause */
/* Which blocks to merge (merge.h), and into what: the choice of least distance plus price
 * times amount among all trees over the blocks of a plan. */
#ifndef MSW_LIB_QUADTREE_H
#define MSW_LIB_QUADTREE_H

#include "merge.h"

enum { MSW__CLASSES = MSW_CLASS_UNIFIED + 1, MSW__LEVELS = MSW_MAX_MERGE_LEVELS + 1 };

/* Two choices may stand in the same arrays: of the price that fits, and of a lower one. */
enum { MSW__FITS = 0, MSW__LOWER = 2, MSW__LABEL = 3, MSW__NO_SIDE = 8 };

/* What nodes take of what the price is for. */
typedef struct msw__node_amounts {
    double free, sign, magnitude;     /* a free weight, a unified one, a node's magnitude */
    double label[MSW__LEVELS][MSW__CLASSES]; /* to say the class of a node of a level */
    double split[MSW__LEVELS][2];     /* to say where a node of a level could begin that
                                         none does, that one does */
} msw__node_amounts;

typedef struct msw__tree {
    const msw_plan *plan;
    const msw__candidate *candidates; /* in order */
    float *means, *weights;           /* of |v| in each block, sums of h */
    uint8_t *classes, *levels;        /* the result; scratch before */
    unsigned most;                    /* levels */
    uint32_t exclude;                 /* MSW_EXCLUDE_* */
    double scale;                     /* of distances */
    msw__node_amounts amounts, first; /* as learnt, as they were before */
} msw__tree;

typedef struct msw__tree_sum {
    double distance, amount;
} msw__tree_sum;

/* The choice at a price, bottom-up: ties to smaller nodes and to the classes that change
 * less. Classes and levels go to a side of the arrays; MSW__NO_SIDE: they stay. */
msw__tree_sum msw__tree_project(const msw__tree *t, double price, unsigned side);
/* Of the choice that is there. */
msw__tree_sum msw__tree_sum_of(const msw__tree *t, unsigned side);
/* Of no blocks merged and all free. */
double msw__tree_all_free(const msw__tree *t);
/* From the choice that fits towards the one of the lower price, node by node in their
 * order, as far as there is room. Returns the amount. */
double msw__tree_take_partly(const msw__tree *t, double amount, double room);
/* The choice that fits alone is left. */
void msw__tree_keep_fitting(const msw__tree *t);
/* What saying classes and levels would take of an adaptive coder that knows the classes on
 * the left and above, in @p bit for each bit: half of what it took until now, half as the
 * choice that is there has it. */
void msw__tree_learn(msw__tree *t, double bit);
/* |v| of unified nodes, for each of their blocks. */
void msw__tree_magnitudes(float *out, const msw__tree *t);

/* unified_merge.c: options of a projection, checked, and the importance in them. */
typedef struct msw__quadtree {
    unsigned levels;     /* 0: blocks are not merged */
    uint32_t exclude;
    double price;        /* of a bit, in units of the mean of h v^2 */
    msw__node_amounts bits;
} msw__quadtree;

msw_status msw__quadtree_take(msw__quadtree *out, const msw_tensor **importance,
                              const msw_quadtree_options *options) MSW_NODISCARD;
/* The choice for rated blocks; the price is that of the options times @p part. */
void msw__quadtree_project(msw__tree *t, const msw__quadtree *q, double part);
/* Rating of finite weights: candidates in order, means of |v| and sums of h, one of each
 * for each block. */
msw_status msw__unified_rate_nodes(msw__candidate *candidates, float *means, float *weights,
                                   const msw_plan *plan, const msw_tensor *tensor,
                                   const msw__importance *importance) MSW_NODISCARD;
/* msw_unified_from_quadtree() of finite weights, with importance as msw__unified_fit(). */
msw_status msw__unified_fit_quadtree(msw_unified **out, msw_plan *plan,
                                     const msw_tensor *weights,
                                     const msw__importance *importance,
                                     const msw__quadtree *quadtree,
                                     double part) MSW_NODISCARD;

#endif /* MSW_LIB_QUADTREE_H */
