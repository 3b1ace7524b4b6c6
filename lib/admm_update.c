/* SPDX-License-Identifier: BSD-2-Clause */
/* Z and U step.
 *
 *   V = W + U = W + (Z - D)      in FREE blocks U = 0, so V = W
 *   Z' = projection of V
 *   U' = (V - Z') rho / rho'     rho * U is kept when rho changes
 *   D' = Z' - U'
 *
 * Blocks are worked on in strips: the rows of a block row by some columns of the GEMM
 * view, few enough to stay in the first-level cache. */
#include "admm.h"
#include "elements.h"
#include "lanes.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum {
    LANES = MSW__LANES,
    STRIP_ROW = 256, /* columns of a strip, unless R x C asks for another count */
    STRIP_AIM = 2048,
    STRIP = MSW_MAX_BLOCK * MSW_MAX_BLOCK,
    TASK_WEIGHTS = 1 << 15
};

typedef struct job {
    msw__layer *layer;
    const msw_plan *plan;
    msw__view w, d, h, h_old; /* those of h: data NULL for none */
    size_t task_rows;         /* block rows of one task */
    size_t strip;             /* columns of one strip */
    double ratio;             /* U' = ratio * U */
    msw__candidate *candidates;
    const uint8_t *classes;   /* those of Z' */
    msw__admm_sums *sums;
} job;

/* What Z is in each column of a strip, spread from its blocks: see msw__lane_z(). */
typedef struct columns {
    float magnitude[STRIP_ROW];
    uint32_t held[STRIP_ROW];
} columns;

typedef struct strip {
    size_t block_row, block, blocks;    /* number of its first block */
    size_t row, rows, column, columns;  /* where in the view */
    size_t ld;                          /* columns, rounded up to LANES */
    float v[STRIP], h[STRIP];
    columns old;                        /* Z before */
    float w[STRIP_ROW], d[STRIP_ROW];   /* one row; beyond `columns` they stay 0 */
} strip;

