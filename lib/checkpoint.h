/* SPDX-License-Identifier: BSD-2-Clause */
/* A solver's state as records and tensors of a file: doc/format.md, "Solver state". */
#ifndef MSW_LIB_CHECKPOINT_H
#define MSW_LIB_CHECKPOINT_H

#include "admm.h"

#include <string.h>

#define MSW__CHECKPOINT_KEY "msw.admm"
#define MSW__CHECKPOINT_BUDGET MSW__CHECKPOINT_KEY ".budget"

enum {
    MSW__CHECKPOINT_VERSION = 4, /* less where there is nothing that came with it */
    MSW__CHECKPOINT_BYTES = 64,
    MSW__CHECKPOINT_LAYER_BYTES = 64, /* without the name */
    MSW__CHECKPOINT_BUDGET_BYTES = 64,
    MSW__CHECKPOINT_BUDGET_LAYER = (2 + MSW__BLOCK_KINDS * MSW__CLASSES) * 8,
    MSW__CHECKPOINT_NAME = 64         /* of a part: "msw.admm.4294967295.importance" */
};

/* What a layer has. */
enum {
    MSW__PART_PLAN = 1,
    MSW__PART_STATE = 2, /* D, classes, magnitudes, signs */
    MSW__PART_FROZEN = 4,
    MSW__PART_IMPORTANCE = 8,
    MSW__PART_ROLLBACK = 16,
    MSW__PART_SLOT = 32, /* and 64, the second one */
    MSW__PART_SQUARES = 128, /* and how many there are */
    MSW__PART_ROWS = 256,    /* shares of each block row */
    MSW__PART_Z = 512,       /* a dense Z instead of classes, magnitudes, signs */
    MSW__PART_OWN = 1024,    /* ... of the host's own projection */
    MSW__PART_LATENT = 2048, /* latent weights and classes, instead of a state */
    MSW__PART_LEVELS = 4096, /* blocks may be merged; with classes their levels */
    MSW__PARTS = 8191
};

uint32_t msw__layer_parts(const msw__layer *layer);
/* Tells plans apart: of all that a plan says, permutations included. */
uint32_t msw__plan_sum(const msw_plan *plan);

/* "msw.admm.LAYER.PART", or without the part. */
void msw__checkpoint_name(char name[MSW__CHECKPOINT_NAME], uint32_t layer, const char *part);
/* The names of the slots' parts. */
extern const char *const msw__slot_parts[MSW__SLOTS];

#endif /* MSW_LIB_CHECKPOINT_H */
