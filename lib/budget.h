/* SPDX-License-Identifier: BSD-2-Clause */
/* Budgets: the joint choice of classes in many layers, what a class takes of a resource,
 * and how what it really takes is brought to the target. */
#ifndef MSW_LIB_BUDGET_H
#define MSW_LIB_BUDGET_H

#include "internal.h"
#include "project.h"
#include "quadtree.h"

/* Blocks differ in size at the edges of the view alone. */
enum { MSW__LAST_COLUMN = 1, MSW__LAST_ROW = 2, MSW__BLOCK_KINDS = 4 };

/* A layer in the joint choice. */
typedef struct msw__share {
    const msw_plan *plan;
    msw__candidate *candidates; /* of all its blocks; where there are bounds their order
                                   changes */
    uint8_t *classes;           /* the result; scratch before */
    double scale;               /* of its costs, >= 0 */
    double amount[MSW__BLOCK_KINDS][MSW__CLASSES]; /* that a block takes */
    double fixed;               /* that the layer takes whatever the classes */
    size_t least[MSW__CLASSES], most[MSW__CLASSES]; /* blocks; not of FREE ones. A class
                                                       with most 0 is excluded */
    msw__tree *tree;            /* of merged blocks, with the same classes: instead of the
                                   amounts of single blocks and of bounds. NULL: none */
} msw__share;

/* What came out. */
typedef struct msw__outcome {
    double amount;   /* fixed parts included */
    double price;    /* cost per amount at which it stopped */
    double distance; /* scaled costs */
    bool reached;    /* the amount fits; otherwise it is the least there is */
} msw__outcome;

/* budget_layer.c */

/* Candidates in order, no bounds and nothing excluded. */
void msw__share_init(msw__share *s, const msw_plan *plan, msw__candidate *candidates,
                     uint8_t *classes);
size_t msw__share_block_kind(const msw__share *s, size_t block);
/* Rows and columns of a block of a kind; false when there is none. */
bool msw__share_block_size(size_t *rows, size_t *columns, const msw_plan *plan, size_t kind);
/* Whether the bounds can bind. */
bool msw__share_bounded(const msw__share *s);
/* With the classes that it has. */
double msw__share_amount(const msw__share *s);

/* budget_choice.c */

/* Classes such that all shares together take at most @p room and the sum of scaled costs
 * is the least for what they take. One price per amount for all layers; what changes at
 * that price is taken in part, in the order of layers and blocks. @p spare:
 * MSW__SPARE_BYTES for each block of the largest share that is bounded; NULL when none is.
 * Deterministic, the candidates are in order again. */
enum { MSW__SPARE_BYTES = sizeof(msw__candidate) + 1 };
msw__outcome msw__share_out(msw__share *shares, size_t count, double room, void *spare);

/* Where a layer may be cut into blocks in several ways: shares first[l] ... first[l + 1] - 1
 * are the ways to cut layer l, in the same scale. Picks of each the one that costs least
 * together with its price, at the price at which all fit @p room. The classes are all free
 * then. */
void msw__share_pick(size_t *picked, msw__share *shares, const size_t *first, size_t layers,
                     double room, void *spare);

/* budget_resource.c */

/* What is counted, of one layer. */
typedef struct msw__layer_resource {
    uint32_t resource;       /* msw_resource */
    msw_store_options store; /* BYTES */
    uint32_t float_bits;     /* BYTES: of a float, whatever the store; 0: by the store */
    size_t columns;          /* of X; MULTIPLY_ADDS, SECONDS */
} msw__layer_resource;

/* Whether amounts have to be measured. */
bool msw__resource_measured(const msw__layer_resource *r);
/* The amounts of a share. Those to be measured by measuring weights all of whose blocks are
 * of one class. */
msw_status msw__resource_amounts(msw__share *s, const msw__layer_resource *r, msw_plan *plan,
                                 const msw_tensor *weights) MSW_NODISCARD;
/* What the layer with the share's classes takes. */
msw_status msw__resource_measure(double *out, const msw__share *s,
                                 const msw__layer_resource *r, msw_plan *plan,
                                 const msw_tensor *weights) MSW_NODISCARD;
/* Takes what all layers of a file need besides. */
double msw__resource_frame(uint32_t resource);

/* Merging saves bytes, and those of forms that say so alone. */
bool msw__resource_merges(const msw__layer_resource *r);
/* What nodes take, of the amounts of single blocks; the fixed part changes too. The share's
 * tree has all but amounts, exclusions and scale. */
void msw__resource_nodes(msw__share *s, const msw__layer_resource *r);
/* What a file needs besides where blocks are merged. */
double msw__resource_merge_frame(void);

/* budget_solve.c, budget_options.c */

/* One layer of a budget, as the choice with its measuring sees it. */
typedef struct msw__budget_part {
    msw_plan *plan;
    const msw_tensor *weights; /* NULL where nothing is measured */
    msw__layer_resource resource;
    msw__share share;
} msw__budget_part;

/* What the layer takes when all of its blocks are free. */
double msw__share_all_free(const msw__share *s);
/* Everything but the weights' own: the frame counts once. */
double msw__budget_around(const msw__budget_part *parts, size_t count, double rest);
/* msw__share_out() for a target, rest and frame included, and again until what is really
 * taken fits it closely. */
msw_status msw__budget_solve(msw__outcome *out, msw_context *ctx, msw__budget_part *parts,
                             size_t count, double target, double rest) MSW_NODISCARD;

/* msw__share_pick() of the parts, for a target. */
msw_status msw__budget_pick(size_t *picked, msw_context *ctx, const msw__budget_part *parts,
                            const size_t *first, size_t layers, double target,
                            double rest) MSW_NODISCARD;

/* Options as given, with the defaults filled in. */
msw_status msw__budget_take_options(msw_budget_options *o, msw_store_options *store,
                                    const msw_budget_options *options) MSW_NODISCARD;
/* The same of a layer; @p store: that of the budget, replaced by the layer's own. */
msw_status msw__budget_take_layer(msw_budget_layer *o, msw_store_options *store,
                                  const msw_budget_layer *options) MSW_NODISCARD;
/* Bounds in blocks, at @p part of the shares that are asked for at the least. */
void msw__budget_bounds(msw__share *s, const msw_budget_layer *o, double part);
/* Mean of w^2. */
double msw__mean_square(const msw_tensor *weights);

#endif /* MSW_LIB_BUDGET_H */
