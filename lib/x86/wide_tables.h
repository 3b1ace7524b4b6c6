/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of wide.h that reads X: into the panel buffer, and into tables. */

/* Rows of x */

/* @p pieces: room for all lanes of the panel. */
static void plan_pieces(run *r, piece *pieces)
{
    const msw__gather *g = r->p->gather;

    for (size_t v = 0; v < 2; v++, pieces += LANES) {
        const size_t first = v * LANES, end = r->width < first ? first : r->width;
        const size_t lanes = end - first < LANES ? end - first : LANES;
        size_t count = 0, next;

        for (size_t lane = 0; lane < lanes; lane = next) {
            const size_t n = r->column + first + lane, left = g->run - n % g->run;

            next = left < lanes - lane ? lane + left : lanes;
            pieces[count].place = msw__gather_column(g, n) - lane;
            pieces[count++].use = mask_from(lane, next);
        }
        r->pieces[v] = pieces;
        r->piece_count[v] = count;
    }
}

/* @p place may be before x, where lanes are not in use. */
INLINE const float *at(const float *x, size_t place)
{
    return (const float *)((uintptr_t)x + place * sizeof *x);
}

/* How a stage reads X: its columns together, and if WHOLE, as many as a panel has; or in
 * one or two pieces of each vector, or in any number. */
enum { TOGETHER = 0, ONE_PIECE = 1, TWO_PIECES = 2, PIECES = 3, WHOLE = 4 };

/* Vector v of the panel's part of a row of x. */
INLINE vector load_x(const int SOURCE, const run *r, uint32_t row, int v)
{
    const msw__gather *g = r->p->gather;
    vector value = zero_v();

    if (row == MSW__NO_COLUMN)
        return value;
    if (SOURCE == WHOLE)
        return load_any(r->p->x + row * r->p->x_row + r->column + v * LANES);
    if (SOURCE == TOGETHER)
        return load_mask(r->p->x + row * r->p->x_row + r->column + v * LANES, r->use[v]);
    for (size_t k = 0; k < (SOURCE == PIECES ? r->piece_count[v] : (size_t)SOURCE); k++)
        value = load_more(value, at(g->x, g->row[row] + r->pieces[v][k].place),
                          r->pieces[v][k].use);
    return value;
}

INLINE void load_panel(const int NV, const int SOURCE, const run *r, float *to,
                       const uint32_t *row, size_t count)
{
    for (size_t i = 0; i < count; i++, to += NV * LANES)
        UNROLL for (int v = 0; v < NV; v++)
            store_v(to + v * LANES, load_x(SOURCE, r, row[i], v));
}

static bool run_of_8(const uint32_t *column)
{
    for (uint32_t i = 1; i < 8; i++)
        if (column[i] != column[0] + i)
            return false;
    return column[7] != MSW__NO_COLUMN;
}

static void load_rows(const run *r, size_t width, const uint32_t *column, size_t count)
{
    const float *x = r->p->x + r->column * r->p->x_column;
    size_t i = 0;

    while (i < count) {
        float *to = r->panel + i * width;

        if (i + 8 <= count && run_of_8(column + i)) {
            for (size_t n = 0; n < width; n += 8)
                transpose_in(to + n, width, x + n * r->p->x_column + column[i],
                             r->p->x_column, r->width > n ? r->width - n : 0);
            i += 8;
            continue;
        }
        for (size_t n = 0; n < width; n++)
            to[n] = column[i] != MSW__NO_COLUMN && n < r->width
                        ? x[n * r->p->x_column + column[i]] : 0;
        i++;
    }
}

/* Tables */

/* One vector of each entry. */
INLINE void build_table(const int NV, float *t, vector x0, vector x1, vector x2, vector x3)
{
    const vector a = add_v(x0, x1), b = sub_v(x0, x1);
    const vector c = add_v(x2, x3), d = sub_v(x2, x3);
    /* entry e + 8 negates x3, entry 15 - e is minus entry e */
    const vector half[8] = {add_v(a, c), sub_v(c, b), add_v(b, c), sub_v(c, a),
                            sub_v(a, d), neg_v(add_v(b, d)), sub_v(b, d),
                            neg_v(add_v(a, d))};

    UNROLL for (int e = 0; e < 8; e++) {
        store_v(t + e * NV * LANES, half[e]);
        store_v(t + (15 - e) * NV * LANES, neg_v(half[e]));
    }
}

