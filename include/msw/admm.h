/* SPDX-License-Identifier: BSD-2-Clause */
/** @file admm.h  The solver: ADMM, freezing, masked retraining.
 *
 * Minimise f(W) with every layer in unified-block form Z (msw/unified.h), by the
 * alternating direction method of multipliers in scaled form:
 *
 *   W step   host's optimiser on  f(W) + sum over layers of rho/2 ||W - Z + U||^2
 *   Z step   Z <- projection of W + U onto the layer's shares of pruned and
 *            unified blocks
 *   U step   U <- U + W - Z
 *
 * ADMM phase    as above; starts at Z = projection of W, U = 0
 * msw_admm_freeze()   hard-projects W in place; classes and signs stay from here on
 * FROZEN phase  masked retraining: pruned weights stay 0, a unified block trains
 *               its one magnitude, free weights train freely
 *
 * The host keeps its own loop, or msw_admm_run() runs it and calls the host
 * back, in both phases. Layers are numbered from 0 in the order they were added.
 * Unless said otherwise: one thread at a time per solver; a failing call leaves
 * the solver and the weights as they were; msw_admm_error() has the detail.
 *
 * Own loop, in short:
 *
 *   msw_admm_new(), msw_admm_add_layer() for each weight tensor
 *   for each mini-batch: backward pass, msw_admm_add_penalty() for each layer, step;
 *                        every few hundred mini-batches msw_admm_update()
 *   msw_admm_freeze(), msw_admm_mask_slot() for each momentum array
 *   for each mini-batch: backward pass, msw_admm_mask_gradient(), step,
 *                        msw_admm_mask_weights()
 *   msw_admm_unify() for each layer
 *
 * An update supposes that the W step has come near its minimum. With momentum the
 * optimiser needs time for that: at 0.9, updates every 1 to 4 mini-batches never settle,
 * ||W - Z|| stays about as large as ||W||; every 40 settle. Look at msw_admm_residual().
 */
#ifndef MSW_ADMM_H
#define MSW_ADMM_H

