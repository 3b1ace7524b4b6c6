/* SPDX-License-Identifier: BSD-2-Clause */
/* A picture of a tensor: above the classes of its blocks, below the magnitudes. */
#define _GNU_SOURCE
#include "options.h"
#include "picture.h"
#include "view.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: msw show [-f] FILE TENSOR -o OUT.png\n"
    "FILE: .msw, safetensors, npy or npz\n"
    "\n"
    "Of a tensor in unified form the upper half shows the class of each block: white\n"
    "is pruned, blue unified (darker: a larger magnitude), orange free; merged blocks\n"
    "have a frame. The other half shows |weight|, darker for larger, of the matrix with\n"
    "one row per output.\n"
    "\n"
    "  -o, --output OUT.png\n"
    "  -f, --force          overwrite OUT.png\n";

static const struct option options[] = {
    {"output", required_argument, NULL, 'o'},
    {"force", no_argument, NULL, 'f'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0}
};

enum {
    SIDE_WANTED = 512, /* small tensors are magnified to about this */
    SIDE_MOST = 4096,  /* of larger ones a pixel is the largest of several weights */
    GAP = 8,
    FRAMED = 4         /* pixels of the side of a node that gets a frame */
};
static const uint8_t gap_colour[3] = {128, 128, 128};
static const uint8_t free_colour[3] = {230, 140, 30}, unified_colour[3] = {20, 60, 200};
static const uint8_t black[3] = {0, 0, 0};

struct request {
    const char *input, *tensor, *output;
    bool force;
};

/* A cell of the picture is zoom pixels wide and stands for step x step weights. */
struct scale {
    size_t zoom, step, columns, rows;
};

static int read_options(struct request *r, int argc, char **argv, struct problem *p)
{
    size_t length;
    int option;

    while ((option = getopt_long(argc, argv, "o:fh", options, NULL)) >= 0) {
        switch (option) {
        case 'o':
            r->output = optarg;
            break;
        case 'f':
            r->force = true;
            break;
        case 'h':
            help_exit(help);
        default:
            return usage_problem(p, "show");
        }
    }
    if (optind + 2 != argc)
        return problem_set(p, CODE_USAGE, "show: a file and a tensor's name are needed");
    if (!r->output)
        return problem_set(p, CODE_USAGE, "show: -o OUT.png is missing");
    length = strlen(r->output);
    if (length < 4 || strcmp(r->output + length - 4, ".png") != 0)
        return problem_set(p, CODE_USAGE, "%s: does not end in .png", r->output);
    r->input = argv[optind];
    r->tensor = argv[optind + 1];
    return p->code;
}

static struct scale choose_scale(const struct view *v)
{
    const size_t side = v->rows > v->columns ? v->rows : v->columns;
    struct scale s = {1, 1, 0, 0};

    if (side < SIDE_WANTED)
        s.zoom = SIDE_WANTED / side;
    else
        s.step = (side + SIDE_MOST - 1) / SIDE_MOST;
    s.columns = (v->columns + s.step - 1) / s.step;
    s.rows = (v->rows + s.step - 1) / s.step;
    return s;
}

/* From white to the colour. */
static void shade(uint8_t out[3], const uint8_t colour[3], double share)
{
    for (int i = 0; i < 3; i++)
        out[i] = (uint8_t)lround(255 - share * (255 - colour[i]));
}

static float largest(const struct view *v, size_t row, size_t column, size_t step)
{
    const size_t last_row = row + step < v->rows ? row + step : v->rows;
    const size_t last_column = column + step < v->columns ? column + step : v->columns;
    float most = 0;

    for (size_t r = row; r < last_row; r++)
        for (size_t c = column; c < last_column; c++)
            if (fabsf(v->values[r * v->columns + c]) > most)
                most = fabsf(v->values[r * v->columns + c]);
    return most;
}

static float largest_finite(const struct view *v)
{
    float most = 0;

    for (size_t i = 0; i < v->rows * v->columns; i++)
        if (isfinite(v->values[i]) && fabsf(v->values[i]) > most)
            most = fabsf(v->values[i]);
    return most;
}

static void draw_magnitudes(struct picture *picture, const struct view *v,
                            const struct scale *s, size_t top)
{
    const float most = largest_finite(v);

    for (size_t r = 0; r < s->rows; r++)
        for (size_t c = 0; c < s->columns; c++) {
            const float value = largest(v, r * s->step, c * s->step, s->step);
            uint8_t colour[3];

            shade(colour, black, most > 0 ? fmin(1, (double)(value / most)) : 0);
            picture_fill(picture, c * s->zoom, top + r * s->zoom, s->zoom, s->zoom, colour);
        }
}

/* A unified block has one magnitude; its first weight has it. */
static float block_magnitude(const struct view *v, const msw_block *b)
{
    return fabsf(v->values[b->row * v->columns + b->column]);
}

static float largest_unified(const struct view *v, size_t blocks)
{
    const uint8_t *classes = msw_unified_classes(v->unified);
    float most = 0;
    msw_block b;

    msw_block_init(&b);
    for (size_t i = 0; i < blocks; i++)
        if (classes[i] == MSW_CLASS_UNIFIED &&
            !msw_plan_get_block(&b, msw_unified_plan(v->unified), i) &&
            block_magnitude(v, &b) > most)
            most = block_magnitude(v, &b);
    return most;
}

