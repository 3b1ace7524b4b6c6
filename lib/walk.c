/* SPDX-License-Identifier: BSD-2-Clause */
#include "walk.h"
#include "panel.h"

/* About as many weights to a task: enough to outweigh handing it out. */
enum { TASK_WEIGHTS = 16384 };

typedef struct job {
    const msw__walk *walk;
    msw__view view, importance; /* of the tensors */
    bool weighted;
    size_t step;                /* block rows to a task */
} job;

/* The first block row from @p i on that begins with a byte of signs of its own. */
static size_t task_row(const msw__walk *walk, size_t i)
{
    const size_t rows = walk->plan->block_row_count;

    while (walk->u && i < rows && walk->u->sign_start[i] % 8)
        i++;
    return i < rows ? i : rows;
}

static void pass(msw__cell *cell)
{
    const size_t weights = cell->rows * cell->columns;

    if (cell->label == MSW_CLASS_FREE) {
        cell->free += weights;
    } else if (cell->label == MSW_CLASS_UNIFIED) {
        cell->sign += weights;
        cell->magnitude++;
    }
}

/* Visit the blocks of a panel. @p cell is at the first of them, and left behind them. */
static void walk_panel(const msw__walk *walk, const msw__panel *panel, const float *h,
                       msw__cell *cell)
{
    const msw_plan *plan = walk->plan;
    const uint8_t *classes = walk->u ? walk->u->classes : walk->classes;

    for (size_t c = 0; c < panel->columns; c += plan->block_columns, cell->block++) {
        const size_t left = panel->columns - c;

        cell->v = panel->v + c;
        cell->ld = panel->ld;
        cell->h = h ? h + c : NULL;
        cell->ld_h = panel->columns;
        cell->columns = left < plan->block_columns ? left : plan->block_columns;
        cell->column = panel->column + c;
        if (classes)
            cell->label = (msw_class)classes[cell->block];
        walk->visit(cell, walk->arg);
        pass(cell);
    }
}

static const float *load_importance(const job *j, const msw__panel *panel, float *buffer)
{
    if (!j->weighted)
        return NULL;
    msw__view_gather(buffer, panel->columns, &j->importance, panel->row, panel->rows,
                     panel->column, panel->columns);
    for (size_t i = 0; i < panel->rows * panel->columns; i++)
        buffer[i] = msw__importance_at(buffer[i], j->walk->importance->scale);
    return buffer;
}

static void walk_block_row(const job *j, size_t i)
{
    const msw__walk *walk = j->walk;
    const msw_plan *plan = walk->plan;
    const size_t step = msw__panel_columns(plan);
    float weights[MSW__PANEL_SIZE], importance[MSW__PANEL_SIZE];
    msw__cell cell = {
        .u = walk->u, .rows = msw__plan_rows(plan, i), .row = msw__plan_row(plan, i),
        .block = i * plan->block_column_count, .label = MSW_CLASS_FREE,
    };

    if (walk->u) {
        cell.magnitude = walk->u->magnitude_start[i];
        cell.sign = walk->u->sign_start[i];
        cell.free = walk->u->free_start[i];
    }
    for (size_t column = 0; column < plan->columns; column += step) {
        const msw__panel panel = msw__panel_open(&j->view, plan, i, column, weights,
                                                 walk->access & MSW__READ);

        walk_panel(walk, &panel, load_importance(j, &panel, importance), &cell);
        if (walk->access & MSW__WRITE)
            msw__panel_write(&panel, &j->view);
    }
}

static void walk_task(size_t index, void *arg)
{
    const job *j = arg;
    const size_t end = task_row(j->walk, (index + 1) * j->step);

    for (size_t i = task_row(j->walk, index * j->step); i < end; i++)
        walk_block_row(j, i);
}

static msw_status run_tasks(job *j)
{
    const msw_plan *plan = j->walk->plan;
    const size_t row_weights = plan->block_rows * plan->columns;
    size_t count;

    j->step = row_weights < TASK_WEIGHTS ? TASK_WEIGHTS / row_weights : 1;
    count = (plan->block_row_count + j->step - 1) / j->step;
    if (!j->walk->serial)
        return msw__parallel(plan->ctx, count, walk_task, j);
    for (size_t i = 0; i < count; i++)
        walk_task(i, j);
    return MSW_OK;
}

/* With memory for its columns, or allocated. */
static msw_status open_view(msw__view *view, const msw_plan *plan, const msw_tensor *t,
                            size_t *columns)
{
    if (!columns)
        return msw__view_new(view, plan, t);
    if (!msw__plan_fits(plan, t))
        return MSW_E_INVAL;
    msw__view_fill(view, plan, t, columns);
    return MSW_OK;
}

msw_status msw__walk_blocks(const msw__walk *walk)
{
    job j = {.walk = walk, .weighted = walk->importance && walk->importance->h};
    msw_status status = open_view(&j.view, walk->plan, walk->tensor, walk->columns);

    if (status)
        return status;
    if (j.weighted)
        status = open_view(&j.importance, walk->plan, walk->importance->h,
                           walk->importance_columns);
    if (!status) {
        status = run_tasks(&j);
        if (j.weighted && !walk->importance_columns)
            msw__view_free(&j.importance);
    }
    if (!walk->columns)
        msw__view_free(&j.view);
    return status;
}