#include <msw/base.h>
#include <msw/budget.h>
#include <msw/unified.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum msw_phase { MSW_PHASE_ADMM = 0, MSW_PHASE_FROZEN = 1 } msw_phase;
typedef enum msw_optimiser { MSW_OPTIMISER_SGD = 0, MSW_OPTIMISER_ADAM = 1 } msw_optimiser;
typedef enum msw_rho_schedule {
    MSW_RHO_TO_END = 0, /**< geometric from rho at the first update to rho_end at the last
                             of the planned updates */
    MSW_RHO_FIXED = 1,  /**< rho; the host may still call msw_admm_set_rho() */
    MSW_RHO_GROW = 2,   /**< times rho_factor (0: 1.3) at every update, up to rho_end */
    MSW_RHO_STAGES = 3, /**< times rho_factor (0: 10) after each quarter of the planned
                             updates, up to rho_end */
    MSW_RHO_BALANCE = 4 /**< residual balancing, each layer for itself: times rho_factor
                             (0: 2), up to rho_end, after a planned update where the
                             primal residual ||W - Z|| / ||W|| exceeds rho_threshold times
                             the dual one, ||Z - previous Z|| / ||U||; divided by it
                             where the dual one exceeds rho_threshold times the primal.
                             Boyd et al., Distributed Optimization and Statistical Learning
                             via ADMM, 3.4.1, with relative residuals after Wohlberg,
                             arXiv 1704.06209, which do not depend on the scales of loss
                             and weights */
} msw_rho_schedule;
typedef enum msw_stop_reason {
    MSW_STOP_NONE = 0,       /**< no run has ended yet */
    MSW_STOP_ITERATIONS = 1, /**< as many as asked for */
    MSW_STOP_CONVERGED = 2,  /**< residuals below the tolerance */
    MSW_STOP_REQUESTED = 3,  /**< msw_admm_stop() */
    MSW_STOP_HOST = 4,       /**< a callback returned > 0 */
    MSW_STOP_ERROR = 5       /**< the run returned a status other than MSW_OK */
} msw_stop_reason;
typedef enum msw_relaxation {
    MSW_RELAXATION_ADMM = 0, /**< as above */
    /**
     * Soft projection: no penalty, Z or U. An update takes the weights themselves part of
     * the way, W <- alpha W + (1 - alpha) projection of W: pruned blocks become alpha w,
     * unified ones sign(w) (alpha |w| + (1 - alpha) m), free ones stay as they are. Which
     * blocks, every update chooses anew. For updates after every mini-batch or every few,
     * planned as many; then msw_admm_freeze(). After ISS-P, arXiv 2303.09650. The primal
     * residual is that before the update, the dual one NaN.
     */
    MSW_RELAXATION_SOFT = 1,
    /**
     * ADMM whose Z step is not a projection but goes from the identity to it: a proximal
     * map of the group envelope of the layer's shares. It shrinks the blocks that are to be
     * pruned, and in those to be unified what differs from the mean magnitude m:
     *
     *   z = sign(v) (p m + q (|v| - m))     0 <= q <= p <= 1
     *
     * with p = (1 + lambda) w / (w + lambda) and q = (1 + lambda) u / (u + lambda), where
     * u <= w in [0, 1] of all blocks minimise
     *
     *   sum over blocks of c / (u + lambda) + n m^2 / (w + lambda)
     *
     * with sum u at most the number of free blocks and sum w that of blocks not pruned (c
     * and m as in msw/unified.h; with importance, weighted). Free blocks end with u = w = 1,
     * unified ones with u = 0, pruned ones with both 0; on the way blocks near the border
     * are in between, so that the choice is not made at once. A lambda of 0.1 hardly changes
     * anything; the larger it is, the more it is the projection. It grows by equal factors
     * from envelope_start at the first update to envelope_end at the last planned one; the
     * ramp moves the shares besides. msw_admm_freeze() projects. Z is dense: memory as for
     * msw_admm_set_projection(). Not with a budget, which has no shares. The sum over groups
     * of ||z_g||^2 / 2u_g is half the squared k-support norm of the groups' norms; after
     * WGSEF, arXiv 2212.12921, here for two nested classes at once.
     */
    MSW_RELAXATION_ENVELOPE = 2,
    /**
     * Straight-through: the network has the projection of latent weights V, and its gradient
     * there is taken as theirs. There is no penalty, Z or U. Masked retraining keeps signs,
     * so of a unified block it trains one number; here signs flip, too, before that.
     *
     *   W = projection of V   what the host's weights hold, from the first update, run or
     *                         msw_admm_show_latent() on: pruned 0, unified sign(v) m with
     *                         the mean magnitude m of the block, free v
     *   V <- V - step(dL/dW)  the host's optimiser, between msw_admm_show_latent() and
     *                         msw_admm_show_blocks(); msw_admm_run() does it all
     *   update                which blocks are pruned and unified is chosen anew, of V;
     *                         from the last planned update on the classes stay, and only
     *                         signs, magnitudes and free weights follow V
     *
     * msw_admm_freeze() chooses a last time, or keeps the classes when all planned updates
     * are done; then V is gone. Leave mini-batches between the last planned update and
     * freezing, a quarter of all or so. The primal residual is ||V - W|| / ||V|| and stays
     * large; the dual one is NaN. Memory: V and one byte per block. msw_admm_set_weights() and
     * msw_admm_set_importance() leave W as it is until the next step or choice. Not with a
     * projection of the host's own, nor with importance_memory. After Hinton's estimator in Bengio,
     * Leonard and Courville, arXiv 1308.3432, and binary networks, arXiv 1602.02830.
     */
    MSW_RELAXATION_STRAIGHT = 3
} msw_relaxation;
typedef enum msw_residual { MSW_RESIDUAL_PRIMAL = 0, MSW_RESIDUAL_DUAL = 1 } msw_residual;
typedef enum msw_real { MSW_REAL_FLOAT = 0, MSW_REAL_DOUBLE = 1 } msw_real;

/** The enums above go into uint32_t. */
typedef struct msw_admm_options {
    size_t size;
    size_t updates;          /**< planned number of Z/U updates, which schedule and ramp
                                  refer to; later updates stay at the end. 0: 24 */
    size_t update_every;     /**< mini-batches between updates in msw_admm_run(); when
                                  frozen, between calls of progress. 0: 100 */
    double rho;              /**< at the start; 0: 1e-2 */
    double rho_end;          /**< 0: 1 for MSW_RHO_TO_END, no bound otherwise */
    double rho_factor;
    double tolerance;        /**< msw_admm_run() stops when ||W-Z|| <= tolerance ||W|| in
                                  all layers and the ratios, and the envelope's lambda,
                                  are final; 0: never */
    double ramp;             /**< share of the planned updates over which the ratios rise:
                                  at update k = 1, 2, ... they are r (1 - (1 - t)^3) with
                                  t = k / (ramp updates), up to 1. 0: r at once */
    double guard;            /**< MSW_E_DIVERGED when the mean loss between two updates
                                  exceeds guard |first such mean| + 1; 0: 10 */
    double learning_rate;    /**< built-in optimiser; 0: 0.01 (SGD), 0.001 (Adam) */
    double momentum;         /**< SGD's momentum, Adam's beta1; 0: 0.9; < 0: none */
    double beta2;            /**< Adam; 0: 0.999 */
    double weight_decay;     /**< L2, of layers with a plan */
    uint32_t rho_schedule, optimiser;
    uint32_t rollback;       /**< 1: keep a copy of the weights of the last update, which
                                  MSW_E_DIVERGED restores */
    uint32_t reserved;       /**< 0 */
    double rho_threshold;    /**< MSW_RHO_BALANCE; 0: 10 */
    double soft_factor;      /**< alpha of MSW_RELAXATION_SOFT, < 1; 0: 0.95; < 0: none,
                                  which projects at once */
    uint32_t relaxation;
    uint32_t reserved2;      /**< 0 */

    /** Not 0: the solver collects importance (see msw_admm_set_importance()), the mean of
     * the squared gradients of the loss in about so many mini-batches, the last ones; each
     * update takes up what there is. Gradients come from msw_admm_run() or from
     * msw_admm_add_gradient(). Two numbers more for each weight, a third one during an
     * update. Not with MSW_RELAXATION_SOFT and _STRAIGHT. */
    size_t importance_memory;

    double envelope_start;   /**< lambda of MSW_RELAXATION_ENVELOPE; 0: 0.1 */
    double envelope_end;     /**< >= envelope_start; 0: 100, or envelope_start if larger */
} msw_admm_options;

