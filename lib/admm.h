/* SPDX-License-Identifier: BSD-2-Clause */
/* The solver, as its own files see it. */
#ifndef MSW_LIB_ADMM_H
#define MSW_LIB_ADMM_H

#include "budget.h"
#include "envelope.h"
#include "internal.h"
#include "project.h"
#include "view.h"

#include <stddef.h>

enum { MSW__SLOTS = 2 }; /* of the built-in optimiser, at most */

/* A layer's part in the solver's budget. */
typedef struct msw__layer_budget {
    msw_budget_layer options; /* defaults filled in */
    msw_store_options store;  /* own_store: instead of the budget's */
    bool own_store;

    /* From the beginning on. */
    double factor;            /* of rho in this layer; 1 without a budget */
    double amount[MSW__BLOCK_KINDS][MSW__CLASSES], fixed;
} msw__layer_budget;

typedef struct msw__admm_budget {
    msw_budget_options options;
    msw_store_options store;
    double target;            /* 0: no budget */
    msw_budget_info info;     /* of the last choice */
} msw__admm_budget;

typedef struct msw__layer {
    char *name;
    msw_tensor *weights;    /* the host's */
    msw_plan *plan;         /* NULL: an unconstrained parameter */
    msw_tensor *importance; /* h, mean 1, dense; NULL: plain */
    msw_tensor *squares;    /* running mean of squared gradients, dense; NULL: none yet */
    uint64_t seen;          /* gradients in it, up to options.importance_memory */
    msw_tensor *renewed;    /* during an update: the importance it takes up */
    double prune, unify;    /* wanted shares of blocks */
    uint32_t exclude;
    bool per_row;           /* shares of each block row */
    bool merging;           /* a quadtree instead of shares: */
    msw__quadtree quadtree; /* without a budget; its levels with one, too */
    double rho;             /* of the schedule; the penalty's is rho * budget.factor */
    msw__layer_budget budget;
    msw_plan **plans;       /* that it may be given at the beginning, the first one
                               included; NULL: only plan */
    uint32_t plan_count;
    size_t scratch_block;   /* where its blocks begin in an open scratch */
    double primal, dual;    /* relative, of the last update */

    /* ADMM phase, from the first penalty or update on. Z is kept compactly and U only
     * in D = Z - U: U = Z - D, and in FREE blocks U = 0, hence Z = D there. */
    msw_tensor *d;          /* dense, in the order of the dimensions */
    uint8_t *classes;       /* one per block */
    uint8_t *levels;        /* one per block where they may be merged; NULL: none is */
    float *magnitudes;      /* one per block, used by UNIFIED ones */
    uint8_t *signs;         /* one bit per weight, set: negative; see msw__sign_bit() */
    float bound;            /* no |Z| or |D| is larger */

    /* Where Z has no compact form: Z instead of classes, magnitudes and signs; during an
     * update or freezing, V and then its projection. Dense like D. */
    msw_tensor *z, *proposed;
    bool envelope;          /* MSW_RELAXATION_ENVELOPE */
    msw_project *project;   /* the host's own; NULL: none */
    void *project_user;

    /* MSW_RELAXATION_STRAIGHT: V, dense like D; the weights are its projection onto
     * `classes`, of which there is no more. */
    msw_tensor *latent;

    msw_unified *frozen;    /* classes and signs, FROZEN phase */

    /* Made by msw_admm_run(); dense. */
    msw_tensor *gradient, *rollback;
    msw_tensor *soft;       /* MSW_RELAXATION_SOFT: the projection of the weights */
    msw_tensor *slots[MSW__SLOTS];
} msw__layer;

/* Sums over the weights of one task. */
typedef struct msw__admm_sums {
    double weights, primal, dual; /* squared norms: W, W - Z', Z' - Z */
    float bound;                  /* largest |D'| and |Z'| */
} msw__admm_sums;

/* Lives during an update; hangs on the solver, not on the stack, so that nothing is
 * lost when a hook of the context never returns. Sizes are those of the largest layer;
 * with a budget there are blocks for all layers. */
