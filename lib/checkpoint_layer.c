/* SPDX-License-Identifier: BSD-2-Clause */
/* Loading a solver's state: the record and the parts of one layer. */
#include "bytes.h"
#include "checkpoint_load.h"
#include "optimiser.h"

#include <float.h>
#include <math.h>

/* What must be there. */
static msw_status metadata(const uint8_t **out, size_t *size, const msw__loaded *in,
                           const char *name)
{
    const void *value;
    const msw_status status = msw_reader_get_metadata(&value, size, in->reader, name);

    *out = value;
    return status == MSW_E_NOTFOUND ? msw__load_corrupt(in, name) : status;
}

static msw_status tensor(msw_tensor **out, const msw__loaded *in, uint32_t layer,
                         const char *part, const size_t *shape, uint32_t rank)
{
    char name[MSW__CHECKPOINT_NAME];
    msw_status status;

    msw__checkpoint_name(name, layer, part);
    status = msw_reader_tensor(out, in->reader, name);
    if (status)
        return msw__load_failed(in, status, name);
    if ((*out)->rank == rank && !memcmp((*out)->shape, shape, rank * sizeof *shape))
        return MSW_OK;
    msw_tensor_free(*out);
    *out = NULL;
    return msw__load_corrupt(in, name);
}

/* Of the shape of the layer's weights. */
static msw_status part(msw_tensor **out, const msw__loaded *in, uint32_t layer,
                       const char *name)
{
    const msw_tensor *w = in->admm->layers[layer].weights;

    return tensor(out, in, layer, name, w->shape, w->rank);
}

/* A layer's record */

static bool same_name(const char *name, const uint8_t *bytes, size_t size)
{
    return strlen(name) == size && !memcmp(name, bytes, size);
}

/* Which parts there must be, may be, and cannot be. */
static bool parts_valid(const msw__loaded *in, uint32_t parts, bool plan)
{
    const bool latent = parts & MSW__PART_LATENT && in->version >= 4;
    const uint32_t begun = latent ? MSW__PART_LATENT : MSW__PART_STATE;
    const uint32_t phase = in->phase == MSW_PHASE_FROZEN ? MSW__PART_FROZEN
                           : in->begun                   ? begun
                                                         : 0;
    const uint32_t must = plan ? MSW__PART_PLAN | phase : 0;
    uint32_t may = must | MSW__PART_ROLLBACK | MSW__PART_ROWS;

    if (plan && in->phase == MSW_PHASE_ADMM)
        may |= MSW__PART_IMPORTANCE;
    if (plan && in->begun && in->phase == MSW_PHASE_ADMM && in->version >= 2 && !latent)
        may |= MSW__PART_SQUARES;
    if (plan && in->begun && in->phase == MSW_PHASE_ADMM && in->version >= 3 && !latent)
        may |= MSW__PART_Z | MSW__PART_OWN;
    if (plan && in->version >= 4)
        may |= MSW__PART_LEVELS;
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
static msw_status check_form(const msw__loaded *in, const msw__layer *is, uint32_t parts)
{
    const bool own = parts & MSW__PART_OWN, dense = parts & MSW__PART_Z;
    const bool latent = parts & MSW__PART_LATENT;

    if (!(parts & MSW__PART_STATE) && !dense && !own && !latent)
        return MSW_OK;
    if (latent != (in->admm->options.relaxation == MSW_RELAXATION_STRAIGHT))
        return msw__load_other(in, "another relaxation");
    if (own != !!is->project)
        return msw__admm_fail(in->admm, MSW_E_INVAL, own
                              ? "\"%s\" has a projection of the host's own: "
                                "msw_admm_set_projection() before loading"
                              : "the state of another solver: \"%s\" without a projection "
                                "of the host's own", is->name);
    return dense == msw__layer_dense(is) ? MSW_OK
                                         : msw__load_other(in, "another relaxation");
}

static msw_status read_record(uint32_t *parts, const msw__loaded *in, uint32_t layer)
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
        return msw__load_corrupt(in, name);
    *parts = msw__load32(bytes);
    if (!same_name(is->name, bytes + MSW__CHECKPOINT_LAYER_BYTES,
                   size - MSW__CHECKPOINT_LAYER_BYTES) ||
        msw__load32(bytes + 4) != is->exclude ||
        !(*parts & MSW__PART_PLAN) != !is->plan ||
        !(*parts & MSW__PART_ROWS) != !is->per_row ||
        !(*parts & MSW__PART_LEVELS) != !is->merging ||
        (is->plan && !find_plan(l, is, msw__load32(bytes + 8))))
        return msw__load_other(in, is->name);
    l->exclude = is->exclude;
    l->per_row = is->per_row;
    l->merging = is->merging;
    l->quadtree = is->quadtree;
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
        return msw__load_corrupt(in, name);
    return check_form(in, is, *parts);
}

/* Its parts */

/* Bytes that metadata has exactly. */
static msw_status read_bytes(uint8_t *out, size_t size, const msw__loaded *in,
                             uint32_t layer, const char *part_name)
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
        return msw__load_corrupt(in, name);
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