typedef struct msw_layer_options {
    size_t size;
    const char *name;        /**< copied; unique; NULL: "layer0", ... */
    double prune, unify;     /**< wanted share of blocks; sum <= 1 */
    uint32_t exclude;        /**< MSW_EXCLUDE_*: classes this layer never uses */
    uint32_t reserved;       /**< 0 */
    uint32_t per_row;        /**< 1: the shares are of each block row, as in
                                  msw_projection_options. Not with a budget, which has no
                                  shares: it compares single blocks wherever they are, and
                                  rows of equal numbers are not what costs least for the
                                  bytes. MSW_E_INVAL when it is first used */
    uint32_t reserved2;      /**< 0 */

    /**
     * Not NULL: blocks may be merged (msw/unified.h), and instead of shares a price decides.
     * Every projection of the layer is msw_unified_from_quadtree() with these options,
     * copied, at the ramp's part of the price; with a budget that of msw_budget for nodes up
     * to their level, where their price and bits are not looked at. Nodes are kept like
     * classes: by masks, files, ranks. Memory: a byte more for each block, and during an
     * update 5. MSW_E_INVAL: shares, or per_row; importance, which has a setter of its own;
     * an option out of range; a solver with another relaxation than ADMM or SOFT; later a
     * projection of the host's own, shares for the layer, or a budget that merging does not
     * help (msw_budget_layer.levels) or that has bounds for the layer.
     */
    const msw_quadtree_options *quadtree;
} msw_layer_options;
#define MSW_ALL_LAYERS UINT32_MAX

/** Made by the library: read a field only if it lies within @c size. */
typedef struct msw_admm_progress {
    size_t size, layer_count;
    uint64_t iteration, iterations; /**< done in this run, asked for */
    double loss;                    /**< mean since the last call of progress */
    double rho, primal, dual;       /**< the largest of all layers; NaN when frozen */
    uint32_t phase, updates;        /**< updates since the solver was made */
} msw_admm_progress;

/** Bytes held, by kind. The host's weights are not counted. */
typedef struct msw_admm_memory {
    size_t size;
    uint64_t state;      /**< D = Z - U, classes, magnitudes, signs: at most 1.15 times
                              the weights for blocks of 16 weights or more; 2 times where
                              Z is dense */
    uint64_t scratch;    /**< at the most, during an update: for blocks of 9 weights or
                              more at most half the largest layer, or 1 MiB; and as much
                              as the layers whose Z is dense */
    uint64_t gradients;  /**< made by msw_admm_run() for its callbacks */
    uint64_t slots, importance, rollback; /**< opt-in, 0 otherwise */
} msw_admm_memory;

/** What the host does for the solver.
 *
 * Every callback returns 0 to go on, a positive value to stop cleanly, a
 * negative value on error (MSW_E_HOST); the value is kept, see
 * msw_admm_host_code(). It must return: no longjmp, no exception. On the same
 * solver it may call msw_admm_stop() and, inside progress, the const getters,
 * msw_admm_get_z(), msw_admm_save() and the three setters below; everything else
 * returns MSW_E_STATE. It runs on the thread that called msw_admm_run(), never in a
 * parallel task.
 */