typedef struct msw__admm_scratch {
    msw__candidate *candidates;
    float *magnitudes;
    float *weights;     /* where blocks may be merged: sums of h, */
    uint8_t *levels;    /* and levels */
    uint8_t *classes;
    size_t *columns[2]; /* of the views of weights and D */
    msw__admm_sums *sums;
    float *choice;      /* of ranks: one per block of all layers */
    msw__envelope_block *envelope;
    size_t blocks, column_count, sum_count, choice_count, envelope_count;
    size_t merged;      /* entries of weights and levels */
} msw__admm_scratch;

/* Of a data-parallel run; count 0 outside of one. */
typedef struct msw__ranks {
    int (*allreduce)(void *data, size_t count, msw_real type, void *user);
    void *user;
    uint32_t rank, count;
    bool stop; /* msw_admm_stop() on some rank, as all ranks know */
} msw__ranks;

/* MSW_RELAXATION_STRAIGHT: memory from the beginning on. */
typedef struct msw__straight {
    msw__walk_memory memory;
    msw__admm_sums *sums;
    size_t column_count, sum_count;
    bool shown; /* the host's weights are the latent ones, for its optimiser */
} msw__straight;

enum msw__admm_state {
    MSW__IDLE,
    MSW__BUSY,    /* inside a call: nothing but msw_admm_stop() */
    MSW__PROGRESS /* inside the progress callback: setters and getters too */
};

/* Address of the caller's stack frame. Stacks grow down: what runs inside a callback has
 * a lower one than what called it, but not what goes on after a longjmp() out of it. */
#ifdef __GNUC__
#define MSW__FRAME() ((uintptr_t)__builtin_frame_address(0))
#else
#define MSW__FRAME() ((uintptr_t)0) /* unknown */
#endif

struct msw_admm {
    msw_context *ctx;
    msw_admm_options options; /* defaults filled in */
    msw__layer *layers;
    uint32_t layer_count, layer_room;
    msw_phase phase;
    bool begun;               /* the first Z exists, or the solver is frozen: no
                                 more layers */
    uint32_t updates;
    enum msw__admm_state state;
    uintptr_t callback_frame; /* MSW__FRAME() of what called the host's callback; 0: none
                                 is running */
    msw__admm_budget budget;
    msw__admm_scratch scratch;
    msw__ranks ranks;
    msw__straight straight;
    msw__walk_memory masking; /* FROZEN phase; sums: where blocks are merged */
    size_t column_count, mask_sum_count;
    uint8_t *done;            /* one per task: it has run */
    size_t done_count;

    /* msw_admm_run() */
    atomic_int stop;
    msw_stop_reason stop_reason;
    int host_code;
    double loss_sum;          /* of the mini-batches since the last round, */
    size_t since;             /* and their number */
    double first_loss;        /* mean loss of the first round; NaN: none yet */
    uint64_t steps;           /* of the built-in optimiser, for Adam */
    float **gradient_data;    /* one per layer, for the callbacks */
    float **weight_data;

    bool explained;           /* this call has set its error text */
    char error[192];
};

/* admm.c */

/* Begin and end a call that changes the solver. MSW_E_STATE from inside a callback. */
msw_status msw__admm_enter(msw_admm *admm) MSW_NODISCARD;
msw_status msw__admm_leave(msw_admm *admm, msw_status status) MSW_NODISCARD;
/* The same for setters, which may be called from inside progress, and return there. */
msw_status msw__admm_enter_setter(msw_admm *admm, enum msw__admm_state *from) MSW_NODISCARD;
msw_status msw__admm_leave_to(msw_admm *admm, enum msw__admm_state state,
                              msw_status status) MSW_NODISCARD;
