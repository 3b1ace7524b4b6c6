/* SPDX-License-Identifier: BSD-2-Clause */
#include "layerwise.h"

#include <string.h>

#include "../must.h"
#include "cholesky.h"
#include "memory.h"
#include "weights.h"

struct step {
    const struct layer *l;
    const struct statistics *s;
    double scale;         /* of the moments: their mean is 1 */
    double *inputs;       /* importance is inputs[k] outputs[o], each of mean 1 */
    double *outputs;
    double *factor, *x;   /* [n][n], [n][outputs] */
    float *weights, *pull;
};

/* Mean 1, and nothing so small that the solver would have to floor it. */
static void normalise(double *out, const double *in, size_t count, size_t period)
{
    double mean = 0;

    for (size_t i = 0; i < period; i++)
        mean += in[i] / (double)period;
    for (size_t i = 0; i < count; i++) {
        out[i] = mean > 0 ? in[i % period] / mean : 1;
        if (out[i] < 0.05)
            out[i] = 0.05;
    }
}

static void set_importance(struct step *st, msw_admm *admm, msw_context *ctx)
{
    const size_t count = layer_weight_count(st->l);
    float *importance = weights_data(st->l);
    double sum = 0;
    msw_tensor *tensor = weights_tensor(ctx, st->l, importance);

    for (size_t i = 0; i < count; i++) {
        importance[i] = (float)(st->inputs[i / st->s->outputs] *
                                st->outputs[i % st->s->outputs]);
        sum += importance[i];
    }
    /* The solver makes the mean 1; the W step must know what it multiplied by. */
    for (size_t k = 0; k < st->s->inputs - 1; k++)
        st->inputs[k] *= (double)count / sum;
    must(msw_admm_set_importance(admm, 0, tensor), st->l->name);
    msw_tensor_free(tensor);
    free(importance);
}

/* W minimises the error plus rho/2 sum h (w - d)^2; the solver tells d by its gradient,
 * which is rho h (w - d). Outputs do not mix, so that their weights cancel. */
static void w_step(struct step *st, double rho)
{
    const size_t n = st->s->inputs, m = st->s->outputs;

    for (size_t i = 0; i < n * n; i++)
        st->factor[i] = st->s->gram[i] * st->scale;
    for (size_t i = 0; i < n; i++) {
        const double pull = i + 1 < n ? rho * st->inputs[i] : 0;

        st->factor[i * n + i] += pull + 1e-7;
        for (size_t o = 0; o < m; o++) {
            st->x[i * m + o] = st->s->cross[o * n + i] * st->scale;
            if (i + 1 < n)
                st->x[i * m + o] += pull * (double)st->weights[i * m + o] -
                                    (double)st->pull[i * m + o] / st->outputs[o];
        }
    }
    must(cholesky(st->factor, n) ? MSW_OK : MSW_E_NUMERIC, "moments");
    cholesky_forward(st->factor, n, st->x, m);
    cholesky_backward(st->factor, n, st->x, m);
    for (size_t i = 0; i < (n - 1) * m; i++)
        st->weights[i] = (float)st->x[i];
}

static msw_admm *new_solver(msw_context *ctx, const struct layer *l, const msw_unified *u,
                            msw_tensor *weights, size_t updates)
{
    msw_admm *admm;
    msw_admm_options options;
    msw_layer_options layer;
    msw_unified_info info;

    msw_unified_info_init(&info);
    must(msw_unified_get_info(&info, u), l->name);
    msw_admm_options_init(&options);
    options.updates = updates;
    options.rho = 0.02;
    options.rho_end = 2;
    must(msw_admm_new(&admm, ctx, &options), l->name);
    msw_layer_options_init(&layer);
    layer.prune = (double)info.pruned_blocks / (double)info.blocks;
    layer.unify = (double)info.unified_blocks / (double)info.blocks;
    must(msw_admm_add_layer(admm, weights, msw_unified_plan(u), &layer), l->name);
    return admm;
}

void layerwise_admm(msw_unified **u, float *weights, msw_context *ctx,
                    const struct layer *l, const struct statistics *s,
                    const struct influence *influence, size_t updates)
{
    const size_t n = s->inputs, m = s->outputs, bytes = (n - 1) * m * sizeof(float);
    struct step st = {.l = l, .s = s, .weights = weights, .pull = weights_data(l)};
    msw_tensor *tensor = weights_tensor(ctx, l, weights);
    msw_tensor *pull = weights_tensor(ctx, l, st.pull);
    msw_admm *admm = new_solver(ctx, l, *u, tensor, updates);

    st.inputs = allocate(n, sizeof(double));
    st.outputs = allocate(m, sizeof(double));
    st.factor = allocate(n * n, sizeof(double));
    st.x = allocate(n * m, sizeof(double));
    for (size_t i = 0; i + 1 < n; i++)
        st.scale += s->gram[i * n + i];
    st.scale = (double)(n - 1) / st.scale;
    normalise(st.inputs, influence->inputs, n - 1, l->input_channels);
    normalise(st.outputs, influence->outputs, m, m);
    set_importance(&st, admm, ctx);
    for (size_t i = 0; i < updates; i++) {
        memset(st.pull, 0, bytes);
        must(msw_admm_add_penalty(admm, 0, pull, 1), l->name);
        w_step(&st, msw_admm_rho(admm, 0));
        must(msw_admm_update(admm), l->name);
    }
    must(msw_admm_freeze(admm), l->name);
    msw_unified_free(*u);
    must(msw_admm_unify(u, admm, 0), l->name);
    msw_admm_free(admm);
    msw_tensor_free(tensor);
    msw_tensor_free(pull);
    free(st.inputs);
    free(st.outputs);
    free(st.factor);
    free(st.x);
    free(st.pull);
}