typedef struct msw_host {
    size_t size; /**< set by the init macro */
    void *user;

    /**
     * Loss of the host's next mini-batch at the current weights, and its
     * gradient. weights[i] is the data of the tensor given for layer i, with its
     * strides. grads[i] is dense, in the order of that tensor's dimensions, and
     * is to be overwritten, not added to. When the loss or a gradient is not
     * finite no step is taken: MSW_E_NUMERIC, the weights stay as they were.
     */
    int (*loss_gradient)(double *loss, float *const *grads,
                         const float *const *weights, uint32_t layer_count,
                         void *user);

    /**
     * The host's own optimiser: update weights[i] from grads[i], which already
     * hold the penalty rho (W - Z + U), or when frozen are masked. The structure
     * is restored afterwards. On failure the weights are as the host left them,
     * projected onto the structure when frozen. NULL: the built-in optimiser.
     */
    int (*step)(float *const *weights, const float *const *grads,
                uint32_t layer_count, void *user);

    /** After each Z/U update, when frozen every update_every steps; NULL to skip. */
    int (*progress)(const msw_admm_progress *progress, void *user);

    /**
     * For data-parallel training, below: replace each of the @p count floats or doubles
     * at @p data by the sum of those that the ranks gave, on every rank to the same bits;
     * added in the order of the ranks they do not depend on timing either. Anything but
     * 0 is an error, on which the other ranks must not be left waiting: let the same call
     * fail on all. Not called where rank_count is at most 1.
     */
    int (*allreduce)(void *data, size_t count, msw_real type, void *user);
    uint32_t rank, rank_count; /**< rank < rank_count; 0 and 0: one process */
} msw_host;

/** What a projection of the host's own works on. Made by the library: read a field only if
 * it lies within @c size. */
typedef struct msw_projection_call {
    size_t size;
    float *z;                /**< V = W + U, or the weights when freezing: to be replaced by
                                  the projection. Dense, in the order of the dimensions of
                                  the layer's tensor */
    const float *importance; /**< in the same order, > 0; NULL: plain */
    size_t count;            /**< of each */
    const msw_plan *plan;
    double prune, unify;     /**< the layer's wanted shares, as far as the ramp has come */
    uint32_t layer;
    uint32_t freezing;       /**< 1: this one is final */
} msw_projection_call;

/** A projection: see msw_admm_set_projection(). */
typedef int msw_project(const msw_projection_call *call, void *user);

/** Loss of the network at the weights it is given, for msw_admm_sensitivity(). */
typedef int msw_evaluate(double *loss, const float *const *weights, uint32_t layer_count,
                         void *user);

/** Shares of a layer's blocks for msw_admm_sensitivity(). */
typedef struct msw_sensitivity_point {
    size_t size;
    double prune, unify; /**< each >= 0, sum <= 1 */
} msw_sensitivity_point;

MSW_API void msw_sensitivity_point_init_sized(msw_sensitivity_point *p, size_t size);
#define msw_sensitivity_point_init(p) \
    msw_sensitivity_point_init_sized((p), sizeof(*(p)))

/* Data-parallel training: processes or threads, the ranks, each with a solver and weights
 * of its own and a part of the data.
 *
 * In msw_admm_run() all ranks have the same layers, plans, options, budgets, importances
 * and weights, and ask for the same number of iterations. loss_gradient gives the loss and the gradient of the rank's
 * own mini-batch; the run takes their means over the ranks, so that every rank does the
 * same step. In an update each rank chooses the classes of its share of the layers, and
 * the choices are exchanged. After every update the ranks compare msw_admm_hash(): when
 * they have drifted apart, by a host's step for instance, all stop with MSW_E_HOST; when
 * they are not equal at the start, with MSW_E_INVAL and nothing changed. Whatever fails
 * or stops on one rank ends the run on all: with its own status there, and with the same
 * status elsewhere. So a NaN on one rank is MSW_E_NUMERIC on every rank, and no rank
 * takes that step. Only a step that fails on some ranks may leave them one step apart.
 * MSW_E_INVAL for the solver or the host struct itself, and for a call inside a callback, is
 * not told to the other ranks.
 *
 * msw_admm_freeze_ranks() freezes in the same way; msw_admm_freeze(), which every rank may
 * call as if it were alone, does all of the work on each of them.
 *
 * In its own loop the host sums the loss gradients over the ranks before
 * msw_admm_add_penalty(), or when frozen before msw_admm_mask_gradient(). All else every
 * rank calls as if it were alone: the same weights and gradients give the same bits. */

MSW_API void msw_admm_options_init_sized(msw_admm_options *o, size_t size);
MSW_API void msw_layer_options_init_sized(msw_layer_options *o, size_t size);
MSW_API void msw_admm_memory_init_sized(msw_admm_memory *m, size_t size);
MSW_API void msw_host_init_sized(msw_host *h, size_t size);
#define msw_admm_options_init(o) msw_admm_options_init_sized((o), sizeof(*(o)))
#define msw_layer_options_init(o) msw_layer_options_init_sized((o), sizeof(*(o)))
#define msw_admm_memory_init(m) msw_admm_memory_init_sized((m), sizeof(*(m)))
#define msw_host_init(h) msw_host_init_sized((h), sizeof(*(h)))