/* Text for msw_admm_error(); returns @p status. */
#ifdef __GNUC__
__attribute__((format(printf, 3, 4)))
#endif
msw_status msw__admm_fail(msw_admm *admm, msw_status status, const char *format, ...);
/* MSW_E_RANGE with a text when there is no such layer. */
msw_status msw__admm_layer(msw__layer **out, msw_admm *admm, uint32_t layer) MSW_NODISCARD;
/* Whether layers, plans and budget stay as they are from now on. */
static inline bool msw__admm_started(const msw_admm *admm)
{
    return admm->begun || admm->updates > 0;
}
/* All that a layer holds. */
void msw__layer_free(msw_admm *admm, msw__layer *layer);
/* Excluded classes stay at 0. */
void msw__layer_set_ratios(msw__layer *layer, double prune, double unify);

/* admm_options.c */

/* Defaults filled in. */
msw_status msw__admm_take_options(msw_admm_options *o,
                                  const msw_admm_options *options) MSW_NODISCARD;
bool msw__rho_valid(double rho);
/* And finite. */
bool msw__positive(double x);

/* admm_tasks.c */

/* Memory for the two functions below: call it once the layers are complete. The layers are
 * the solver's, or those that will take their place, which may be on other plans. */
msw_status msw__admm_reserve_tasks(msw_admm *admm, const msw__layer *layers) MSW_NODISCARD;
/* Tasks, each exactly once even when the host's parallel_for fails or leaves some out.
 * msw__admm_try_tasks(): MSW_E_HOST then. msw__admm_all_tasks() runs what is missing on
 * the caller's thread: for work that has begun to change things and has to be ended. */
msw_status msw__admm_try_tasks(msw_admm *admm, size_t count,
                               void (*task)(size_t index, void *arg),
                               void *arg) MSW_NODISCARD;
void msw__admm_all_tasks(msw_admm *admm, size_t count,
                         void (*task)(size_t index, void *arg), void *arg);

/* Elements that one task of element-wise work takes. */
enum { MSW__TASK_ELEMENTS = 1 << 15 };
static inline size_t msw__element_tasks(size_t count)
{
    return count / MSW__TASK_ELEMENTS + (count % MSW__TASK_ELEMENTS != 0);
}

/* admm_state.c */

/* Whether Z has no compact form. */
bool msw__layer_dense(const msw__layer *layer);
/* U = 0. Half-made on failure. */
msw_status msw__layer_allocate_state(msw_admm *admm, msw__layer *layer) MSW_NODISCARD;
void msw__layer_free_state(msw_admm *admm, msw__layer *layer);
uint64_t msw__layer_state_bytes(const msw__layer *layer);
size_t msw__sign_bytes(const msw_plan *plan);
/* Scratch of an update, or with all false only what msw__admm_rescale() needs. */
msw_status msw__admm_open_scratch(msw_admm *admm, bool all) MSW_NODISCARD;
void msw__admm_close_scratch(msw_admm *admm);
uint64_t msw__admm_scratch_bytes(const msw_admm *admm);
/* MSW_E_NUMERIC naming the layer when |x| <= limit does not hold for all of @p t. */
msw_status msw__admm_check(msw_admm *admm, const msw__layer *layer, const msw_tensor *t,
                           float limit, const char *what) MSW_NODISCARD;

/* admm_update.c */

/* Make the first Z if there is none yet. All layers or none. */
msw_status msw__admm_begin(msw_admm *admm) MSW_NODISCARD;
/* Z and U step of all layers and one step of the schedules, or nothing. */
msw_status msw__admm_step_z(msw_admm *admm) MSW_NODISCARD;
/* rho / rho' of an update; 0 makes the first Z. */
double msw__rho_ratio(const msw_admm *admm, const msw__layer *layer, bool first);
double msw__relative(double residual, double weights);
/* Whether no element of a layer overflows when its U grows by up to @p ratio. */
bool msw__admm_can_rescale(const msw__layer *layer, double ratio);
/* U *= ratio * h_old / h_new in one layer that has begun; h NULL: 1. Needs scratch. */
void msw__admm_rescale(msw_admm *admm, msw__layer *layer, double ratio,
                       const msw_tensor *h_old, const msw_tensor *h_new);