/* The tables of a slice, from its rows of x or from those of the panel buffer. */
INLINE void build_from_x(const int NV, const int SOURCE, const run *r, float *t,
                         const uint32_t *row)
{
    const uint32_t columns = r->w->columns;

    for (uint32_t c = 0; c < columns; c += MSW__GROUP, t += MSW__ENTRIES * NV * LANES)
        UNROLL for (int v = 0; v < NV; v++) {
            vector x[MSW__GROUP];

            UNROLL for (uint32_t i = 0; i < MSW__GROUP; i++)
                x[i] = c + i < columns ? load_x(SOURCE, r, row[c + i], v) : zero_v();
            build_table(NV, t + v * LANES, x[0], x[1], x[2], x[3]);
        }
}

INLINE void build_from_panel(const int NV, const run *r, float *t, const float *panel)
{
    const uint32_t columns = r->w->columns;

    for (uint32_t c = 0; c < columns; c += MSW__GROUP, t += MSW__ENTRIES * NV * LANES)
        UNROLL for (int v = 0; v < NV; v++) {
            vector x[MSW__GROUP];

            UNROLL for (uint32_t i = 0; i < MSW__GROUP; i++)
                x[i] = c + i < columns ? load_v(panel + ((c + i) * NV + (size_t)v) * LANES)
                                       : zero_v();
            build_table(NV, t + v * LANES, x[0], x[1], x[2], x[3]);
        }
}

/* The panel buffer and the tables of a stage, slice by slice. */
INLINE void prepare(const int NV, const int SOURCE, const run *r, const msw__stage *s)
{
    const msw__packing *w = r->w;
    const size_t slice = (size_t)w->columns * NV * LANES;
    const size_t tables = (size_t)w->groups * MSW__ENTRIES * NV * LANES;
    const uint16_t *next = w->table + s->table, *end = next + s->tables;
    const uint32_t *row = w->column + s->column;
    float *t = r->tables, *panel = r->panel;

    if (r->rows)
        return;
    for (uint32_t i = 0; i < s->slices; i++, row += w->columns, panel += slice) {
        const bool has = next < end && (*next & MSW__SLICE_MASK) == i;

        if (has && *next & MSW__SLICE_NO_PANEL) {
            build_from_x(NV, SOURCE, r, t, row);
        } else {
            load_panel(NV, SOURCE, r, panel, row, w->columns);
            if (has)
                build_from_panel(NV, r, t, panel);
        }
        next += has;
        t += has ? tables : 0;
    }
}

INLINE void prepare_across(const int NV, const run *r, const msw__stage *s)
{
    const msw__packing *w = r->w;
    const size_t slice = (size_t)w->columns * NV * LANES;
    float *t = r->tables;

    load_rows(r, (size_t)NV * LANES, w->column + s->column, (size_t)s->slices * w->columns);
    for (uint32_t i = 0; i < s->tables; i++) {
        const size_t number = w->table[s->table + i] & MSW__SLICE_MASK;

        build_from_panel(NV, r, t, r->panel + number * slice);
        t += (size_t)w->groups * MSW__ENTRIES * NV * LANES;
    }
}

INLINE void prepare_stage(const int NV, const run *r, const msw__stage *s)
{
    const size_t a = r->piece_count[0], b = NV > 1 ? r->piece_count[1] : a;

    if (r->p->across)
        prepare_across(NV, r, s);
    else if (!r->p->gather && r->width == (size_t)NV * LANES)
        prepare(NV, WHOLE, r, s);
    else if (!r->p->gather)
        prepare(NV, TOGETHER, r, s);
    else if (a == 1 && b == 1)
        prepare(NV, ONE_PIECE, r, s);
    else if (a == 2 && b == 2)
        prepare(NV, TWO_PIECES, r, s);
    else
        prepare(NV, PIECES, r, s);
}
