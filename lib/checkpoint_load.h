/* SPDX-License-Identifier: BSD-2-Clause */
/* A solver's state while it is read: beside the one that is there. */
#ifndef MSW_LIB_CHECKPOINT_LOAD_H
#define MSW_LIB_CHECKPOINT_LOAD_H

#include "checkpoint.h"

/* What is read. The layers hold the solver's plans, but weights of their own. */
typedef struct msw__loaded {
    msw_admm *admm;
    msw_reader *reader;
    msw__layer *layers;
    msw_phase phase;
    bool begun;
    uint32_t updates;
    uint64_t since, steps;
    double loss_sum, first_loss, learning_rate;
    uint32_t version;
    msw__admm_budget budget;
} msw__loaded;

/* Failures, with their messages: bytes that no solver wrote, and those of a solver that
 * was made otherwise. */
msw_status msw__load_corrupt(const msw__loaded *in, const char *what) MSW_NODISCARD;
msw_status msw__load_other(const msw__loaded *in, const char *what) MSW_NODISCARD;
/* What the reader said about a part that must be there. */
msw_status msw__load_failed(const msw__loaded *in, msw_status status,
                            const char *name) MSW_NODISCARD;

/* checkpoint_layer.c: record and parts of a layer, when all but the layers is read. */
msw_status msw__load_layer(msw__loaded *in, uint32_t layer) MSW_NODISCARD;

#endif /* MSW_LIB_CHECKPOINT_LOAD_H */
