/* SPDX-License-Identifier: BSD-2-Clause */
/* One layer of the joint choice at a price: what budget_choice.c asks of it. */
#ifndef MSW_LIB_BUDGET_LAYER_H
#define MSW_LIB_BUDGET_LAYER_H

#include "budget.h"

/* Labels of two prices to a byte of the share's classes (quadtree.h). */

static inline void msw__set_label(msw__share *s, size_t block, unsigned side,
                                  unsigned class)
{
    s->classes[block] =
        (uint8_t)((s->classes[block] & ~((unsigned)MSW__LABEL << side)) | class << side);
}

static inline unsigned msw__label_of(const msw__share *s, size_t block, unsigned side)
{
    return s->classes[block] >> side & MSW__LABEL;
}

/* How many blocks, by kind and class. */
typedef struct msw__class_counts {
    size_t of[MSW__BLOCK_KINDS][MSW__CLASSES];
} msw__class_counts;

/* Of a class, of all kinds. */
size_t msw__counts_total(const msw__class_counts *n, unsigned class);

/* What a layer comes to at a price, and which numbers a bound has fixed. */
typedef struct msw__layer_choice {
    msw__class_counts counts; /* not of merged blocks */
    bool bound[MSW__CLASSES];
    double amount;            /* that the layer takes, fixed part included */
    double cost;              /* of merged blocks alone */
} msw__layer_choice;

/* The labels of a side at a price; MSW__NO_SIDE: they are only counted. */
msw__layer_choice msw__share_label(msw__share *s, double price, unsigned side, void *spare);
/* The scaled cost of a block in a class. */
double msw__share_cost(const msw__share *s, const msw__candidate *x, unsigned class);
/* What so many blocks take, with what the layer takes besides. */
double msw__share_amount_of(const msw__share *s, const msw__class_counts *n);
/* The candidates in the order of their blocks again. */
void msw__share_sort(msw__share *s);

#endif /* MSW_LIB_BUDGET_LAYER_H */
