/* SPDX-License-Identifier: BSD-2-Clause */
/* Loading a solver's state: all of it is read and checked beside the one that is there,
 * then both are exchanged. */
#include "checkpoint.h"
#include "elements.h"
#include "optimiser.h"

#include "bytes.h"

#include <float.h>
#include <math.h>

/* What is read. The layers hold the solver's plans, but weights of their own. */
typedef struct loaded {
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
} loaded;

static msw_status corrupt(const loaded *in, const char *what)
{
    return msw__admm_fail(in->admm, MSW_E_CORRUPT, "solver state: %s", what);
}

static msw_status other(const loaded *in, const char *what)
{
    return msw__admm_fail(in->admm, MSW_E_INVAL, "the state of another solver: %s", what);
}

/* What must be there. */
static msw_status metadata(const uint8_t **out, size_t *size, const loaded *in,
                           const char *name)
{
    const void *value;
    const msw_status status = msw_reader_get_metadata(&value, size, in->reader, name);

    *out = value;
    return status == MSW_E_NOTFOUND ? corrupt(in, name) : status;
}

static msw_status failed_to_read(const loaded *in, msw_status status, const char *name)
{
    if (status == MSW_E_NOTFOUND || status == MSW_E_INVAL)
        return corrupt(in, name);
    return msw__admm_fail(in->admm, status, "%s", msw_reader_error(in->reader));
}

static msw_status tensor(msw_tensor **out, const loaded *in, uint32_t layer,
                         const char *part, const size_t *shape, uint32_t rank)
{
    char name[MSW__CHECKPOINT_NAME];
    msw_status status;

    msw__checkpoint_name(name, layer, part);
    status = msw_reader_tensor(out, in->reader, name);
    if (status)
        return failed_to_read(in, status, name);
    if ((*out)->rank == rank && !memcmp((*out)->shape, shape, rank * sizeof *shape))
        return MSW_OK;
    msw_tensor_free(*out);
    *out = NULL;
    return corrupt(in, name);
}

/* Of the shape of the layer's weights. */
static msw_status part(msw_tensor **out, const loaded *in, uint32_t layer, const char *name)
{
    const msw_tensor *w = in->admm->layers[layer].weights;

    return tensor(out, in, layer, name, w->shape, w->rank);
}

/* The solver */

static bool none_or_finite(double x)
{
    return isnan(x) || isfinite(x);
}

static bool solver_valid(const loaded *in)
{
    return (in->begun || in->phase == MSW_PHASE_ADMM) && in->updates < UINT32_MAX &&
           in->since <= SIZE_MAX && isfinite(in->loss_sum) &&
           none_or_finite(in->first_loss) && msw__positive(in->learning_rate);
}

static msw_status read_solver(loaded *in)
{
    const uint8_t *bytes;
    const void *value;
    size_t size;
    msw_status status = msw_reader_get_metadata(&value, &size, in->reader,
                                                MSW__CHECKPOINT_KEY);

    if (status)
        return msw__admm_fail(in->admm, status, "no solver state in the file");
    bytes = value;
    if (size < 4 || msw__load32(bytes) == 0)
        return corrupt(in, "version");
    in->version = msw__load32(bytes);
    if (in->version > MSW__CHECKPOINT_VERSION)
        return msw__admm_fail(in->admm, MSW_E_UNSUPPORTED, "solver state of version %lu",
                              (unsigned long)msw__load32(bytes));
    if (size != MSW__CHECKPOINT_BYTES || msw__load32(bytes + 4) > MSW_PHASE_FROZEN ||
        msw__load32(bytes + 8) > 1)
        return corrupt(in, "header");
    in->phase = (msw_phase)msw__load32(bytes + 4);
    in->begun = msw__load32(bytes + 8);
    in->updates = msw__load32(bytes + 20);
    in->since = msw__load64(bytes + 24);
    in->steps = msw__load64(bytes + 32);
    in->loss_sum = msw__double_of(msw__load64(bytes + 40));
    in->first_loss = msw__double_of(msw__load64(bytes + 48));
    in->learning_rate = msw__double_of(msw__load64(bytes + 56));
    if (!solver_valid(in))
        return corrupt(in, "counters");
    if (msw__load32(bytes + 12) != in->admm->layer_count)
        return other(in, "another number of layers");
    if (msw__load32(bytes + 16) != in->admm->options.optimiser)
        return other(in, "another optimiser");
    if (in->begun && in->phase == MSW_PHASE_ADMM &&
        in->admm->options.relaxation == MSW_RELAXATION_SOFT)
        return other(in, "another relaxation");
    return MSW_OK;
}