/** @p options is copied, NULL for the defaults. MSW_E_INVAL: a value out of range.
 * Thread-safety: safe. */
MSW_API msw_status msw_admm_new(msw_admm **out, msw_context *ctx,
                                const msw_admm_options *options) MSW_NODISCARD;
/** NULL is allowed. Never from inside a callback of the same solver: it is then
 * ignored, and logged. */
MSW_API void msw_admm_free(msw_admm *admm);

/**
 * Add one layer: the host's weights, used in place, and their partition; both
 * are retained. @p plan NULL: an unconstrained parameter (bias, batch norm),
 * known only to the callbacks and the built-in optimiser. @p options NULL: the
 * defaults, nothing pruned or unified. MSW_E_EXISTS: the name is taken.
 * MSW_E_STATE after the first penalty, update, run or freeze.
 */
MSW_API msw_status msw_admm_add_layer(msw_admm *admm, msw_tensor *weights, msw_plan *plan,
                                      const msw_layer_options *options) MSW_NODISCARD;

/** The host moved its weights: same shape, values and solver state carry on.
 * (Same tensor handle, other data: msw_tensor_repoint() does.) */
MSW_API msw_status msw_admm_set_weights(msw_admm *admm, uint32_t layer,
                                        msw_tensor *weights) MSW_NODISCARD;

/**
 * Importance h_i >= 0 of each weight of a layer, of its shape; copied, normalised
 * to mean 1 and floored at 1e-3. From then on the penalty is
 * rho/2 sum h_i (w_i - z_i + u_i)^2 and projections weigh by h: the same metric in
 * both, or ADMM would converge to the wrong point. h U is kept. @p importance
 * NULL: back to plain. When frozen, or when the solver collects importance itself:
 * MSW_E_STATE.
 */
MSW_API msw_status msw_admm_set_importance(msw_admm *admm, uint32_t layer,
                                           const msw_tensor *importance) MSW_NODISCARD;

/**
 * The host's own Z step for a layer: @p project puts the point of a set nearest to what it
 * is given in its place; what it does not touch is free. Two of every four weights, say:
 *
 *     static int two_of_four(const msw_projection_call *call, void *user)
 *     {
 *         for (size_t i = 0; i + 4 <= call->count; i += 4)
 *             zero_the_two_smallest(call->z + i);
 *         return 0;
 *     }
 *     ...
 *     msw_admm_set_projection(admm, layer, two_of_four, NULL)
 *
 * The solver knows nothing of the set: shares and ramp are only told. With importance the
 * nearest point is that of least sum h_i (v_i - z_i)^2. Of the callback the same is true as
 * of those of msw_host: it returns 0, and anything else ends the call that needed it with
 * MSW_E_HOST; of the same solver it may call msw_admm_stop() alone. A result that is not
 * finite is MSW_E_NUMERIC. Neither the solver nor the weights have changed then, but
 * importance that it collects may have been taken up. One call for each update and
 * one for freezing; the same input must give the same output. In a data-parallel
 * run one rank calls it and the others are given the result.
 *
 * Freezing calls it for the weights themselves and takes the result as it is. The structure
 * of masked retraining is what the result has on the layer's plan: PRUNED blocks where all
 * is zero, UNIFIED ones where all weights have one absolute value, unless the class is
 * excluded, and all others FREE, which train freely. So a set is kept by a plan that
 * shows it: that of two of four by blocks of one weight.
 *
 * Z is dense: 2 numbers for each weight of the layer between updates, a third one during an
 * update. The solver's file has no callback in it: msw_admm_load() wants it to be set, and
 * refuses otherwise. @p project NULL: back to the shares. MSW_E_INVAL: a layer without a
 * plan. With a budget: MSW_E_INVAL when that is first used. MSW_E_STATE after the first
 * penalty, update, run or freeze.
 */
MSW_API msw_status msw_admm_set_projection(msw_admm *admm, uint32_t layer,
                                           msw_project *project, void *user) MSW_NODISCARD;

/* A budget instead of shares for each layer (msw/budget.h): in every projection, of an
 * update and of freezing, all layers together take at most the target, at the least
 * sum over layers of rho_l ||V - Z||^2 for what they take. The ramp goes from all blocks
 * free to the target. For MSW_SCALE_RMS rho_l is rho of the schedule times a factor that
 * goes as weight / mean w^2 of the layer's first weights, in the penalty as in the
 * projection; with MSW_RELAXATION_SOFT and _STRAIGHT, which have no penalty, in the
 * projection alone. The wanted shares of the layers are not looked at. The scratch of an
 * update is then for all layers, and amounts that have to be measured (transport form,
 * SECONDS) cost some encodings or packings of the network. */

