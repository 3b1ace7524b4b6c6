/* SPDX-License-Identifier: BSD-2-Clause */
/* Saving a solver's state. */
#include "checkpoint.h"

#include "bytes.h"
#include "crc32c.h"

#include <stdio.h>

const char *const msw__slot_parts[MSW__SLOTS] = {"slot0", "slot1"};

void msw__checkpoint_name(char name[MSW__CHECKPOINT_NAME], uint32_t layer, const char *part)
{
    snprintf(name, MSW__CHECKPOINT_NAME, MSW__CHECKPOINT_KEY ".%lu%s%s", (unsigned long)layer,
             part ? "." : "", part ? part : "");
}

uint32_t msw__layer_parts(const msw__layer *l)
{
    uint32_t parts = 0;

    parts |= l->plan ? MSW__PART_PLAN : 0;
    parts |= l->d ? MSW__PART_STATE : 0;
    parts |= l->frozen ? MSW__PART_FROZEN : 0;
    parts |= l->importance ? MSW__PART_IMPORTANCE : 0;
    parts |= l->per_row ? MSW__PART_ROWS : 0;
    parts |= l->squares ? MSW__PART_SQUARES : 0;
    parts |= l->z ? MSW__PART_Z : 0;
    parts |= l->z && l->project ? MSW__PART_OWN : 0;
    parts |= l->latent ? MSW__PART_LATENT : 0;
    parts |= l->merging ? MSW__PART_LEVELS : 0;
    parts |= l->rollback ? MSW__PART_ROLLBACK : 0;
    for (uint32_t k = 0; k < MSW__SLOTS; k++)
        parts |= l->slots[k] ? (uint32_t)MSW__PART_SLOT << k : 0;
    return parts;
}

static uint32_t add_permutation(uint32_t crc, const uint32_t *permutation, size_t count)
{
    uint8_t bytes[4];

    msw__store32(bytes, permutation != NULL);
    crc = msw__crc32c(crc, bytes, sizeof bytes);
    for (size_t i = 0; permutation && i < count; i++) {
        msw__store32(bytes, permutation[i]);
        crc = msw__crc32c(crc, bytes, sizeof bytes);
    }
    return crc;
}

uint32_t msw__plan_sum(const msw_plan *p)
{
    const uint32_t fields[] = {p->rank, p->weights, p->reduction, p->block_rows,
                               p->block_columns, p->groups};
    uint8_t bytes[sizeof fields + MSW_MAX_RANK * 8];
    uint32_t crc;

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        msw__store32(bytes + 4 * i, fields[i]);
    for (size_t i = 0; i < MSW_MAX_RANK; i++)
        msw__store64(bytes + sizeof fields + 8 * i, i < p->rank ? p->shape[i] : 1);
    crc = msw__crc32c(0, bytes, sizeof bytes);
    crc = add_permutation(crc, p->row_permutation, p->rows);
    return add_permutation(crc, p->column_permutation, p->columns);
}

/* Records */

/* The version that everything in it came with. */
static uint32_t version_of(const msw_admm *admm)
{
    uint32_t version = admm->budget.target > 0 ? 2 : 1;

    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const uint32_t parts = msw__layer_parts(&admm->layers[i]);

        if (parts & (MSW__PART_LATENT | MSW__PART_LEVELS))
            return 4;
        if (parts & MSW__PART_Z)
            version = 3;
        else if (version < 2 && parts & (MSW__PART_SQUARES | MSW__PART_ROWS))
            version = 2;
    }
    return version;
}

static msw_status add_solver(msw_writer *writer, const msw_admm *admm)
{
    uint8_t bytes[MSW__CHECKPOINT_BYTES];

    msw__store32(bytes, version_of(admm));
    msw__store32(bytes + 4, (uint32_t)admm->phase);
    msw__store32(bytes + 8, admm->begun);
    msw__store32(bytes + 12, admm->layer_count);
    msw__store32(bytes + 16, admm->options.optimiser);
    msw__store32(bytes + 20, admm->updates);
    msw__store64(bytes + 24, admm->since);
    msw__store64(bytes + 32, admm->steps);
    msw__store64(bytes + 40, msw__double_bits(admm->loss_sum));
    msw__store64(bytes + 48, msw__double_bits(admm->first_loss));
    msw__store64(bytes + 56, msw__double_bits(admm->options.learning_rate));
    return msw_writer_add_metadata(writer, MSW__CHECKPOINT_KEY, bytes, sizeof bytes);
}

