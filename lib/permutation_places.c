/* SPDX-License-Identifier: BSD-2-Clause */
/* Changing places: what an entry of an axis would cost in each place, and pairs that
 * swap. A place is a run of slots that lie in the same blocks, so that it does not matter
 * which of them an entry has. */
#include "permutation.h"
#include "sizes.h"

#include <string.h>

enum { TASK_ENTRIES = 8, TILE = 64, MOST_SWEEPS = 32 };

/* Line of a side at a slot, or of an entry, in the tensor's own order. */
static size_t line_of(const msw__lines *l, size_t length, size_t entry, size_t position)
{
    return l->side->entries_fast ? position * length + entry
                                 : entry * l->side->positions + position;
}

static size_t row_block(const msw_plan *p, size_t row)
{
    return row / p->group_rows * p->group_block_rows +
           row % p->group_rows / p->block_rows;
}

static size_t block_of(const msw__lines *l, size_t line)
{
    const msw_plan *p = l->layer->plan;

    return l->rows ? row_block(p, line) : line / p->block_columns;
}

/* The blocks of the other side. */
static size_t others(const msw__lines *l)
{
    return l->rows ? l->layer->plan->block_column_count : l->layer->plan->block_row_count;
}

static size_t other_begin(const msw__lines *l, size_t block)
{
    return l->rows ? block * l->layer->plan->block_columns
                   : msw__plan_row(l->layer->plan, block);
}

static size_t other_size(const msw__lines *l, size_t block)
{
    return l->rows ? msw__plan_columns(l->layer->plan, block)
                   : msw__plan_rows(l->layer->plan, block);
}

typedef struct job {
    const msw__lines *lines;
    size_t line_count, length;
    const size_t *first;     /* slot of each place */
    size_t places;
    float *costs;            /* of entry e in place p: [p * length + e] */
    double *weights;         /* or: of each entry, the sum of its h w^2 */
} job;

/* h v^2, h |v| and h of the weights that a line has in a block. */
static msw__tariff measure(const msw__lines *l, size_t line, size_t block)
{
    const size_t begin = other_begin(l, block), size = other_size(l, block);
    msw__tariff sums = {0};

    for (size_t k = 0; k < size; k++) {
        const size_t at = l->across[begin + k];
        const size_t row = l->rows ? line : at, column = l->rows ? at : line;
        const float v = l->weights->data[msw__view_row(l->weights, row) +
                                         l->weights->columns[column]];
        const double x = v < 0 ? -(double)v : (double)v;
        double h = 1;

        if (l->importance)
            h = (double)msw__importance_at(
                l->importance->data[msw__view_row(l->importance, row) +
                                    l->importance->columns[column]],
                l->scale);
        sums.square += h * x * x;
        sums.linear += h * x;
        sums.constant += h;
    }
    return sums;
}

static double charge(const msw__tariff *tariff, const msw__tariff *sums, size_t count)
{
    double total = 0;

    for (size_t k = 0; k < count; k++)
        total += tariff[k].square * sums[k].square + tariff[k].linear * sums[k].linear +
                 tariff[k].constant * sums[k].constant;
    return total;
}

/* Add what one line of an entry costs in each place. */
static void add_line(const job *j, const msw__lines *l, size_t entry, size_t position)
{
    const size_t line = line_of(l, j->length, entry, position), count = others(l);
    msw__tariff sums[TILE];

    for (size_t block = 0; block < count; block += TILE) {
        const size_t tile = msw__min(TILE, count - block);

        for (size_t k = 0; k < tile; k++)
            sums[k] = measure(l, line, block + k);
        for (size_t p = 0; p < j->places; p++) {
            const size_t along =
                block_of(l, line_of(l, j->length, j->first[p], position));

            j->costs[p * j->length + entry] +=
                (float)(l->factor * charge(l->tariff + along * count + block, sums, tile));
        }
    }
}

static void cost_task(size_t index, void *arg)
{
    const job *j = arg;
    const size_t end = msw__min(j->length, (index + 1) * TASK_ENTRIES);

    for (size_t e = index * TASK_ENTRIES; e < end; e++)
        for (size_t i = 0; i < j->line_count; i++)
            for (size_t k = 0; k < j->lines[i].side->positions; k++)
                add_line(j, &j->lines[i], e, k);
}

static void weigh_task(size_t index, void *arg)
{
    const job *j = arg;
    const size_t end = msw__min(j->length, (index + 1) * TASK_ENTRIES);

    for (size_t e = index * TASK_ENTRIES; e < end; e++)
        for (size_t i = 0; i < j->line_count; i++)
            for (size_t k = 0; k < j->lines[i].side->positions; k++)
                for (size_t block = 0; block < others(&j->lines[i]); block++)
                    j->weights[e] +=
                        j->lines[i].factor *
                        measure(&j->lines[i], line_of(&j->lines[i], j->length, e, k), block)
                            .square;
}

msw_status msw__places_weigh(double *weights, msw_context *ctx, size_t length,
                             const msw__lines *lines, size_t line_count)
{
    job j = {.lines = lines, .line_count = line_count, .length = length,
             .weights = weights};

    memset(weights, 0, length * sizeof *weights);
    return msw__parallel(ctx, msw__divide_up(length, TASK_ENTRIES), weigh_task, &j);
}