/**
 * A budget of @p target in the resource of @p options (NULL: bytes of the plain form); 0:
 * none. Parameters without a plan and all else in the file are options.rest. The other
 * calls that take it up fail with MSW_E_RANGE when even the least that the bounds allow
 * takes more. MSW_E_INVAL with MSW_RELAXATION_ENVELOPE: it has to know how many blocks stay
 * free before it weighs one, and a budget finds that out in weighing. MSW_E_STATE after the
 * first penalty, update, run or freeze.
 */
MSW_API msw_status msw_admm_set_budget(msw_admm *admm, double target,
                                       const msw_budget_options *options) MSW_NODISCARD;
/** Weight, bounds, exclusions, columns and store options of one layer, or of
 * MSW_ALL_LAYERS that there are, in a budget; NULL: the defaults. Classes that the layer
 * itself excludes stay excluded. MSW_E_INVAL: bounds that no choice can keep, importance,
 * which has a setter of its own, levels, which are options of the layer, or what does not go
 * with those. MSW_E_STATE as above. */
MSW_API msw_status msw_admm_set_budget_layer(msw_admm *admm, uint32_t layer,
                                             const msw_budget_layer *options) MSW_NODISCARD;
/**
 * One more way to cut a layer's weights into blocks, of another size or along another order
 * of the reduction. The first penalty, update, run or freeze picks one for each layer, by
 * the budget's own measure at its target (msw_budget_add_any()) and the weights of then;
 * msw_admm_plan() tells which. Without a budget it is that of msw_admm_add_layer().
 * Retained. MSW_E_INVAL: not of the layer's shape. MSW_E_STATE as above.
 */
MSW_API msw_status msw_admm_add_plan(msw_admm *admm, uint32_t layer,
                                     msw_plan *plan) MSW_NODISCARD;
/** Another target > 0, taken up by the next update, or by freezing. Also inside progress.
 * MSW_E_STATE: no budget, or frozen. */
MSW_API msw_status msw_admm_set_target(msw_admm *admm, double target) MSW_NODISCARD;
/** Of the last projection: its own target, along the ramp, and what it takes; all 0 before
 * it. */
MSW_API msw_status msw_admm_get_budget(msw_budget_info *out,
                                       const msw_admm *admm) MSW_NODISCARD;
/** Blocks of a class in the layer's Z or, when frozen, its structure; 0 before the first
 * Z, and where Z is dense. */
MSW_API uint64_t msw_admm_class_count(const msw_admm *admm, uint32_t layer,
                                      msw_class which);
/** rho of the layer's penalty over msw_admm_rho(): 1 without a budget. */
MSW_API double msw_admm_rho_factor(const msw_admm *admm, uint32_t layer);

/**
 * How much the loss minds: each layer with a plan is projected one-shot onto each of
 * @p point_count points in turn, in place and alone, the others as they are, and
 * @p evaluate tells the loss of the network so, on data of its choice. losses[l *
 * point_count + p] is that of layer l at point p, NaN for a parameter without a plan;
 * *base, where it is not NULL, that of the weights as they are. Importance counts as in a
 * projection, exclusions do not. The points are an array of structs of one size.
 *
 * The weights come back bit for bit, also on failure. The callback gets them as
 * loss_gradient does, must not write to them, and returns 0; anything else ends the call
 * with MSW_E_HOST. Allowed in both phases. Takes memory for a copy of the largest layer.
 */
MSW_API msw_status msw_admm_sensitivity(double *losses, double *base, msw_admm *admm,
                                        const msw_sensitivity_point *points,
                                        size_t point_count, msw_evaluate *evaluate,
                                        void *user) MSW_NODISCARD;

/* ADMM phase, the host's own loop: after its backward pass it adds the penalty
 * to its gradients, steps its optimiser, and now and then updates Z and U. */

/**
 * grad += scale * rho (W - Z + U). @p grad has the layer's shape and any
 * strides. @p scale brings the penalty into the host's convention: 1 for +dL/dW
 * of a mean loss, -batch for hosts that hold -d(sum of losses)/dW.
 * MSW_E_NUMERIC when the result is not finite: all elements were still added to;
 * do not step. Nothing to add for an unconstrained parameter: MSW_OK. When
 * frozen: MSW_E_STATE. The first penalty or update of a solver projects W of all
 * layers to make the first Z.
 */
MSW_API msw_status msw_admm_add_penalty(msw_admm *admm, uint32_t layer, msw_tensor *grad,
                                        double scale) MSW_NODISCARD;