static void draw_block(struct picture *picture, const struct scale *s, const msw_block *b,
                       const uint8_t colour[3])
{
    const size_t x = b->column / s->step, y = b->row / s->step;
    const size_t right = (b->column + b->columns + s->step - 1) / s->step;
    const size_t bottom = (b->row + b->rows + s->step - 1) / s->step;

    picture_fill(picture, x * s->zoom, y * s->zoom, (right - x) * s->zoom,
                 (bottom - y) * s->zoom, colour);
}

/* Where two blocks of the same node meet there is no line. */
static void frame_block(struct picture *picture, const struct scale *s, const msw_block *b,
                        const msw_plan_info *plan, size_t block, unsigned level)
{
    const size_t x = b->column / s->step * s->zoom, y = b->row / s->step * s->zoom;
    const size_t right = (b->column + b->columns + s->step - 1) / s->step * s->zoom;
    const size_t bottom = (b->row + b->rows + s->step - 1) / s->step * s->zoom;
    const size_t group = plan->block_row_count / plan->groups, side = (size_t)1 << level;
    const size_t i = block / plan->block_column_count % group;
    const size_t j = block % plan->block_column_count;

    if (i % side == 0)
        picture_fill(picture, x, y, right - x, 1, gap_colour);
    if (j % side == 0)
        picture_fill(picture, x, y, 1, bottom - y, gap_colour);
    if ((i + 1) % side == 0 || i + 1 == group)
        picture_fill(picture, x, bottom - 1, right - x, 1, gap_colour);
    if ((j + 1) % side == 0 || j + 1 == plan->block_column_count)
        picture_fill(picture, right - 1, y, 1, bottom - y, gap_colour);
}

/* In pixels, the shorter one. */
static size_t side_of_node(const msw_plan_info *plan, const struct scale *s, unsigned level)
{
    const size_t side = plan->block_rows < plan->block_columns ? plan->block_rows
                                                               : plan->block_columns;

    return (side << level) * s->zoom / s->step;
}

/* Nodes of merged blocks, where they are large enough to be seen. */
static void draw_frames(struct picture *picture, const struct view *v,
                        const struct scale *s)
{
    const uint8_t *levels = msw_unified_merge_levels(v->unified);
    msw_plan_info plan;
    msw_block b;

    msw_plan_info_init(&plan);
    msw_block_init(&b);
    if (!levels || msw_plan_get_info(&plan, msw_unified_plan(v->unified)))
        return;
    for (size_t i = 0; i < plan.block_count; i++)
        if (levels[i] && side_of_node(&plan, s, levels[i]) >= FRAMED &&
            !msw_plan_get_block(&b, msw_unified_plan(v->unified), i))
            frame_block(picture, s, &b, &plan, i, levels[i]);
}

/* Unified blocks begin at a quarter of their colour: even a small magnitude shows. */
static void draw_classes(struct picture *picture, const struct view *v,
                         const struct scale *s, size_t blocks)
{
    const uint8_t *classes = msw_unified_classes(v->unified);
    const float most = largest_unified(v, blocks);
    msw_block b;

    msw_block_init(&b);
    for (size_t i = 0; i < blocks; i++) {
        uint8_t colour[3];

        if (msw_plan_get_block(&b, msw_unified_plan(v->unified), i))
            return;
        if (classes[i] == MSW_CLASS_FREE)
            memcpy(colour, free_colour, sizeof colour);
        else if (classes[i] == MSW_CLASS_PRUNED || most <= 0)
            shade(colour, black, 0);
        else
            shade(colour, unified_colour,
                  0.25 + 0.75 * (double)(block_magnitude(v, &b) / most));
        draw_block(picture, s, &b, colour);
    }
}

static int draw(struct picture *picture, const struct view *v, struct problem *p)
{
    const struct scale s = choose_scale(v);
    const size_t width = s.columns * s.zoom, height = s.rows * s.zoom;
    const size_t top = v->unified ? height + GAP : 0;
    msw_unified_info info;

    if (picture_new(picture, width, top + height, p))
        return p->code;
    if (v->unified) {
        msw_unified_info_init(&info);
        if (msw_unified_get_info(&info, v->unified) == MSW_OK)
            draw_classes(picture, v, &s, (size_t)info.blocks);
        draw_frames(picture, v, &s);
        picture_fill(picture, 0, height, width, GAP, gap_colour);
    }
    draw_magnitudes(picture, v, &s, top);
    return p->code;
}

static int show(struct model *m, const struct request *r, struct problem *p)
{
    const struct item *item = model_find(m, r->tensor);
    struct picture picture = {0, 0, NULL};
    struct output output;
    struct view view;

    if (!item)
        return problem_set(p, CODE_INPUT, "%s: %s: no such tensor", m->path, r->tensor);
    if (!item_is_tensor(item))
        return model_problem(p, CODE_INPUT, m, item, "no floats of 1 to 4 dimensions");
    if (output_open(&output, r->output, r->force, p))
        return p->code;
    if (view_new(&view, m, item, p) == CODE_OK) {
        if (draw(&picture, &view, p) == CODE_OK &&
            picture_write(&picture, &output, p) == CODE_OK)
            output_commit(&output, p);
        view_free(&view);
    }
    picture_free(&picture);
    output_close(&output);
    return p->code;
}

int command_show(int argc, char **argv, struct problem *p)
{
    struct request request;
    struct model m;
    msw_context *ctx = NULL;

    memset(&request, 0, sizeof request);
    if (read_options(&request, argc, argv, p) == CODE_OK &&
        context_open(&ctx, 1, p) == CODE_OK &&
        model_open(&m, ctx, request.input, p) == CODE_OK) {
        show(&m, &request, p);
        model_close(&m);
    }
    msw_context_free(ctx);
    return p->code;
}