static inline size_t at_most(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Blocks of one row of blocks side by side in a strip, times C. */
static size_t strip_columns(const msw_plan *p)
{
    const size_t c = p->block_columns;
    const size_t aim = at_most(STRIP_AIM / p->block_rows, STRIP_ROW);

    return aim < c ? c : aim / c * c;
}

static size_t task_rows(const msw_plan *p)
{
    const size_t row = p->block_rows * p->columns;

    return row < TASK_WEIGHTS ? TASK_WEIGHTS / row : 1;
}

size_t msw__update_tasks(const msw_plan *p)
{
    const size_t rows = task_rows(p);

    return (p->block_row_count + rows - 1) / rows;
}

/* Strips */

static void strip_open(strip *s, const job *j, size_t block_row, size_t column)
{
    const msw_plan *p = j->plan;

    s->block_row = block_row;
    s->row = msw__plan_row(p, block_row);
    s->rows = msw__plan_rows(p, block_row);
    s->column = column;
    s->columns = at_most(j->strip, p->columns - column);
    s->ld = (s->columns + LANES - 1) / LANES * LANES;
    s->block = block_row * p->block_column_count + column / p->block_columns;
    s->blocks = (s->columns + p->block_columns - 1) / p->block_columns;
    for (size_t c = s->columns; c < s->ld; c++)
        s->w[c] = s->d[c] = 0;
}

/* Blocks of the strip, by their place in it. */
static size_t block_columns(const strip *s, const job *j, size_t b)
{
    return at_most(j->plan->block_columns, s->columns - b * j->plan->block_columns);
}

static void spread(columns *to, const strip *s, const job *j, const uint8_t *classes,
                   const float *magnitudes)
{
    size_t c = 0;

    for (size_t b = 0; b < s->blocks; b++) {
        const uint8_t class = classes[b];
        const float magnitude = class == MSW_CLASS_UNIFIED ? magnitudes[b] : 0;
        const uint32_t held = class == MSW_CLASS_FREE ? 0 : UINT32_MAX;

        for (const size_t end = c + block_columns(s, j, b); c < end; c++) {
            to->magnitude[c] = magnitude;
            to->held[c] = held;
        }
    }
    for (; c < s->ld; c++) {
        to->magnitude[c] = 0;
        to->held[c] = 0;
    }
}

static void spread_old(strip *s, const job *j)
{
    spread(&s->old, s, j, j->layer->classes + s->block, j->layer->magnitudes + s->block);
}

static void gather_row(float *to, const strip *s, const msw__view *view, size_t r)
{
    msw__view_gather(to, s->columns, view, s->row + r, 1, s->column, s->columns);
}

static size_t sign_bit(const strip *s, const job *j, size_t r)
{
    return msw__sign_bit(j->plan, s->block_row, r) + s->column;
}

/* Eight of the old Z, from column c of the strip on; s->d is row r of D. */
static inline void row_z(float z[LANES], const strip *s, const job *j, size_t r, size_t c)
{
    const size_t n = at_most(LANES, s->columns - c);

    msw__lanes_z(z, msw__lanes_load_signs(j->layer->signs, sign_bit(s, j, r) + c, n),
                 s->old.magnitude + c, s->old.held + c, s->d + c);
}

static void strip_importance(strip *s, const job *j)
{
    if (j->h.data)
        msw__view_gather(s->h, s->ld, &j->h, s->row, s->rows, s->column, s->columns);
}

static void strip_v(strip *s, const job *j)
{
    spread_old(s, j);
    for (size_t r = 0; r < s->rows; r++) {
        float *v = s->v + r * s->ld;

        gather_row(s->w, s, &j->w, r);
        gather_row(s->d, s, &j->d, r);
        for (size_t c = 0; c < s->ld; c += LANES) {
            float z[LANES];

            row_z(z, s, j, r, c);
            msw__lanes_v(v + c, s->w + c, z, s->d + c);
        }
    }
    strip_importance(s, j);
}

/* Run `work` on every strip of a task's block rows. */
static void each_strip(size_t task, job *j, void (*work)(strip *s, job *j, size_t task))
{
    const size_t first = task * j->task_rows;
    const size_t end = at_most(first + j->task_rows, j->plan->block_row_count);
    strip s;

    for (size_t i = first; i < end; i++)
        for (size_t column = 0; column < j->plan->columns; column += j->strip) {
            strip_open(&s, j, i, column);
            work(&s, j, task);
        }
}

/* First pass: what pruning and unifying each block of V would cost. */

static void rate_strip(strip *s, job *j, size_t task)
{
    (void)task;
    strip_v(s, j);
    for (size_t b = 0; b < s->blocks; b++) {
        const size_t c = b * j->plan->block_columns;
        const msw__block_costs costs = msw__block_cost(
            s->v + c, s->ld, j->h.data ? s->h + c : NULL, s->ld, s->rows,
            block_columns(s, j, b));

        j->candidates[s->block + b] =
            msw__candidate_of((uint32_t)(s->block + b), &costs);
    }
}

static void rate_task(size_t task, void *arg)
{
    each_strip(task, arg, rate_strip);
}

/* Second pass: Z', D' and the residuals. */

typedef struct lane_sums {
    double weights[LANES / 2], primal[LANES / 2], dual[LANES / 2];
    float bound[LANES];
} lane_sums;

static void close_sums(msw__admm_sums *sums, const lane_sums *lanes)
{
    sums->weights += msw__lanes_total(lanes->weights);
    sums->primal += msw__lanes_total(lanes->primal);
    sums->dual += msw__lanes_total(lanes->dual);
    for (size_t k = 0; k < LANES; k++)
        if (sums->bound < lanes->bound[k])
            sums->bound = lanes->bound[k];
}

static float block_magnitude(const strip *s, const job *j, size_t b)
{
    const size_t c = b * j->plan->block_columns;

    return msw__block_magnitude(s->v + c, s->ld, j->h.data ? s->h + c : NULL, s->ld,
                                s->rows, block_columns(s, j, b));
}

static void new_magnitudes(columns *next, strip *s, const job *j)
{
    float *magnitudes = j->layer->magnitudes + s->block;
    const uint8_t *classes = j->classes + s->block;

    for (size_t b = 0; b < s->blocks; b++)
        magnitudes[b] = classes[b] == MSW_CLASS_UNIFIED ? block_magnitude(s, j, b) : 0;
    spread(next, s, j, classes, magnitudes);
}

/* Row r of D becomes that of D'. */
static void project_row(strip *s, const job *j, const columns *next, lane_sums *sums,
                        size_t r)
{
    static const float zero[LANES] = {0};
    const float *v = s->v + r * s->ld;

    for (size_t c = 0; c < s->ld; c += LANES) {
        float z_old[LANES], z[LANES], d[LANES];

        row_z(z_old, s, j, r, c);
        msw__lanes_project(z, d, v + c, next->magnitude + c, next->held + c,
                           (float)j->ratio);
        msw__lanes_store_signs(j->layer->signs, sign_bit(s, j, r) + c,
                               at_most(LANES, s->columns - c), msw__lanes_signs(v + c));
        msw__lanes_add_squares(sums->weights, s->w + c, zero);
        msw__lanes_add_squares(sums->primal, s->w + c, z);
        msw__lanes_add_squares(sums->dual, z, z_old);
        msw__lanes_largest(sums->bound, d);
        memcpy(s->d + c, d, sizeof d);
    }
}

static void project_strip(strip *s, job *j, size_t task)
{
    lane_sums sums = {{0}, {0}, {0}, {0}};
    columns next;

    strip_v(s, j);
    new_magnitudes(&next, s, j);
    for (size_t c = 0; c < s->ld; c += LANES)
        msw__lanes_largest(sums.bound, next.magnitude + c);
    for (size_t r = 0; r < s->rows; r++) {
        gather_row(s->w, s, &j->w, r);
        gather_row(s->d, s, &j->d, r);
        project_row(s, j, &next, &sums, r);
        msw__view_scatter(&j->d, s->row + r, 1, s->column, s->columns, s->d, s->columns);
    }
    close_sums(&j->sums[task], &sums);
}

static void project_task(size_t task, void *arg)
{
    job *j = arg;

    memset(&j->sums[task], 0, sizeof j->sums[task]);
    each_strip(task, j, project_strip);
}

/* U alone changes: rho or the importance does. */

static void rescale_strip(strip *s, job *j, size_t task)
{
    lane_sums sums = {{0}, {0}, {0}, {0}};
    float h[STRIP_ROW], h_old[STRIP_ROW];

    spread_old(s, j);
    for (size_t c = 0; c < s->ld; c++)
        h[c] = h_old[c] = 1;
    for (size_t r = 0; r < s->rows; r++) {
        gather_row(s->d, s, &j->d, r);
        if (j->h.data)
            gather_row(h, s, &j->h, r);
        if (j->h_old.data)
            gather_row(h_old, s, &j->h_old, r);
        for (size_t c = 0; c < s->ld; c += LANES) {
            float z[LANES];

            row_z(z, s, j, r, c);
            for (size_t k = 0; k < LANES; k++) {
                const double scale = j->ratio * (double)h_old[c + k] / (double)h[c + k];
                const double u = (double)z[k] - (double)s->d[c + k];

                s->d[c + k] = (float)((double)z[k] - scale * u);
            }
            msw__lanes_largest(sums.bound, s->d + c);
        }
        msw__view_scatter(&j->d, s->row + r, 1, s->column, s->columns, s->d, s->columns);
    }
    close_sums(&j->sums[task], &sums);
}

static void rescale_task(size_t task, void *arg)
{
    job *j = arg;

    memset(&j->sums[task], 0, sizeof j->sums[task]);
    each_strip(task, j, rescale_strip);
}

/* With |W| up to it, |V| <= |W| + 2 bound and |D'| <= (1 + 2 ratio) |V| are finite. 0
 * when there is no such limit. */
static float weight_limit(const msw__layer *l, double ratio)
{
    const double limit = (double)FLT_MAX / (1 + 2 * ratio) - 2 * (double)l->bound;

    return limit > 0 ? (float)limit : 0;
}

bool msw__admm_can_rescale(const msw__layer *l, double ratio)
{
    return weight_limit(l, ratio) > 0;
}

/* One layer */

static void open_job(job *j, const msw_admm *admm, msw__layer *l, double ratio)
{
    const msw__admm_scratch *s = &admm->scratch;

    memset(j, 0, sizeof *j);
    j->layer = l;
    j->plan = l->plan;
    j->task_rows = task_rows(l->plan);
    j->strip = strip_columns(l->plan);
    j->ratio = ratio;
    j->candidates = s->candidates;
    j->classes = s->classes;
    j->sums = s->sums;
    msw__view_fill(&j->w, l->plan, l->weights, s->columns[0]);
    msw__view_fill(&j->d, l->plan, l->d, s->columns[1]);
}

/* Dense like D: the same offsets. */
static void set_importance(msw__view *h, const job *j, const msw_tensor *importance)
{
    *h = j->d;
    h->data = importance ? importance->data : NULL;
}

static msw__admm_sums add_sums(const msw__admm_sums *sums, size_t count)
{
    msw__admm_sums all = {0, 0, 0, 0};

    for (size_t i = 0; i < count; i++) {
        all.weights += sums[i].weights;
        all.primal += sums[i].primal;
        all.dual += sums[i].dual;
        all.bound = all.bound > sums[i].bound ? all.bound : sums[i].bound;
    }
    return all;
}

static double relative(double residual, double weights)
{
    return residual > 0 ? sqrt(residual / weights) : 0;
}

void msw__admm_rescale(msw_admm *admm, msw__layer *l, double ratio,
                       const msw_tensor *h_old, const msw_tensor *h_new)
{
    job j;

    open_job(&j, admm, l, ratio);
    set_importance(&j.h, &j, h_new);
    set_importance(&j.h_old, &j, h_old);
    msw__admm_all_tasks(admm, msw__update_tasks(l->plan), rescale_task, &j);
    for (size_t i = 0; i < msw__update_tasks(l->plan); i++)
        if (l->bound < j.sums[i].bound)
            l->bound = j.sums[i].bound;
}

static double next_rho(const msw_admm *admm, const msw__layer *l)
{
    return msw__next_rho(&admm->options, l->rho, admm->updates + 1);
}

static double rho_ratio(const msw_admm *admm, const msw__layer *l, bool first)
{
    return first ? 0 : l->rho / next_rho(admm, l);
}

static void choose_classes(msw_admm *admm, job *j, size_t prune, size_t unify)
{
    const size_t blocks = j->plan->block_count;

    if (prune + unify == 0) {
        memset(admm->scratch.classes, MSW_CLASS_FREE, blocks);
        return;
    }
    msw__admm_all_tasks(admm, msw__update_tasks(j->plan), rate_task, j);
    msw__project_classes(admm->scratch.classes, j->candidates, blocks, prune, unify);
}

static void update_layer(msw_admm *admm, msw__layer *l, double share, double ratio)
{
    const size_t tasks = msw__update_tasks(l->plan);
    msw__admm_sums sums;
    size_t prune, unify;
    job j;

    open_job(&j, admm, l, ratio);
    set_importance(&j.h, &j, l->importance);
    msw__shares_count(&prune, &unify, share * l->prune, share * l->unify,
                      l->plan->block_count);
    choose_classes(admm, &j, prune, unify);
    msw__admm_all_tasks(admm, tasks, project_task, &j);
    memcpy(l->classes, j.classes, l->plan->block_count);
    sums = add_sums(j.sums, tasks);
    l->bound = sums.bound;
    l->primal = relative(sums.primal, sums.weights);
    l->dual = relative(sums.dual, sums.weights);
}

/* Everything that can fail comes before the first change. */
static msw_status prepare_update(msw_admm *admm, bool first)
{
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer *l = &admm->layers[i];
        msw_status status;

        if (!l->plan)
            continue;
        status = msw__admm_check(admm, l, l->weights,
                                 weight_limit(l, rho_ratio(admm, l, first)), "weight");
        if (status)
            return status;
    }
    return msw__admm_open_scratch(admm, true);
}