/* The budget */

static bool amount_valid(double x)
{
    return x >= 0 && isfinite(x);
}

static bool read_layer_budget(msw__layer_budget *l, const uint8_t *bytes)
{
    bool valid;

    l->factor = msw__double_of(msw__load64(bytes));
    l->fixed = msw__double_of(msw__load64(bytes + 8));
    valid = l->factor > 0 && isfinite(l->factor) && amount_valid(l->fixed);
    for (size_t k = 0; k < MSW__BLOCK_KINDS * MSW__CLASSES; k++) {
        const double amount = msw__double_of(msw__load64(bytes + 16 + 8 * k));

        l->amount[k / MSW__CLASSES][k % MSW__CLASSES] = amount;
        valid = valid && amount_valid(amount);
    }
    return valid;
}

static msw_status read_budget(loaded *in)
{
    msw__admm_budget *b = &in->budget;
    double *const of_all[] = {&b->target, &b->info.target, &b->info.amount, &b->info.price,
                              &b->info.distance, &b->info.all_free, &b->options.rest};
    const uint8_t *bytes;
    const void *value;
    msw_status status;
    size_t size;
    bool valid = true;

    *b = in->admm->budget;
    status = msw_reader_get_metadata(&value, &size, in->reader, MSW__CHECKPOINT_BUDGET);
    if (status && status != MSW_E_NOTFOUND)
        return failed_to_read(in, status, MSW__CHECKPOINT_BUDGET);
    if (!status != !!b->target)
        return other(in, "with a budget or without");
    if (status)
        return MSW_OK;
    if (in->version < 2 ||
        size != MSW__CHECKPOINT_BUDGET_BYTES +
                    (size_t)in->admm->layer_count * MSW__CHECKPOINT_BUDGET_LAYER)
        return corrupt(in, MSW__CHECKPOINT_BUDGET);
    bytes = value;
    if (msw__load32(bytes) != b->options.resource ||
        msw__load32(bytes + 4) != b->options.scale)
        return other(in, "another kind of budget");
    for (size_t i = 0; i < sizeof of_all / sizeof *of_all; i++) {
        *of_all[i] = msw__double_of(msw__load64(bytes + 8 + 8 * i));
        valid = valid && amount_valid(*of_all[i]);
    }
    bytes += MSW__CHECKPOINT_BUDGET_BYTES;
    for (uint32_t i = 0; i < in->admm->layer_count; i++) {
        valid = read_layer_budget(&in->layers[i].budget, bytes) && valid;
        bytes += MSW__CHECKPOINT_BUDGET_LAYER;
    }
    return valid && b->target > 0 ? MSW_OK : corrupt(in, MSW__CHECKPOINT_BUDGET);
}

/* A layer's record */

static bool same_name(const char *name, const uint8_t *bytes, size_t size)
{
    return strlen(name) == size && !memcmp(name, bytes, size);
}

/* Which parts there must be, may be, and cannot be. */
static bool parts_valid(const loaded *in, uint32_t parts, bool plan)
{
    const uint32_t phase = in->phase == MSW_PHASE_FROZEN ? MSW__PART_FROZEN
                           : in->begun                   ? MSW__PART_STATE
                                                         : 0;
    const uint32_t must = plan ? MSW__PART_PLAN | phase : 0;
    uint32_t may = must | MSW__PART_ROLLBACK | MSW__PART_ROWS;

    if (plan && in->phase == MSW_PHASE_ADMM)
        may |= MSW__PART_IMPORTANCE;
    if (plan && in->begun && in->phase == MSW_PHASE_ADMM && in->version >= 2)
        may |= MSW__PART_SQUARES;
    if (plan && in->begun && in->phase == MSW_PHASE_ADMM && in->version >= 3)
        may |= MSW__PART_Z | MSW__PART_OWN;
    for (uint32_t k = 0; k < msw__optimiser_slots(&in->admm->options); k++)
        may |= (uint32_t)MSW__PART_SLOT << k;
    return (parts & must) == must && !(parts & ~may);
}

static bool residual_valid(double x)
{
    return isnan(x) || x >= 0;
}