/**
 * With options.importance_memory, the host's own loop: take note of the gradient of the
 * loss alone, before the penalty, weight decay or anything else is added. Its scale and
 * sign do not matter so long as they stay the same. MSW_E_NUMERIC: it is not finite, and
 * nothing was taken. MSW_E_STATE: frozen, or importance is not collected. Begins the solver
 * like a penalty.
 */
MSW_API msw_status msw_admm_add_gradient(msw_admm *admm, uint32_t layer,
                                         const msw_tensor *grad) MSW_NODISCARD;

/** Z and U step of all layers, then rho and the ratios by the schedule.
 * MSW_E_NUMERIC: a weight is not finite. When frozen: MSW_E_STATE. A solver that collects
 * importance and has a budget may have taken up the importance when the choice fails. */
MSW_API msw_status msw_admm_update(msw_admm *admm) MSW_NODISCARD;

/**
 * With MSW_RELAXATION_STRAIGHT, the host's own loop: after the backward pass the weights of
 * all layers with a plan become the latent ones, which the optimiser steps; that is also the
 * way back from weights that went wrong in the step. Begins the solver. MSW_E_STATE: another
 * relaxation, or frozen.
 */
MSW_API msw_status msw_admm_show_latent(msw_admm *admm) MSW_NODISCARD;

/**
 * After the step: the latent weights are taken from the host's, which become their
 * projection. MSW_E_NUMERIC: a weight is not finite; all are as the host left them, and
 * msw_admm_show_latent() gives back those of before the step. MSW_E_STATE: the latent
 * weights are not shown. While they are, updates, freezing, a run and msw_admm_save() are
 * MSW_E_STATE.
 */
MSW_API msw_status msw_admm_show_blocks(msw_admm *admm) MSW_NODISCARD;

/**
 * End of the ADMM phase: every layer with a plan is projected, in place, onto
 * its final ratios; classes and signs are kept. All layers or none. There is no
 * way back; another round is a new solver on the same weights.
 */
MSW_API msw_status msw_admm_freeze(msw_admm *admm) MSW_NODISCARD;

/**
 * The same by all ranks of a data-parallel training, each of which projects its share of
 * the layers; with a budget, which is one choice for all, every rank makes it. Of @p host
 * only allreduce, its user, rank and rank_count count. Ends with the same bits on every
 * rank, those of msw_admm_freeze(). The ranks compare msw_admm_hash() before: MSW_E_INVAL
 * on all when they are not equal. What fails on one rank fails on all, with nothing
 * changed; of MSW_E_INVAL for the solver or the host struct itself, and for a call inside a
 * callback, the others do not hear.
 */
MSW_API msw_status msw_admm_freeze_ranks(msw_admm *admm,
                                         const msw_host *host) MSW_NODISCARD;

/* FROZEN phase, the host's own loop: mask the slots once after freezing; then
 * mask the gradient before, and the weights after, each step of any optimiser.
 * Unconstrained parameters are left alone. In the ADMM phase: MSW_E_STATE. What
 * the three do is said at msw_unified_project_gradient(), _slot() and
 * msw_unified_project(). */

MSW_API msw_status msw_admm_mask_gradient(msw_admm *admm, uint32_t layer,
                                          msw_tensor *grad) MSW_NODISCARD;
MSW_API msw_status msw_admm_mask_slot(msw_admm *admm, uint32_t layer, msw_tensor *slot,
                                      msw_slot kind) MSW_NODISCARD;
MSW_API msw_status msw_admm_mask_weights(msw_admm *admm, uint32_t layer) MSW_NODISCARD;

/* Or libmsw runs the loop, in either phase, and asks the host for loss and gradient. */

/**
 * Run up to @p iterations mini-batches: ADMM before msw_admm_freeze(), masked
 * retraining after it. @p host need only live until the call returns.
 * msw_admm_stop_reason() says why a run ended; a later run goes on. Slots of the
 * built-in optimiser are kept between runs and projected by msw_admm_freeze().
 * MSW_E_HOST: a callback returned < 0. MSW_E_DIVERGED: the guard stopped it; with
 * rollback the weights are those of the last update.
 */
MSW_API msw_status msw_admm_run(msw_admm *admm, const msw_host *host,
                                uint64_t iterations) MSW_NODISCARD;

/** Ask a running solver to stop after its current mini-batch; without a run in
 * progress the next one ends at once. Thread-safety: safe, also in signal handlers. */
MSW_API void msw_admm_stop(msw_admm *admm);

/**
 * A frozen layer in unified-block form, as files, msw_gemm and msw_conv take it;
 * a block whose trained magnitude became negative has its signs flipped. The
 * result holds its own data and retains the plan, not the solver. MSW_E_STATE
 * before msw_admm_freeze(); MSW_E_INVAL for a parameter without a plan.
 */