/* Tasks of an update of a layer (strip.c). */
size_t msw__update_tasks(const msw_plan *plan);

/* Row r of block row i starts at this bit of layer->signs. Block rows start on a byte,
 * so that tasks share none. */
static inline size_t msw__sign_panel(const msw_plan *p)
{
    return (p->block_rows * p->columns + 7) / 8;
}
static inline size_t msw__sign_bit(const msw_plan *p, size_t i, size_t r)
{
    return i * msw__sign_panel(p) * 8 + r * p->columns;
}

/* admm_dense.c: layers whose Z has no compact form */

/* V of such layers and then its projection, in l->proposed; which the update of each takes
 * for Z'. The solver's state stays as it is. */
msw_status msw__admm_propose(msw_admm *admm, double share, bool first) MSW_NODISCARD;
/* Sums to the scratch: as many as there are msw__element_tasks(). */
void msw__dense_update(msw_admm *admm, msw__layer *layer, double ratio);
void msw__dense_rescale(msw_admm *admm, msw__layer *layer, double ratio,
                        const msw_tensor *h_old, const msw_tensor *h_new);
void msw__dense_norm(msw_admm *admm, msw__layer *layer);

/* admm_envelope.c: the same of MSW_RELAXATION_ENVELOPE */
msw_status msw__layer_relax(msw_admm *admm, msw__layer *layer, double share) MSW_NODISCARD;

/* admm_projection.c: the host's own projection */

/* Of the layer's l->proposed. */
msw_status msw__layer_project(msw_admm *admm, uint32_t layer, double share,
                              bool freezing) MSW_NODISCARD;
/* That of the weights, in a new l->proposed; 0 there where another rank has the layer.
 * Then the structure that it has. */
msw_status msw__layer_propose_own(msw_admm *admm, uint32_t layer, double share,
                                  bool freezing, bool own) MSW_NODISCARD;
msw_status msw__layer_take_own(msw_admm *admm, msw__layer *layer) MSW_NODISCARD;

/* admm_merge.c: layers whose blocks may be merged */

/* What a layer's options say of it, checked. */
msw_status msw__layer_take_quadtree(msw_admm *admm, msw__layer *layer,
                                    const msw_layer_options *options) MSW_NODISCARD;
/* Whether a budget can be that of such a layer, too. */
msw_status msw__layer_merges(msw_admm *admm, const msw__layer *layer,
                             const msw_budget_options *budget,
                             const msw_store_options *store,
                             const msw_budget_layer *options) MSW_NODISCARD;
/* In the scratch: all but the amounts and the scale. */
void msw__layer_tree(msw__tree *t, const msw_admm *admm, const msw__layer *layer);
/* The rated layer's nodes in the scratch, at a part of the price. */
void msw__layer_choose_nodes(msw_admm *admm, const msw__layer *layer, double part);
/* Levels in the scratch of a layer, chosen on its own or with all others; NULL: none. */
uint8_t *msw__layer_levels(const msw_admm *admm, const msw__layer *layer);

/* admm_budget.c */

void msw__layer_budget_init(msw__layer_budget *b);
/* A plan for each layer that has several, by the budget and finite weights; none without a
 * budget. Back to the first. */
msw_status msw__admm_pick_plans(msw_admm *admm) MSW_NODISCARD;
void msw__admm_first_plans(msw_admm *admm);
void msw__layer_free_plans(msw_admm *admm, msw__layer *layer);
/* Factors and amounts, of finite weights. Nothing without a budget. */
msw_status msw__admm_begin_budget(msw_admm *admm) MSW_NODISCARD;
/* The classes of all blocks, in the scratch, from the candidates there, at @p part of the
 * budget. MSW_E_RANGE: it cannot be met. */
msw_status msw__admm_choose(msw_admm *admm, double part,
                            double (*rho)(const msw_admm *admm,
                                          const msw__layer *layer)) MSW_NODISCARD;
/* The structure of all layers at @p part of the budget. Half-made on failure. */
msw_status msw__admm_fit_budget(msw_admm *admm, double part) MSW_NODISCARD;