static bool layer_valid(const msw__layer *l)
{
    return msw__shares_valid(l->prune, l->unify) &&
           (l->plan ? msw__rho_valid(l->rho) : isnan(l->rho)) &&
           residual_valid(l->primal) && residual_valid(l->dual) && l->bound >= 0 &&
           isfinite(l->bound);
}

/* The plan of this sum among those that the layer has or may be given. */
static bool find_plan(msw__layer *l, const msw__layer *is, uint32_t sum)
{
    if (msw__plan_sum(is->plan) == sum)
        return true;
    for (uint32_t i = 0; i < is->plan_count; i++)
        if (msw__plan_sum(is->plans[i]) == sum) {
            msw_plan_free(l->plan);
            l->plan = msw_plan_ref(is->plans[i]);
            return true;
        }
    return false;
}

/* Z as this solver keeps it. */
static msw_status check_form(const loaded *in, const msw__layer *is, uint32_t parts)
{
    const bool own = parts & MSW__PART_OWN, dense = parts & MSW__PART_Z;

    if (!(parts & MSW__PART_STATE) && !dense && !own)
        return MSW_OK;
    if (own != !!is->project)
        return msw__admm_fail(in->admm, MSW_E_INVAL, own
                              ? "\"%s\" has a projection of the host's own: "
                                "msw_admm_set_projection() before loading"
                              : "the state of another solver: \"%s\" without a projection "
                                "of the host's own", is->name);
    return dense == msw__layer_dense(is) ? MSW_OK : other(in, "another relaxation");
}

static msw_status read_record(uint32_t *parts, const loaded *in, uint32_t layer)
{
    const msw__layer *is = &in->admm->layers[layer];
    msw__layer *l = &in->layers[layer];
    char name[MSW__CHECKPOINT_NAME];
    const uint8_t *bytes;
    msw_status status;
    size_t size;

    msw__checkpoint_name(name, layer, NULL);
    status = metadata(&bytes, &size, in, name);
    if (status)
        return status;
    if (size < MSW__CHECKPOINT_LAYER_BYTES ||
        msw__load64(bytes + 56) != size - MSW__CHECKPOINT_LAYER_BYTES)
        return corrupt(in, name);
    *parts = msw__load32(bytes);
    if (!same_name(is->name, bytes + MSW__CHECKPOINT_LAYER_BYTES,
                   size - MSW__CHECKPOINT_LAYER_BYTES) ||
        msw__load32(bytes + 4) != is->exclude ||
        !(*parts & MSW__PART_PLAN) != !is->plan ||
        !(*parts & MSW__PART_ROWS) != !is->per_row ||
        (is->plan && !find_plan(l, is, msw__load32(bytes + 8))))
        return other(in, is->name);
    l->exclude = is->exclude;
    l->per_row = is->per_row;
    msw__float_set(&l->bound, msw__load32(bytes + 12));
    l->prune = msw__double_of(msw__load64(bytes + 16));
    l->unify = msw__double_of(msw__load64(bytes + 24));
    l->rho = msw__double_of(msw__load64(bytes + 32));
    l->primal = msw__double_of(msw__load64(bytes + 40));
    l->dual = msw__double_of(msw__load64(bytes + 48));
    l->envelope = is->envelope;
    l->project = is->project;
    l->project_user = is->project_user;
    if (!parts_valid(in, *parts, is->plan) || !layer_valid(l))
        return corrupt(in, name);
    return check_form(in, is, *parts);
}

/* Its parts */

/* Bytes that metadata has exactly. */
static msw_status read_bytes(uint8_t *out, size_t size, const loaded *in, uint32_t layer,
                             const char *part_name)
{
    char name[MSW__CHECKPOINT_NAME];
    const uint8_t *bytes;
    msw_status status;
    size_t got;

    msw__checkpoint_name(name, layer, part_name);
    status = metadata(&bytes, &got, in, name);
    if (status)
        return status;
    if (got != size)
        return corrupt(in, name);
    memcpy(out, bytes, size);
    return MSW_OK;
}

static bool floats_within(const float *x, size_t count, float least, float most)
{
    for (size_t i = 0; i < count; i++)
        if (!(x[i] >= least && x[i] <= most))
            return false;
    return true;
}

