/* SPDX-License-Identifier: BSD-2-Clause */
/* Where libmsw meets the training code: what to compress how, and what to save. */
#ifndef FASHION_COMPRESSION_H
#define FASHION_COMPRESSION_H

#include <msw/msw.h>

#include "train.h"

enum { LAYERS = 4 }; /* with weights: conv1, conv2, fc1, fc2 */
enum { F16_MANTISSA = 10 };

/* The blocks of one weight tensor, and the shares of them to prune and to unify. */
struct layer_recipe {
    const char *name;
    enum parameter_id parameter;
    unsigned block_rows, block_columns;
    double prune, unify;
};

struct recipe {
    struct layer_recipe layer[LAYERS];
    int admm_epochs, retrain_epochs;
    int updates; /* of Z and U, or of the latent weights' classes, spread over the
                    ADMM epochs, of latent weights but for the last quarter */
    double admm_rate, retrain_rate; /* first learning rates */
    double rho, rho_end;
    double ramp; /* share of the updates over which the shares rise */
    int mantissa; /* bits of the file's numbers: F16_MANTISSA, or 7 at most */
    bool latent;  /* weights behind their projection, instead of ADMM */
    bool weigh;   /* layers in the budget, by how much the loss minds their changes */
    int bytes;    /* of the file, instead of the shares; 0: the shares */
};

extern const struct recipe default_recipe;

/* Changes one layer: "fc1:4x8:0.6:0.4" is name, block, share pruned, share unified. */
bool recipe_set_layer(struct recipe *recipe, const char *text);

/*
 * The solver and tensors that let it see the host's arrays, which stay where they are.
 * A layer of the solver is a parameter of the network, under the same number.
 */
struct compression {
    struct trainer *trainer;
    const struct recipe *recipe;
    msw_context *context;
    msw_admm *admm;
    msw_tensor *weights[PARAMETERS], *gradient[PARAMETERS], *velocity[PARAMETERS];
    msw_host host; /* for the callbacks: of several ranks, which one this is */
    bool quiet;    /* no progress */
};

/* The blocks of a layer. */
msw_status layer_plan(msw_plan **plan, msw_context *context,
                      const struct layer_recipe *layer);

/* Functions returning bool have said on stderr what went wrong when it is false. */
bool compression_new(struct compression *c, struct trainer *trainer,
                     const struct recipe *recipe);
void compression_free(struct compression *c);

/* Mini-batches of each phase, and between two updates. */
int compression_admm_steps(const struct compression *c);
int compression_retrain_steps(const struct compression *c);
int compression_update_every(const struct compression *c);

/* The two ways to drive the solver; own_loop.c and callbacks.c. */
bool own_loop_admm(struct compression *c);
bool own_loop_retrain(struct compression *c);
bool callbacks_admm(struct compression *c);
bool callbacks_retrain(struct compression *c);

/* Both phases call this after each update with the mean loss since the last one. */
void compression_report(const struct compression *c, int step, int steps, double loss);

/* One file with all weights, and what each layer became. */
bool compression_save(const struct compression *c, const char *path);
bool compression_print_layers(const struct compression *c);

/* True for MSW_OK; else says on stderr what failed. */
bool compression_check(const struct compression *c, msw_status status, const char *what);

#endif