/* admm_importance.c */

/* Memory for what gradients a layer will see, if the solver collects importance. */
msw_status msw__layer_prepare_squares(msw_admm *admm, msw__layer *layer) MSW_NODISCARD;
/* A gradient of the loss alone. MSW_E_NUMERIC: it is not finite, nothing was added. */
msw_status msw__layer_add_gradient(msw_admm *admm, msw__layer *layer,
                                   const msw_tensor *grad) MSW_NODISCARD;
/* The importance that the next update takes up, beside the old; then it, or none. Taking it
 * up cannot fail, and needs scratch. */
msw_status msw__admm_renew_importance(msw_admm *admm) MSW_NODISCARD;
void msw__admm_take_renewed(msw_admm *admm);
void msw__admm_drop_renewed(msw_admm *admm);
/* h_old / h_new at the most: the mean is 1 and the floor is known. */
double msw__largest_change(const msw__layer *layer);

/* schedule.c */

/* rho after the update that ends with @p updates done. */
double msw__next_rho(const msw_admm_options *o, double rho, uint32_t updates);
/* MSW_RHO_BALANCE: the same, of an update with such residuals. */
double msw__balanced_rho(const msw_admm_options *o, double rho, uint32_t updates,
                         double primal, double dual);
/* Lambda of the envelope in the update after @p updates. */
double msw__envelope_lambda(const msw_admm_options *o, uint32_t updates);
/* Share of the wanted ratios that the update after @p updates works with, 0 to 1. */
double msw__ramp(const msw_admm_options *o, uint32_t updates);

/* penalty.c */

/* grad += scale rho h (W - D) in all elements. */
msw_status msw__layer_penalty(msw_admm *admm, const msw__layer *layer, msw_tensor *grad,
                              double scale) MSW_NODISCARD;

/* admm_freeze.c */

/* A projection of all layers' weights onto @p share of their shares, to l->frozen; for
 * freezing, or for an update. All ranks call it and have the same status. Half-made on
 * failure; msw__admm_drop_fits() ends it. */
msw_status msw__admm_fit_layers(msw_admm *admm, double share, bool freezing) MSW_NODISCARD;
void msw__admm_drop_fits(msw_admm *admm);

/* retrain.c */

/* l->frozen, as it was made, to a tensor of the weights' shape. */
void msw__layer_write_fit(const msw_admm *admm, const msw__layer *layer, msw_tensor *out);

/* Memory of views, kept until the end: whatever masks from now on cannot fail. */
msw_status msw__admm_reserve_columns(msw_admm *admm,
                                     const msw__layer *layers) MSW_NODISCARD;
/* The same for the largest of these layers that is frozen with merged blocks. */
msw_status msw__admm_reserve_sums(msw_admm *admm, const msw__layer *layers) MSW_NODISCARD;
void msw__admm_free_sums(msw_admm *admm);
/* Project a gradient, slot or the weights of a layer, if it is frozen. */
void msw__layer_mask(const msw_admm *admm, const msw__layer *layer, msw_tensor *t,
                     msw_slot kind);
/* Restore the structure of a frozen layer's weights. MSW_E_NUMERIC: they are not finite,
 * and untouched. */
msw_status msw__layer_mask_weights(msw_admm *admm, msw__layer *layer) MSW_NODISCARD;

/* admm_soft.c */

/* Soft projection of all layers, or nothing; an update. */
msw_status msw__admm_soften(msw_admm *admm) MSW_NODISCARD;

/* admm_straight.c */

/* Whether there are latent weights, or will be. */
bool msw__admm_straight(const msw_admm *admm);
/* Latent weights and their first projection, all layers or none; an update. */
msw_status msw__straight_begin(msw_admm *admm) MSW_NODISCARD;
msw_status msw__straight_update(msw_admm *admm) MSW_NODISCARD;
/* What freezing begins with, to l->frozen. Half-made on failure. */
msw_status msw__straight_freeze(msw_admm *admm) MSW_NODISCARD;
/* Around a step: the host's weights become the latent ones; these are taken from there, and
 * the weights become their projection. MSW_E_NUMERIC: not finite, and nothing was done. */