static void encode_budget(uint8_t *bytes, const msw_admm *admm)
{
    const msw__admm_budget *b = &admm->budget;
    const double of_all[] = {b->target, b->info.target, b->info.amount, b->info.price,
                             b->info.distance, b->info.all_free, b->options.rest};

    msw__store32(bytes, b->options.resource);
    msw__store32(bytes + 4, b->options.scale);
    for (size_t i = 0; i < sizeof of_all / sizeof *of_all; i++)
        msw__store64(bytes + 8 + 8 * i, msw__double_bits(of_all[i]));
    bytes += MSW__CHECKPOINT_BUDGET_BYTES;
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer_budget *l = &admm->layers[i].budget;

        msw__store64(bytes, msw__double_bits(l->factor));
        msw__store64(bytes + 8, msw__double_bits(l->fixed));
        for (size_t k = 0; k < MSW__BLOCK_KINDS * MSW__CLASSES; k++)
            msw__store64(bytes + 16 + 8 * k,
                         msw__double_bits(l->amount[k / MSW__CLASSES][k % MSW__CLASSES]));
        bytes += MSW__CHECKPOINT_BUDGET_LAYER;
    }
}

static msw_status add_budget(msw_writer *writer, const msw_admm *admm)
{
    const size_t size = MSW__CHECKPOINT_BUDGET_BYTES +
                        (size_t)admm->layer_count * MSW__CHECKPOINT_BUDGET_LAYER;
    msw_status status;
    void *bytes;

    if (!admm->budget.target)
        return MSW_OK;
    status = msw__alloc(&bytes, admm->ctx, size, 1);
    if (status)
        return status;
    encode_budget(bytes, admm);
    status = msw_writer_add_metadata(writer, MSW__CHECKPOINT_BUDGET, bytes, size);
    msw__free(admm->ctx, bytes, size, 1);
    return status;
}

static void encode_layer(uint8_t *bytes, const msw__layer *l)
{
    msw__store32(bytes, msw__layer_parts(l));
    msw__store32(bytes + 4, l->exclude);
    msw__store32(bytes + 8, l->plan ? msw__plan_sum(l->plan) : 0);
    msw__store32(bytes + 12, msw__float_bits(&l->bound));
    msw__store64(bytes + 16, msw__double_bits(l->prune));
    msw__store64(bytes + 24, msw__double_bits(l->unify));
    msw__store64(bytes + 32, msw__double_bits(l->rho));
    msw__store64(bytes + 40, msw__double_bits(l->primal));
    msw__store64(bytes + 48, msw__double_bits(l->dual));
    msw__store64(bytes + 56, strlen(l->name));
    memcpy(bytes + MSW__CHECKPOINT_LAYER_BYTES, l->name, strlen(l->name));
}

static msw_status add_record(msw_writer *writer, const msw_admm *admm, uint32_t layer)
{
    const msw__layer *l = &admm->layers[layer];
    const size_t size = MSW__CHECKPOINT_LAYER_BYTES + strlen(l->name);
    char name[MSW__CHECKPOINT_NAME];
    msw_status status;
    void *bytes;

    status = msw__alloc(&bytes, admm->ctx, size, 1);
    if (status)
        return status;
    encode_layer(bytes, l);
    msw__checkpoint_name(name, layer, NULL);
    status = msw_writer_add_metadata(writer, name, bytes, size);
    msw__free(admm->ctx, bytes, size, 1);
    return status;
}

/* Parts */