MSW_API msw_status msw_admm_unify(msw_unified **out, const msw_admm *admm,
                                  uint32_t layer) MSW_NODISCARD;

/* Interrupted and resumed, a training ends with the same bits: save now and then, load
 * after starting anew, and go on. */

/**
 * Add the whole state to @p writer: weights, Z, U, rho, ratios, importance, structure,
 * slots of the built-in optimiser, counters. The host adds what else it goes on from
 * (its place in the data, its random numbers, slots of its own optimiser) as metadata
 * and tensors under names of its own, not beginning with "msw.", and saves the writer:
 * one file, replaced atomically. All is copied: while the writer lives it needs as
 * much memory again. Also inside progress. After a failure free the writer.
 * MSW_E_EXISTS: the writer has a solver's state already.
 */
MSW_API msw_status msw_admm_save(msw_writer *writer, const msw_admm *admm) MSW_NODISCARD;
/**
 * Bring the solver, and the weights in the host's tensors, to the state in a file that
 * msw_admm_save() wrote for a solver of the same layers (names, shapes, plans,
 * exclusions, projections) and optimiser. Options other than the learning rate are those
 * the solver was made with; for the same bits make it with the same. MSW_E_NOTFOUND: no
 * state in the file; MSW_E_INVAL: that of another solver; MSW_E_CORRUPT: it is not as
 * msw_admm_save() writes it. Solver and weights are then as they were.
 */
MSW_API msw_status msw_admm_load(msw_admm *admm, msw_reader *reader) MSW_NODISCARD;

/** Write the layer's Z to @p z: evaluate the projected network while training.
 * Before the first penalty or update, when frozen, or without a plan: the weights. */
MSW_API msw_status msw_admm_get_z(msw_tensor *z, const msw_admm *admm,
                                  uint32_t layer) MSW_NODISCARD;
MSW_API msw_status msw_admm_get_memory(msw_admm_memory *out,
                                       const msw_admm *admm) MSW_NODISCARD;

/* The three setters; @p layer may be MSW_ALL_LAYERS. */
/** Of the built-in optimiser; > 0. */
MSW_API msw_status msw_admm_set_learning_rate(msw_admm *admm, double rate) MSW_NODISCARD;
/** > 0. Keeps rho * U: U is scaled by old / new. The schedule goes on from here. */
MSW_API msw_status msw_admm_set_rho(msw_admm *admm, uint32_t layer,
                                    double rho) MSW_NODISCARD;
/** Taken up by the next update, or by freezing. Excluded classes stay at 0. When
 * frozen: MSW_E_STATE. MSW_E_INVAL: a layer with a quadtree, which MSW_ALL_LAYERS leaves
 * out. */
MSW_API msw_status msw_admm_set_ratios(msw_admm *admm, uint32_t layer, double prune,
                                       double unify) MSW_NODISCARD;

MSW_API msw_phase msw_admm_phase(const msw_admm *admm);
MSW_API uint32_t msw_admm_layer_count(const msw_admm *admm);
/** NULL: no such layer. Lives as long as the solver. */
MSW_API const char *msw_admm_layer_name(const msw_admm *admm, uint32_t layer);
/**
 * To compare solvers, such as those of ranks, without sending their weights: of the bits
 * of all weights and, for layers with a plan, of Z and U, or when frozen of the classes,
 * signs and merge levels. 64-bit FNV-1a over 32-bit words (h = (h ^ word) * 0x100000001b3, from
 * 0xcbf29ce484222325); no protection against forgery. MSW_E_STATE inside callbacks other
 * than progress.
 */
MSW_API msw_status msw_admm_hash(uint64_t *out, const msw_admm *admm) MSW_NODISCARD;
/** Updates done. */
MSW_API uint32_t msw_admm_updates(const msw_admm *admm);
MSW_API double msw_admm_learning_rate(const msw_admm *admm);
MSW_API double msw_admm_rho(const msw_admm *admm, uint32_t layer);
/** ||W - Z|| / ||W|| or ||Z - previous Z|| / ||W|| at the last update; NaN when none. */
MSW_API double msw_admm_residual(const msw_admm *admm, uint32_t layer, msw_residual kind);
/** The layer's plan; NULL when unconstrained. Owned by the solver: msw_plan_ref()
 * to keep it. */
MSW_API msw_plan *msw_admm_plan(const msw_admm *admm, uint32_t layer);
MSW_API msw_stop_reason msw_admm_stop_reason(const msw_admm *admm);
/** Last non-zero value a callback returned; 0: none. */
MSW_API int msw_admm_host_code(const msw_admm *admm);
/** Detail of the last failing call; "" when none. Valid until the next call. */
MSW_API const char *msw_admm_error(const msw_admm *admm);

#ifdef __cplusplus
}
#endif
#endif /* MSW_ADMM_H */