void msw__straight_show_latent(msw_admm *admm);
msw_status msw__straight_take(msw_admm *admm) MSW_NODISCARD;
/* The weights as the projection of the latent ones, whatever they are now. */
void msw__straight_restore(msw_admm *admm);
/* That projection, to a tensor of the layer's shape. */
msw_status msw__straight_write(msw_tensor *z, const msw_admm *admm,
                               const msw__layer *layer) MSW_NODISCARD;
/* Memory of all these for such layers. */
msw_status msw__straight_reserve(msw_admm *admm, const msw__layer *layers) MSW_NODISCARD;
void msw__straight_release(msw_admm *admm);
uint64_t msw__straight_bytes(const msw_admm *admm);

/* admm_hash.c */

uint64_t msw__admm_hash(const msw_admm *admm);
uint64_t msw__hash_word(uint64_t h, uint32_t word);
uint64_t msw__hash_words(uint64_t h, uint64_t two);

enum { MSW__OLDEST_HOST = offsetof(msw_host, allreduce) };

/* admm_ranks.c: what all ranks of a data-parallel run call in the same order. Outside of
 * one, or alone in it, they do nothing. */

/* Before all else in a run, and at its end. Of MSW_E_INVAL other ranks do not hear. */
msw_status msw__ranks_join(msw_admm *admm, const msw_host *host) MSW_NODISCARD;
void msw__ranks_leave(msw_admm *admm);
/* Whether there are others. */
bool msw__ranks_many(const msw_admm *admm);
/* The status that all ranks have from here on: their own, or that of another one. *stop,
 * or NULL, becomes true when it is so on one; *loss, or NULL, the mean. */
msw_status msw__ranks_agree(msw_admm *admm, msw_status status, bool *stop,
                            double *loss) MSW_NODISCARD;
/* @p status when the ranks have not the same hash, combined with @p mark. */
msw_status msw__ranks_compare(msw_admm *admm, uint64_t mark,
                              msw_status status) MSW_NODISCARD;
/* Where another rank has the values: what changes nothing in a sum. */
void msw__ranks_leave_out(msw_tensor *t);
/* Each rank's part of dense data, left out elsewhere, to all. */
msw_status msw__ranks_exchange(msw_admm *admm, msw_tensor *t) MSW_NODISCARD;
/* Means over the ranks. */
msw_status msw__ranks_gradients(msw_admm *admm) MSW_NODISCARD;
/* Whether somebody wants the run to stop: once. */
bool msw__ranks_stop(msw_admm *admm);
/* Whether this rank chooses the classes of a layer. */
bool msw__ranks_own(const msw_admm *admm, uint32_t layer);
/* Classes and magnitudes of a layer, from the scratch into its part of scratch.choice,
 * which is zero at first; all parts of all ranks; and back. */
void msw__ranks_put_choice(msw_admm *admm, uint32_t layer);
msw_status msw__ranks_exchange_choices(msw_admm *admm) MSW_NODISCARD;
void msw__ranks_get_choice(msw_admm *admm, uint32_t layer);
/* The same of the classes of l->frozen: scratch for the layers whose Z is not the host's
 * own, those of this rank filled in; all to all, where take from is l->scratch_block in
 * scratch.classes. */
msw_status msw__ranks_open_classes(msw_admm *admm) MSW_NODISCARD;
msw_status msw__ranks_exchange_classes(msw_admm *admm) MSW_NODISCARD;

/* admm_run.c */

/* Begin to count mini-batches and losses anew, and keep a copy of the weights when the
 * host wants rollback: after an update. */
void msw__admm_end_round(msw_admm *admm);
/* The same, and forget what the guard compares with. */
void msw__admm_restart_rounds(msw_admm *admm);

#endif /* MSW_LIB_ADMM_H */