/* Whether slot s lies in the same blocks as the one before it. */
static bool same_place(const job *j, size_t s)
{
    for (size_t i = 0; i < j->line_count; i++) {
        const msw__lines *l = &j->lines[i];

        for (size_t k = 0; k < l->side->positions; k++)
            if (block_of(l, line_of(l, j->length, s, k)) !=
                block_of(l, line_of(l, j->length, s - 1, k)))
                return false;
    }
    return true;
}

/* Entries that swap. */
typedef struct market {
    const float *costs;
    size_t length, places, group;
    uint32_t *order;    /* entry in each slot */
    uint32_t *slot;     /* of each entry */
    uint32_t *place;    /* of each entry */
    float *asked;       /* scratch: an entry's cost in each place */
} market;

static double cost_at(const market *m, uint32_t place, size_t entry)
{
    return (double)m->costs[(size_t)place * m->length + entry];
}

/* The entry with which e had best change places; e itself when there is none. */
static size_t best_partner(const market *m, size_t e)
{
    const size_t begin = e / m->group * m->group;
    const size_t end = msw__min(m->length, begin + m->group);
    const float *here = m->costs + (size_t)m->place[e] * m->length;
    const double own = (double)here[e];
    double least = 0;
    size_t best = e;

    for (size_t p = 0; p < m->places; p++)
        m->asked[p] = m->costs[p * m->length + e];
    for (size_t y = begin; y < end; y++) {
        const double change = ((double)here[y] - cost_at(m, m->place[y], y)) +
                              ((double)m->asked[m->place[y]] - own);

        if (change < least) {
            least = change;
            best = y;
        }
    }
    return best;
}

static void swap_entries(market *m, size_t x, size_t y)
{
    const uint32_t place = m->place[x], slot = m->slot[x];

    m->place[x] = m->place[y];
    m->slot[x] = m->slot[y];
    m->place[y] = place;
    m->slot[y] = slot;
    m->order[m->slot[x]] = (uint32_t)x;
    m->order[m->slot[y]] = (uint32_t)y;
}

static void trade(market *m)
{
    bool changed = true;

    for (size_t sweep = 0; changed && sweep < MOST_SWEEPS; sweep++) {
        changed = false;
        for (size_t e = 0; e < m->length; e++) {
            const size_t partner = best_partner(m, e);

            if (partner != e) {
                swap_entries(m, e, partner);
                changed = true;
            }
        }
    }
}

/* Entries in ascending order within each place: of orders that are the same to the
 * blocks there is one. */
static void tidy(uint32_t *order, const size_t *first, size_t places, size_t length)
{
    for (size_t p = 0; p < places; p++) {
        const size_t end = p + 1 < places ? first[p + 1] : length;

        for (size_t i = first[p] + 1; i < end; i++) {
            const uint32_t moved = order[i];
            size_t k = i;

            for (; k > first[p] && order[k - 1] > moved; k--)
                order[k] = order[k - 1];
            order[k] = moved;
        }
    }
}

/* Fills in the places. */
static void find_places(job *j, size_t *first, market *m)
{
    size_t places = 0;

    for (size_t s = 0; s < j->length; s++) {
        if (s == 0 || !same_place(j, s))
            first[places++] = s;
        m->place[m->order[s]] = (uint32_t)(places - 1);
        m->slot[m->order[s]] = (uint32_t)s;
    }
    j->first = first;
    j->places = m->places = places;
}

static msw_status rate_places(job *j, msw_context *ctx, market *m)
{
    msw_status status;
    void *costs, *asked = NULL;
    size_t cells;

    if (!msw__size_mul(&cells, j->places, j->length))
        return MSW_E_NOMEM;
    status = msw__calloc(&costs, ctx, cells, sizeof *j->costs);
    if (!status)
        status = msw__alloc(&asked, ctx, j->places, sizeof *m->asked);
    if (!status) {
        j->costs = costs;
        m->costs = costs;
        m->asked = asked;
        status = msw__parallel(ctx, msw__divide_up(j->length, TASK_ENTRIES), cost_task, j);
    }
    if (!status) {
        trade(m);
        tidy(m->order, j->first, j->places, j->length);
    }
    msw__free(ctx, asked, j->places, sizeof *m->asked);
    msw__free(ctx, costs, cells, sizeof *j->costs);
    return status;
}

msw_status msw__places_improve(msw__axis_order *axis, msw_context *ctx,
                               const msw__lines *lines, size_t line_count)
{
    job j = {.lines = lines, .line_count = line_count, .length = axis->length};
    market m = {.length = axis->length, .group = axis->group, .order = axis->order};
    void *first, *slots = NULL;
    msw_status status = msw__alloc(&first, ctx, axis->length, sizeof(size_t));

    if (!status)
        status = msw__alloc(&slots, ctx, axis->length, 2 * sizeof(uint32_t));
    if (!status) {
        m.slot = slots;
        m.place = m.slot + axis->length;
        find_places(&j, first, &m);
        status = rate_places(&j, ctx, &m);
    }
    msw__free(ctx, slots, axis->length, 2 * sizeof(uint32_t));
    msw__free(ctx, first, axis->length, sizeof(size_t));
    return status;
}
