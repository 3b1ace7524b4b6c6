/* SPDX-License-Identifier: BSD-2-Clause */
/* Data-parallel runs. Every decision is made of what all ranks have summed up, so that
 * all make the same and none waits for one that has left. */
#include "admm.h"
#include "bytes.h"

#include <math.h>

/* What the ranks tell each other in one sum. */
enum {
    LOSS,
    HOST_STOP,           /* a callback returned > 0 */
    ASKED_STOP,          /* msw_admm_stop() */
    FAILED = ASKED_STOP, /* + n: the status -n */
    STATUSES = 15,
    TOLD = FAILED + STATUSES + 1
};

bool msw__ranks_many(const msw_admm *admm)
{
    return admm->ranks.count > 1;
}

msw_status msw__ranks_join(msw_admm *admm, const msw_host *host)
{
    const bool many = host->rank_count > 1;

    if (many ? !host->allreduce || host->rank >= host->rank_count : host->rank > 0)
        return msw__admm_fail(admm, MSW_E_INVAL, "rank %lu of %lu%s",
                              (unsigned long)host->rank, (unsigned long)host->rank_count,
                              host->allreduce ? "" : " without allreduce");
    admm->ranks = (msw__ranks){.allreduce = host->allreduce, .user = host->user,
                               .rank = host->rank, .count = host->rank_count};
    return MSW_OK;
}

/* A wish to stop that the run did not come to is for the next one. */
void msw__ranks_leave(msw_admm *admm)
{
    if (admm->ranks.stop)
        atomic_store(&admm->stop, 1);
    admm->ranks = (msw__ranks){0};
}

static msw_status allreduce(msw_admm *admm, void *data, size_t count, msw_real type)
{
    int code;

    admm->callback_frame = MSW__FRAME();
    code = admm->ranks.allreduce(data, count, type, admm->ranks.user);
    admm->callback_frame = 0;
    if (!code)
        return MSW_OK;
    admm->host_code = code;
    return msw__admm_fail(admm, MSW_E_HOST, "allreduce returned %d", code);
}

static msw_status failure_elsewhere(msw_admm *admm, const double told[TOLD])
{
    for (int i = 1; i <= STATUSES; i++)
        if (told[FAILED + i] > 0)
            return msw__admm_fail(admm, (msw_status)-i, "on another rank: %s",
                                  msw_status_text((msw_status)-i));
    return MSW_OK;
}

msw_status msw__ranks_agree(msw_admm *admm, msw_status status, bool *stop, double *loss)
{
    double told[TOLD] = {0};
    bool asked;
    msw_status sum;

    if (!msw__ranks_many(admm))
        return status;
    asked = atomic_exchange(&admm->stop, 0);
    told[LOSS] = loss && isfinite(*loss) ? *loss : 0;
    told[HOST_STOP] = stop && *stop;
    told[ASKED_STOP] = asked;
    if (status)
        told[FAILED - (int)status] = 1;
    sum = allreduce(admm, told, TOLD, MSW_REAL_DOUBLE);
    admm->ranks.stop = admm->ranks.stop || asked || (!sum && told[ASKED_STOP] > 0);
    if (status || sum)
        return status ? status : sum;
    if (stop && told[HOST_STOP] > 0) {
        admm->stop_reason = MSW_STOP_HOST;
        *stop = true;
    }
    if (loss)
        *loss = told[LOSS] / admm->ranks.count;
    return failure_elsewhere(admm, told);
}

/* Of what decides how much the ranks exchange, and which the hash of a solver leaves out. */
static uint64_t hash_exchanges(const msw_admm *admm, uint64_t h)
{
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer *l = &admm->layers[i];

        h = msw__hash_word(h, l->plan ? (uint32_t)l->plan->block_count : 0);
        h = msw__hash_word(h, l->project != NULL);
        h = msw__hash_word(h, l->merging);
    }
    h = msw__hash_word(h, admm->options.relaxation);
    if (admm->options.relaxation == MSW_RELAXATION_STRAIGHT) { /* when classes stay */
        h = msw__hash_words(h, admm->options.updates);
        h = msw__hash_word(h, admm->straight.shown);
    }
    return msw__hash_words(h, msw__double_bits(admm->budget.target));
}