static bool state_valid(const msw__layer *l)
{
    if (l->z)
        return floats_within(l->z->data, l->z->count, -l->bound, l->bound) &&
               floats_within(l->d->data, l->d->count, -l->bound, l->bound);
    for (size_t b = 0; b < l->plan->block_count; b++)
        if (l->classes[b] > MSW_CLASS_UNIFIED)
            return false;
    return floats_within(l->magnitudes, l->plan->block_count, 0, l->bound) &&
           floats_within(l->d->data, l->d->count, -l->bound, l->bound);
}

static msw_status read_dense_state(loaded *in, uint32_t layer)
{
    msw__layer *l = &in->layers[layer];
    msw_status status = part(&l->d, in, layer, "d");

    if (!status)
        status = part(&l->z, in, layer, "z");
    if (status)
        return status;
    return state_valid(l) ? MSW_OK : corrupt(in, "Z or D out of range");
}

static msw_status read_state(loaded *in, uint32_t layer)
{
    msw__layer *l = &in->layers[layer];
    const size_t blocks = l->plan->block_count;
    msw_tensor *d, *magnitudes;
    msw_status status = part(&d, in, layer, "d");

    if (status)
        return status;
    status = msw__layer_allocate_state(in->admm, l);
    msw_tensor_free(l->d);
    l->d = d;
    if (!status)
        status = read_bytes(l->classes, blocks, in, layer, "classes");
    if (!status)
        status = read_bytes(l->signs, msw__sign_bytes(l->plan), in, layer, "signs");
    if (status)
        return status;
    status = tensor(&magnitudes, in, layer, "magnitudes", &blocks, 1);
    if (status)
        return status;
    memcpy(l->magnitudes, magnitudes->data, blocks * sizeof *l->magnitudes);
    msw_tensor_free(magnitudes);
    return state_valid(l) ? MSW_OK : corrupt(in, "classes, magnitudes or D out of range");
}

static bool permutations_equal(const uint32_t *a, const uint32_t *b, size_t count)
{
    if (!a || !b)
        return a == b;
    return memcmp(a, b, count * sizeof *a) == 0;
}

/* Exactly: the file may be made so that sums over plans collide. */
static bool plans_equal(const msw_plan *a, const msw_plan *b)
{
    if (a->rank != b->rank || a->weights != b->weights || a->reduction != b->reduction ||
        a->block_rows != b->block_rows || a->block_columns != b->block_columns ||
        a->groups != b->groups)
        return false;
    return memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0 &&
           permutations_equal(a->row_permutation, b->row_permutation, a->rows) &&
           permutations_equal(a->column_permutation, b->column_permutation, a->columns);
}

/* An array without elements may be NULL, which memcpy() does not take. */
static void copy_bytes(void *to, const void *from, size_t size)
{
    if (size)
        memcpy(to, from, size);
}

/* Into a handle on the layer's own plan, which the file's must equal. */
static msw_status read_frozen(loaded *in, uint32_t layer)
{
    msw__layer *l = &in->layers[layer];
    const size_t rows = l->plan->block_row_count;
    char name[MSW__CHECKPOINT_NAME];
    msw_unified *u;
    msw_status status;

    msw__checkpoint_name(name, layer, "frozen");
    status = msw_reader_unified(&u, in->reader, name);
    if (status)
        return failed_to_read(in, status, name);
    if (!plans_equal(u->plan, l->plan))
        status = corrupt(in, name);
    if (!status)
        status = msw__unified_alloc(&l->frozen, l->plan, u->classes);
    if (!status) {
        copy_bytes(l->frozen->magnitudes, u->magnitudes,
                   u->magnitude_start[rows] * sizeof *u->magnitudes);
        copy_bytes(l->frozen->signs, u->signs, (u->sign_start[rows] + 7) / 8);
        copy_bytes(l->frozen->free_weights, u->free_weights,
                   u->free_start[rows] * sizeof *u->free_weights);
    }
    msw_unified_free(u);
    return status;
}

static msw_status read_importance(loaded *in, uint32_t layer)
{
    msw__layer *l = &in->layers[layer];
    const msw_status status = part(&l->importance, in, layer, "importance");

    if (status)
        return status;
    return floats_within(l->importance->data, l->importance->count, MSW__IMPORTANCE_FLOOR,
                         FLT_MAX)
               ? MSW_OK
               : corrupt(in, "importance out of range");
}