static bool classes_valid(const msw__layer *l)
{
    for (size_t b = 0; b < l->plan->block_count; b++)
        if (l->classes[b] > MSW_CLASS_UNIFIED)
            return false;
    return true;
}

/* Nodes of the layer's levels, each with one magnitude. */
static bool nodes_valid(const msw__layer *l)
{
    const size_t columns = l->plan->block_column_count;
    unsigned most;

    if (!msw__merge_valid(&most, l->plan, l->classes, l->levels) ||
        most > l->quadtree.levels)
        return false;
    for (size_t b = 0; b < l->plan->block_count; b++) {
        const msw__node n = msw__node_at(l->plan, b / columns, b % columns, l->levels[b]);

        if (l->magnitudes[b] != l->magnitudes[n.row * columns + n.column])
            return false;
    }
    return true;
}

static bool state_valid(const msw__layer *l)
{
    if (l->z)
        return floats_within(l->z->data, l->z->count, -l->bound, l->bound) &&
               floats_within(l->d->data, l->d->count, -l->bound, l->bound);
    return classes_valid(l) && (!l->levels || nodes_valid(l)) &&
           floats_within(l->magnitudes, l->plan->block_count, 0, l->bound) &&
           floats_within(l->d->data, l->d->count, -l->bound, l->bound);
}

static msw_status read_dense_state(msw__loaded *in, uint32_t layer)
{
    msw__layer *l = &in->layers[layer];
    msw_status status = part(&l->d, in, layer, "d");

    if (!status)
        status = part(&l->z, in, layer, "z");
    if (status)
        return status;
    return state_valid(l) ? MSW_OK : msw__load_corrupt(in, "Z or D out of range");
}

static msw_status read_state(msw__loaded *in, uint32_t layer)
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
    if (!status && l->levels)
        status = read_bytes(l->levels, blocks, in, layer, "levels");
    if (status)
        return status;
    status = tensor(&magnitudes, in, layer, "magnitudes", &blocks, 1);
    if (status)
        return status;
    memcpy(l->magnitudes, magnitudes->data, blocks * sizeof *l->magnitudes);
    msw_tensor_free(magnitudes);
    return state_valid(l)
               ? MSW_OK
               : msw__load_corrupt(in, "classes, magnitudes or D out of range");
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
static msw_status read_frozen(msw__loaded *in, uint32_t layer)
{
    msw__layer *l = &in->layers[layer];
    const size_t rows = l->plan->block_row_count;
    char name[MSW__CHECKPOINT_NAME];
    msw_unified *u;
    msw_status status;

    msw__checkpoint_name(name, layer, "frozen");
    status = msw_reader_unified(&u, in->reader, name);
    if (status)
        return msw__load_failed(in, status, name);
    if (!plans_equal(u->plan, l->plan) || u->most_level > l->quadtree.levels)
        status = msw__load_corrupt(in, name);
    if (!status)
        status = msw__unified_alloc(&l->frozen, l->plan, u->classes, u->levels);
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

static msw_status read_latent(msw__loaded *in, uint32_t layer)
{
    msw__layer *l = &in->layers[layer];
    msw_status status = part(&l->latent, in, layer, "latent");
    void *memory;

    if (status)
        return status;
    status = msw__alloc(&memory, in->admm->ctx, l->plan->block_count, 1);
    l->classes = memory;
    if (!status)
        status = read_bytes(l->classes, l->plan->block_count, in, layer, "classes");
    if (status)
        return status;
    return classes_valid(l) && msw__tensor_finite(l->latent)
               ? MSW_OK
               : msw__load_corrupt(in, "classes or latent weights out of range");
}

static msw_status read_importance(msw__loaded *in, uint32_t layer)
{
    msw__layer *l = &in->layers[layer];
    const msw_status status = part(&l->importance, in, layer, "importance");

    if (status)
        return status;
    return floats_within(l->importance->data, l->importance->count, MSW__IMPORTANCE_FLOOR,
                         FLT_MAX)
               ? MSW_OK
               : msw__load_corrupt(in, "importance out of range");
}

static msw_status read_squares(msw__loaded *in, uint32_t layer)
{
    msw__layer *l = &in->layers[layer];
    uint8_t seen[8] = {0};
    msw_status status;

    if (!in->admm->options.importance_memory)
        return msw__load_other(in, "one that collects importance");
    status = part(&l->squares, in, layer, "squares");
    if (!status)
        status = read_bytes(seen, sizeof seen, in, layer, "seen");
    if (status)
        return status;
    l->seen = msw__load64(seen);
    return floats_within(l->squares->data, l->squares->count, 0, FLT_MAX)
               ? MSW_OK
               : msw__load_corrupt(in, "squares out of range");
}

msw_status msw__load_layer(msw__loaded *in, uint32_t layer)
{
    msw__layer *l = &in->layers[layer];
    msw_status status;
    uint32_t parts = 0;

    status = read_record(&parts, in, layer);
    if (!status)
        status = part(&l->weights, in, layer, "weights");
    if (!status && parts & MSW__PART_STATE)
        status = parts & MSW__PART_Z ? read_dense_state(in, layer) : read_state(in, layer);
    if (!status && parts & MSW__PART_LATENT)
        status = read_latent(in, layer);
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