/* @p first: make the first Z. With rho / rho' = 0 it leaves U = 0. */
static msw_status update_all(msw_admm *admm, bool first)
{
    const double share = msw__ramp(&admm->options, admm->updates);
    const msw_status status = prepare_update(admm, first);

    if (status)
        return status;
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw__layer *l = &admm->layers[i];

        if (!l->plan)
            continue;
        update_layer(admm, l, share, rho_ratio(admm, l, first));
        if (!first)
            l->rho = next_rho(admm, l);
    }
    msw__admm_close_scratch(admm);
    return MSW_OK;
}

static void end_state(msw_admm *admm)
{
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw__layer_free_state(admm, &admm->layers[i]);
        admm->layers[i].bound = 0;
        admm->layers[i].primal = admm->layers[i].dual = (double)NAN;
    }
    admm->begun = false;
}

msw_status msw__admm_begin(msw_admm *admm)
{
    msw_status status;

    if (admm->begun)
        return MSW_OK;
    status = msw__admm_reserve_tasks(admm);
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        if (admm->layers[i].plan)
            status = msw__layer_allocate_state(admm, &admm->layers[i]);
    if (!status)
        status = update_all(admm, true);
    if (status) {
        end_state(admm);
        return status;
    }
    for (uint32_t i = 0; i < admm->layer_count; i++)
        admm->layers[i].primal = admm->layers[i].dual = (double)NAN; /* no update yet */
    admm->begun = true;
    return MSW_OK;
}