static msw_status read_squares(loaded *in, uint32_t layer)
{
    msw__layer *l = &in->layers[layer];
    uint8_t seen[8];
    msw_status status;

    if (!in->admm->options.importance_memory)
        return other(in, "one that collects importance");
    status = part(&l->squares, in, layer, "squares");
    if (!status)
        status = read_bytes(seen, sizeof seen, in, layer, "seen");
    if (status)
        return status;
    l->seen = msw__load64(seen);
    return floats_within(l->squares->data, l->squares->count, 0, FLT_MAX)
               ? MSW_OK
               : corrupt(in, "squares out of range");
}

static msw_status read_layer(loaded *in, uint32_t layer)
{
    msw__layer *l = &in->layers[layer];
    msw_status status;
    uint32_t parts = 0;

    status = read_record(&parts, in, layer);
    if (!status)
        status = part(&l->weights, in, layer, "weights");
    if (!status && parts & MSW__PART_STATE)
        status = parts & MSW__PART_Z ? read_dense_state(in, layer) : read_state(in, layer);
    if (!status && parts & MSW__PART_FROZEN)
        status = read_frozen(in, layer);
    if (!status && parts & MSW__PART_IMPORTANCE)
        status = read_importance(in, layer);
    if (!status && parts & MSW__PART_SQUARES)
        status = read_squares(in, layer);
    if (!status && parts & MSW__PART_ROLLBACK)
        status = part(&l->rollback, in, layer, "rollback");
    for (uint32_t k = 0; k < MSW__SLOTS && !status; k++)
        if (parts & (uint32_t)MSW__PART_SLOT << k)
            status = part(&l->slots[k], in, layer, msw__slot_parts[k]);
    return status;
}

/* All */

static msw_status open_layers(loaded *in)
{
    msw_admm *admm = in->admm;
    void *memory;
    msw_status status = msw__calloc(&memory, admm->ctx, admm->layer_count,
                                    sizeof *in->layers);

    in->layers = memory;
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        in->layers[i].budget = admm->layers[i].budget;
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        if (admm->layers[i].plan)
            in->layers[i].plan = msw_plan_ref(admm->layers[i].plan);
    return status;
}

static void close_layers(loaded *in)
{
    for (uint32_t i = 0; in->layers && i < in->admm->layer_count; i++)
        msw__layer_free(in->admm, &in->layers[i]);
    msw__free(in->admm->ctx, in->layers, in->admm->layer_count, sizeof *in->layers);
}

/* The host's tensor stays, with the values that were read; name and gradient too. */
static void exchange(msw__layer *l, msw__layer *read)
{
    const msw__layer was = *l;

    msw__copy_elements(l->weights, read->weights);
    msw_tensor_free(read->weights);
    *l = *read;
    l->weights = was.weights;
    l->gradient = was.gradient;
    l->name = was.name;
    l->plans = was.plans;
    l->plan_count = was.plan_count;
    *read = was;
    read->weights = read->gradient = NULL;
    read->name = NULL;
    read->plans = NULL;
    read->plan_count = 0;
}

static void take(loaded *in)
{
    msw_admm *admm = in->admm;

    for (uint32_t i = 0; i < admm->layer_count; i++)
        exchange(&admm->layers[i], &in->layers[i]);
    admm->budget = in->budget;
    admm->phase = in->phase;
    admm->begun = in->begun;
    admm->updates = in->updates;
    admm->since = (size_t)in->since;
    admm->steps = in->steps;
    admm->loss_sum = in->loss_sum;
    admm->first_loss = in->first_loss;
    admm->options.learning_rate = in->learning_rate;
    admm->stop_reason = MSW_STOP_NONE;
    admm->host_code = 0;
}

static msw_status load(msw_admm *admm, msw_reader *reader)
{
    loaded in = {.admm = admm, .reader = reader};
    msw_status status;

    if (!reader)
        return msw__admm_fail(admm, MSW_E_INVAL, "no reader");
    status = read_solver(&in);
    if (!status)
        status = open_layers(&in);
    if (!status)
        status = read_budget(&in);
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        status = read_layer(&in, i);
    if (!status && in.begun)
        status = msw__admm_reserve_tasks(admm);
    if (!status && in.phase == MSW_PHASE_FROZEN)
        status = msw__admm_reserve_columns(admm);
    if (!status)
        take(&in);
    close_layers(&in);
    return status;
}

msw_status msw_admm_load(msw_admm *admm, msw_reader *reader)
{
    const msw_status status = msw__admm_enter(admm);

    return status ? status : msw__admm_leave(admm, load(admm, reader));
}