static msw_status add_tensor(msw_writer *writer, uint32_t layer, const char *part,
                             const msw_tensor *t)
{
    char name[MSW__CHECKPOINT_NAME];

    if (!t)
        return MSW_OK;
    msw__checkpoint_name(name, layer, part);
    return msw_writer_add_tensor(writer, name, t, NULL);
}

static msw_status add_bytes(msw_writer *writer, uint32_t layer, const char *part,
                            const uint8_t *bytes, size_t size)
{
    char name[MSW__CHECKPOINT_NAME];

    msw__checkpoint_name(name, layer, part);
    return msw_writer_add_metadata(writer, name, bytes, size);
}

static msw_status add_magnitudes(msw_writer *writer, const msw_admm *admm, uint32_t layer)
{
    const msw__layer *l = &admm->layers[layer];
    msw_tensor *t;
    msw_status status = msw_tensor_borrow(&t, admm->ctx, l->magnitudes,
                                          &l->plan->block_count, NULL, 1);

    if (!status)
        status = add_tensor(writer, layer, "magnitudes", t);
    msw_tensor_free(t);
    return status;
}

static msw_status add_state(msw_writer *writer, const msw_admm *admm, uint32_t layer)
{
    const msw__layer *l = &admm->layers[layer];
    msw_status status = add_tensor(writer, layer, "d", l->d);

    if (!status && l->z)
        return add_tensor(writer, layer, "z", l->z);
    if (!status)
        status = add_bytes(writer, layer, "classes", l->classes, l->plan->block_count);
    if (!status && l->levels)
        status = add_bytes(writer, layer, "levels", l->levels, l->plan->block_count);
    if (!status)
        status = add_magnitudes(writer, admm, layer);
    if (!status)
        status = add_bytes(writer, layer, "signs", l->signs, msw__sign_bytes(l->plan));
    return status;
}

static msw_status add_latent(msw_writer *writer, const msw__layer *l, uint32_t layer)
{
    const msw_status status = add_tensor(writer, layer, "latent", l->latent);

    return status ? status
                  : add_bytes(writer, layer, "classes", l->classes, l->plan->block_count);
}

static msw_status add_squares(msw_writer *writer, const msw__layer *l, uint32_t layer)
{
    uint8_t seen[8];
    msw_status status = add_tensor(writer, layer, "squares", l->squares);

    msw__store64(seen, l->seen);
    return status ? status : add_bytes(writer, layer, "seen", seen, sizeof seen);
}

static msw_status add_frozen(msw_writer *writer, const msw__layer *l, uint32_t layer)
{
    char name[MSW__CHECKPOINT_NAME];

    msw__checkpoint_name(name, layer, "frozen");
    return msw_writer_add_unified(writer, name, l->frozen, NULL);
}

static msw_status add_layer(msw_writer *writer, const msw_admm *admm, uint32_t layer)
{
    const msw__layer *l = &admm->layers[layer];
    msw_status status = add_record(writer, admm, layer);

    if (!status)
        status = add_tensor(writer, layer, "weights", l->weights);
    if (!status && l->d)
        status = add_state(writer, admm, layer);
    if (!status && l->latent)
        status = add_latent(writer, l, layer);
    if (!status && l->frozen)
        status = add_frozen(writer, l, layer);
    if (!status)
        status = add_tensor(writer, layer, "importance", l->importance);
    if (!status && l->squares)
        status = add_squares(writer, l, layer);
    if (!status)
        status = add_tensor(writer, layer, "rollback", l->rollback);
    for (uint32_t k = 0; k < MSW__SLOTS && !status; k++)
        status = add_tensor(writer, layer, msw__slot_parts[k], l->slots[k]);
    return status;
}

msw_status msw_admm_save(msw_writer *writer, const msw_admm *admm)
{
    msw_status status;

    if (!writer || !admm)
        return MSW_E_INVAL;
    if (admm->state == MSW__BUSY || admm->straight.shown)
        return MSW_E_STATE;
    status = add_solver(writer, admm);
    if (!status)
        status = add_budget(writer, admm);
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        status = add_layer(writer, admm, i);
    return status;
}