msw_status msw__admm_step_z(msw_admm *admm)
{
    const bool begun = admm->begun;
    msw_status status = msw__admm_begin(admm);

    if (!status)
        status = update_all(admm, false);
    if (!status) {
        admm->updates++;
        msw__admm_end_round(admm);
    } else if (!begun) {
        end_state(admm);
    }
    return status;
}

msw_status msw_admm_update(msw_admm *admm)
{
    msw_status status = msw__admm_enter(admm);

    if (status)
        return status;
    if (admm->phase != MSW_PHASE_ADMM)
        status = msw__admm_fail(admm, MSW_E_STATE, "no update once frozen");
    else
        status = msw__admm_step_z(admm);
    return msw__admm_leave(admm, status);
}

/* Z, written to a tensor that stands in for the weights. */

static void write_strip(strip *s, job *j, size_t task)
{
    (void)task;
    spread_old(s, j);
    for (size_t r = 0; r < s->rows; r++) {
        gather_row(s->d, s, &j->d, r);
        for (size_t c = 0; c < s->ld; c += LANES) {
            float z[LANES];

            row_z(z, s, j, r, c);
            for (size_t k = 0; k < LANES; k++)
                s->w[c + k] = z[k] + 0; /* no -0 in PRUNED blocks */
        }
        msw__view_scatter(&j->w, s->row + r, 1, s->column, s->columns, s->w, s->columns);
    }
}

static msw_status write_z(msw_tensor *z, msw__layer *l)
{
    job j = {.layer = l, .plan = l->plan, .task_rows = l->plan->block_row_count,
             .strip = strip_columns(l->plan)};
    msw_status status = msw__view_new(&j.w, l->plan, z);

    if (status)
        return status;
    status = msw__view_new(&j.d, l->plan, l->d);
    if (!status) {
        each_strip(0, &j, write_strip);
        msw__view_free(&j.d);
    }
    msw__view_free(&j.w);
    return status;
}

msw_status msw_admm_get_z(msw_tensor *z, const msw_admm *admm, uint32_t layer)
{
    if (!z || !admm)
        return MSW_E_INVAL;
    if (layer >= admm->layer_count)
        return MSW_E_RANGE;
    if (!msw__tensor_same_shape(z, admm->layers[layer].weights))
        return MSW_E_INVAL;
    if (admm->state == MSW__BUSY)
        return MSW_E_STATE;
    if (admm->layers[layer].d)
        return write_z(z, &admm->layers[layer]);
    msw__copy_elements(z, admm->layers[layer].weights);
    return MSW_OK;
}