/* The sum of the hashes' halves, which are exact in double, is a multiple of each rank's
 * own when all are equal; and when they are not, one rank at least sees it. */
msw_status msw__ranks_compare(msw_admm *admm, uint64_t mark, msw_status status)
{
    double own[2], sums[2];
    uint64_t hash;
    msw_status sum;

    if (!msw__ranks_many(admm))
        return MSW_OK;
    hash = hash_exchanges(admm, msw__hash_word(msw__admm_hash(admm) + mark, 0));
    sums[0] = own[0] = (double)(hash >> 32);
    sums[1] = own[1] = (double)(hash & UINT32_MAX);
    sum = allreduce(admm, sums, 2, MSW_REAL_DOUBLE);
    if (!sum && (sums[0] != own[0] * admm->ranks.count ||
                 sums[1] != own[1] * admm->ranks.count))
        sum = msw__admm_fail(admm, status, "the ranks' weights or solvers differ");
    return msw__ranks_agree(admm, sum, NULL, NULL);
}

/* The sum with 0 would make 0 of -0. */
void msw__ranks_leave_out(msw_tensor *t)
{
    for (size_t i = 0; i < t->count; i++)
        t->data[i] = -0.0f;
}

msw_status msw__ranks_exchange(msw_admm *admm, msw_tensor *t)
{
    return msw__ranks_many(admm) ? allreduce(admm, t->data, t->count, MSW_REAL_FLOAT)
                                 : MSW_OK;
}

msw_status msw__ranks_gradients(msw_admm *admm)
{
    const float count = (float)admm->ranks.count;

    if (!msw__ranks_many(admm))
        return MSW_OK;
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw_tensor *g = admm->layers[i].gradient;
        const msw_status status = allreduce(admm, g->data, g->count, MSW_REAL_FLOAT);

        if (status)
            return status;
        for (size_t k = 0; k < g->count; k++)
            g->data[k] /= count;
    }
    return MSW_OK;
}

bool msw__ranks_stop(msw_admm *admm)
{
    const bool stop = admm->ranks.stop;

    if (!msw__ranks_many(admm))
        return atomic_exchange(&admm->stop, 0);
    admm->ranks.stop = false;
    return stop;
}

/* Shares of the layers */

/* Neighbouring layers of about equally many weights for each rank. */
bool msw__ranks_own(const msw_admm *admm, uint32_t layer)
{
    double all = 0, middle = 0, owner;

    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer *l = &admm->layers[i];
        const double count = l->plan ? (double)l->weights->count : 0;

        if (i == layer)
            middle = all + count / 2;
        all += count;
    }
    owner = floor(middle / all * admm->ranks.count);
    return owner == admm->ranks.rank;
}

/* A block's choice is one float: its magnitude, which is >= 0, when it is unified, and
 * otherwise -1 - class. Ranks that did not choose have 0 there, so that the sum is what the
 * one that did has. Where blocks may be merged, all levels follow. */

static float *choices(const msw_admm *admm, uint32_t layer)
{
    float *choice = admm->scratch.choice;

    for (uint32_t i = 0; i < layer; i++)
        if (admm->layers[i].plan && !msw__layer_dense(&admm->layers[i]))
            choice += (admm->layers[i].merging ? 2 : 1) * admm->layers[i].plan->block_count;
    return choice;
}

void msw__ranks_put_choice(msw_admm *admm, uint32_t layer)
{
    const msw__admm_scratch *s = &admm->scratch;
    float *choice = choices(admm, layer);

    for (size_t b = 0; b < admm->layers[layer].plan->block_count; b++)
        choice[b] = s->classes[b] == MSW_CLASS_UNIFIED ? s->magnitudes[b]
                                                       : (float)(-1 - s->classes[b]);
    choice += admm->layers[layer].plan->block_count;
    for (size_t b = 0; s->levels && admm->layers[layer].merging &&
                       b < admm->layers[layer].plan->block_count; b++)
        choice[b] = msw__layer_levels(admm, &admm->layers[layer])[b];
}

static msw_status no_sum(msw_admm *admm)
{
    return msw__admm_fail(admm, MSW_E_HOST, "allreduce does not sum over the ranks");
}

