/* SPDX-License-Identifier: BSD-2-Clause */
#include "view.h"

#include <stdlib.h>
#include <string.h>

/* Place in the tensor, in the order of its dimensions, of an element of the matrix. */
static size_t place(const msw_plan_info *plan, size_t row, size_t column)
{
    const size_t *shape = plan->shape;
    size_t channel, kernel;

    if (plan->weights == MSW_WEIGHTS_OI)
        return row * shape[1] + column;
    if (plan->weights == MSW_WEIGHTS_IO)
        return column * shape[1] + row;
    if (plan->weights == MSW_WEIGHTS_OIHW) {
        const size_t channels = shape[1], kernels = shape[2] * shape[3];
        const bool first = plan->reduction == MSW_REDUCTION_CHANNELS;

        channel = first ? column % channels : column / kernels;
        kernel = first ? column / channels : column % kernels;
        return (row * channels + channel) * kernels + kernel;
    } else {
        const size_t channels = shape[3], kernels = shape[1] * shape[2];
        const bool first = plan->reduction == MSW_REDUCTION_CHANNELS;

        channel = first ? column % channels : column / kernels;
        kernel = first ? column / channels : column % kernels;
        return (row * kernels + kernel) * channels + channel;
    }
}

void view_arrange(float *matrix, const float *values, const msw_plan *plan,
                  const msw_plan_info *info)
{
    const uint32_t *rows = msw_plan_row_permutation(plan);
    const uint32_t *columns = msw_plan_column_permutation(plan);

    for (size_t r = 0; r < info->rows; r++)
        for (size_t c = 0; c < info->columns; c++)
            matrix[r * info->columns + c] =
                values[place(info, rows ? rows[r] : r, columns ? columns[c] : c)];
}

static int read_unified(struct view *v, struct model *m, const struct item *item,
                        const float *values, struct problem *p)
{
    msw_plan_info info;
    msw_status status;

    if (model_unified(&v->unified, m, item, p))
        return p->code;
    msw_plan_info_init(&info);
    status = msw_plan_get_info(&info, msw_unified_plan(v->unified));
    if (status)
        return problem_status(p, status, m->path, item->name, NULL);
    v->rows = info.rows;
    v->columns = info.columns;
    view_arrange(v->values, values, msw_unified_plan(v->unified), &info);
    return p->code;
}

int view_new(struct view *out, struct model *m, const struct item *item, struct problem *p)
{
    msw_tensor *tensor;

    memset(out, 0, sizeof *out);
    if (model_tensor(&tensor, m, item, p))
        return p->code;
    out->values = allocate(item->count, sizeof *out->values, p);
    if (out->values && item->unified) {
        read_unified(out, m, item, msw_tensor_data(tensor), p);
    } else if (out->values) {
        out->rows = item->rank > 1 ? item->shape[0] : 1;
        out->columns = item->count / out->rows;
        memcpy(out->values, msw_tensor_data(tensor), item->count * sizeof *out->values);
    }
    msw_tensor_free(tensor);
    if (p->code)
        view_free(out);
    return p->code;
}

void view_free(struct view *v)
{
    free(v->values);
    msw_unified_free(v->unified);
    memset(v, 0, sizeof *v);
}