/* From the choices to the scratch. */
static void get_levels(const msw_admm *admm, const msw__layer *l, const float *choice)
{
    uint8_t *levels = msw__layer_levels(admm, l);

    for (size_t b = 0; b < l->plan->block_count; b++)
        levels[b] = choice[b] >= 0 && choice[b] <= MSW_MAX_MERGE_LEVELS ? (uint8_t)choice[b]
                                                                        : UINT8_MAX;
}

/* Whether what has arrived are nodes. */
static msw_status check_nodes(msw_admm *admm)
{
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer *l = &admm->layers[i];
        unsigned most;

        if (!l->plan || !l->merging)
            continue;
        msw__ranks_get_choice(admm, i);
        if (!msw__merge_valid(&most, l->plan, admm->scratch.classes + l->scratch_block,
                              msw__layer_levels(admm, l)))
            return no_sum(admm);
    }
    return MSW_OK;
}

msw_status msw__ranks_exchange_choices(msw_admm *admm)
{
    const msw__admm_scratch *s = &admm->scratch;
    msw_status status = MSW_OK;

    if (s->choice_count > 0)
        status = allreduce(admm, s->choice, s->choice_count, MSW_REAL_FLOAT);
    for (size_t b = 0; !status && b < s->choice_count; b++)
        if (!(s->choice[b] >= 0 && isfinite(s->choice[b])) &&
            s->choice[b] != -1 - MSW_CLASS_FREE && s->choice[b] != -1 - MSW_CLASS_PRUNED)
            return no_sum(admm);
    return status ? status : check_nodes(admm);
}

void msw__ranks_get_choice(msw_admm *admm, uint32_t layer)
{
    const msw__admm_scratch *s = &admm->scratch;
    const float *choice = choices(admm, layer);

    for (size_t b = 0; b < admm->layers[layer].plan->block_count; b++) {
        s->classes[b] = choice[b] >= 0 ? MSW_CLASS_UNIFIED : (uint8_t)(-1 - choice[b]);
        s->magnitudes[b] = choice[b] >= 0 ? choice[b] : 0;
    }
    if (admm->layers[layer].merging)
        get_levels(admm, &admm->layers[layer], choice + admm->layers[layer].plan->block_count);
}

/* Classes of a projection of the weights: one float for each block, class + 1 + 4 * level,
 * and 0 where another rank has chosen. */

enum { LEVEL = 4 };

msw_status msw__ranks_open_classes(msw_admm *admm)
{
    msw__admm_scratch *s = &admm->scratch;
    msw_status status;
    void *memory;

    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw__layer *l = &admm->layers[i];

        l->scratch_block = s->blocks;
        if (l->plan && !l->project)
            s->blocks += l->plan->block_count;
    }
    s->choice_count = s->blocks;
    status = msw__calloc(&memory, admm->ctx, s->choice_count, sizeof *s->choice);
    s->choice = memory;
    if (status)
        return status;
    status = msw__calloc(&memory, admm->ctx, s->blocks, 1);
    s->classes = memory;
    if (!status) {
        status = msw__calloc(&memory, admm->ctx, s->blocks, 1);
        s->levels = memory;
        s->merged = status ? 0 : s->blocks;
    }
    for (uint32_t i = 0; i < admm->layer_count && !status; i++) {
        const msw_unified *u = admm->layers[i].frozen;

        for (size_t b = 0; u && b < u->plan->block_count; b++)
            s->choice[admm->layers[i].scratch_block + b] =
                (float)(u->classes[b] + 1 + LEVEL * (u->levels ? u->levels[b] : 0));
    }
    return status;
}

msw_status msw__ranks_exchange_classes(msw_admm *admm)
{
    const msw__admm_scratch *s = &admm->scratch;
    msw_status status = MSW_OK;

    if (s->blocks > 0)
        status = allreduce(admm, s->choice, s->blocks, MSW_REAL_FLOAT);
    for (size_t b = 0; !status && b < s->blocks; b++) {
        const float choice = s->choice[b];
        const unsigned x = choice >= 1 && choice < LEVEL * (MSW_MAX_MERGE_LEVELS + 1)
                               ? (unsigned)choice
                               : 0;

        if ((float)x != choice || x % LEVEL == 0)
            return no_sum(admm);
        s->classes[b] = (uint8_t)(x % LEVEL - 1);
        s->levels[b] = (uint8_t)(x / LEVEL);
    }
    return status;
}
