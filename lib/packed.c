/* SPDX-License-Identifier: BSD-2-Clause */
#include "packed.h"

#include "bytes.h"
#include "conv.h"
#include "packing.h"

/* Where a packing's counts lie in its header. */
enum {
    HEADER_BYTES = 64,
    HEADER_CHUNKS = 0,
    HEADER_STAGES = 8,
    HEADER_COLUMNS = 16,
    HEADER_TABLES = 24,
    HEADER_CODE = 32,
    HEADER_FLAGS = 40,
    HEADER_ZERO = 44,
    FLAG_SKIPS = 1
};
enum { LEAST_WIDTH = 4, MOST_WIDTH = 64 };

_Static_assert(sizeof(msw__stage) == 40 && sizeof(msw__chunk) == 40, "as in files");

bool msw__packed_native(void)
{
    const uint32_t one = 1;
    uint8_t first;

    memcpy(&first, &one, 1);
    return first == 1;
}

/* Layouts */

static uint32_t version_of(msw__gemm_kind kind)
{
    return kind == MSW__GEMM_WIDE ? MSW__WIDE_LAYOUT : MSW__NARROW_LAYOUT;
}

static uint32_t layout_of(msw__gemm_kind kind, uint32_t width, uint32_t strip_rows)
{
    return msw__layout(version_of(kind), width,
                       kind == MSW__GEMM_WIDE ? strip_rows : MSW__NARROW_LANES);
}

uint32_t msw__packed_layout(msw__gemm_kind kind, const msw__packing *w)
{
    return w->chunk_count ? layout_of(kind, w->width, w->strip_rows) : 0;
}

uint32_t msw__packed_wanted(msw__gemm_kind kind, const msw_plan *plan,
                            const msw__gemm_traits *traits)
{
    const uint32_t parts = kind == MSW__GEMM_WIDE
                               ? msw__ceil_div(plan->block_rows, traits->strip_rows) : 1;

    return layout_of(kind, traits->width, msw__ceil_div(plan->block_rows, parts));
}

bool msw__packed_known(msw__gemm_kind kind, uint32_t layout)
{
    const uint32_t width = msw__layout_width(layout), rows = msw__layout_rows(layout);

    return msw__layout_version(layout) == version_of(kind) && width >= LEAST_WIDTH &&
           width <= MOST_WIDTH && (width & (width - 1)) == 0 &&
           (kind == MSW__GEMM_WIDE ? rows > 0 && rows <= MSW__WIDE_STRIP
                                   : rows == MSW__NARROW_LANES && width == LEAST_WIDTH);
}

/* Arrays */

typedef struct array {
    const void *data;
    size_t count, size;
} array;

enum { ARRAYS = 5 };

static void list_arrays(array out[ARRAYS], const msw__packing *w)
{
    out[0] = (array){w->chunks, w->chunk_count, sizeof *w->chunks};
    out[1] = (array){w->stages, w->stage_count, sizeof *w->stages};
    out[2] = (array){w->column, w->column_count, sizeof *w->column};
    out[3] = (array){w->table, w->table_count, sizeof *w->table};
    out[4] = (array){w->code, w->code_count + MSW__CODE_PADDING, sizeof *w->code};
}

static size_t aligned(size_t bytes)
{
    return (bytes + MSW__FILE_ALIGN - 1) / MSW__FILE_ALIGN * MSW__FILE_ALIGN;
}

/* Unified blocks of magnitude 0, which are in no packing: their bits. */

static size_t idle_bits(const msw_unified *u)
{
    const msw_plan *p = u->plan;
    const float *magnitude = u->magnitudes;
    const uint8_t *class = u->classes;
    size_t bits = 0;

    for (size_t i = 0; i < p->block_row_count; i++)
        for (size_t j = 0; j < p->block_column_count; j++)
            if (*class++ == MSW_CLASS_UNIFIED && *magnitude++ == 0)
                bits += 1 + msw__plan_rows(p, i) * msw__plan_columns(p, j);
    return bits;
}

static void put_idle(uint8_t *out, const msw_unified *u)
{
    const msw_plan *p = u->plan;
    const float *magnitude = u->magnitudes;
    const uint8_t *class = u->classes;
    size_t bit = 0, sign = 0;

    for (size_t i = 0; i < p->block_row_count; i++)
        for (size_t j = 0; j < p->block_column_count; j++) {
            const size_t weights = msw__plan_rows(p, i) * msw__plan_columns(p, j);

            if (*class++ != MSW_CLASS_UNIFIED)
                continue;
            if (*magnitude == 0) {
                if (msw__float_bits(magnitude))
                    msw__sign_set(out, bit);
                bit++;
                for (size_t k = 0; k < weights; k++, bit++)
                    if (msw__sign_get(u->signs, sign + k))
                        msw__sign_set(out, bit);
            }
            magnitude++;
            sign += weights;
        }
}

/* Writing */

size_t msw__packed_bytes(const msw__packing *packs, const msw_unified *u,
                         const msw__class_code *code)
{
    size_t bytes = msw__class_map_bytes(code, u->plan->block_count) + (idle_bits(u) + 7) / 8;

    bytes = aligned(bytes);
    for (size_t k = 0; k < MSW__LAYOUTS * (size_t)u->plan->groups; k++) {
        array arrays[ARRAYS];

        if (!packs[k].chunk_count)
            continue;
        list_arrays(arrays, &packs[k]);
        bytes += HEADER_BYTES;
        for (int i = 0; i < ARRAYS; i++)
            bytes += aligned(arrays[i].count * arrays[i].size);
    }
    return bytes;
}

static uint8_t *put_packing(uint8_t *out, const msw__packing *w)
{
    array arrays[ARRAYS];

    msw__store64(out + HEADER_CHUNKS, w->chunk_count);
    msw__store64(out + HEADER_STAGES, w->stage_count);
    msw__store64(out + HEADER_COLUMNS, w->column_count);
    msw__store64(out + HEADER_TABLES, w->table_count);
    msw__store64(out + HEADER_CODE, w->code_count);
    msw__store32(out + HEADER_FLAGS, w->skips ? FLAG_SKIPS : 0);
    out += HEADER_BYTES;
    list_arrays(arrays, w);
    for (int i = 0; i < ARRAYS; i++) {
        const size_t bytes = arrays[i].count * arrays[i].size;

        if (bytes)
            memcpy(out, arrays[i].data, bytes);
        out += aligned(bytes);
    }
    return out;
}

void msw__packed_encode(uint8_t *out, const msw__packing *packs, const msw_unified *u,
                        const msw__class_code *code)
{
    const size_t blocks = u->plan->block_count;

    memset(out, 0, msw__packed_bytes(packs, u, code));
    for (size_t k = 0; k < MSW__LAYOUTS * (size_t)u->plan->groups; k++)
        if (packs[k].chunk_count)
            out = put_packing(out, &packs[k]);
    msw__class_map_encode(out, u->classes, blocks, code);
    put_idle(out + msw__class_map_bytes(code, blocks), u);
}

/* Finding */

typedef struct cursor {
    const uint8_t *at;
    size_t left;
} cursor;

static bool zeros(const uint8_t *p, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (p[i])
            return false;
    return true;
}

/* The next array, with `more` elements of zeros behind it. NULL: it is not there. The
 * result is not written to. */
static void *take_array(cursor *c, uint64_t count, size_t size, size_t more)
{
    const uint8_t *from = c->at;
    size_t bytes, all;

    if (count > c->left / size)
        return NULL;
    bytes = (size_t)count * size;
    all = aligned(bytes + more * size);
    if (all > c->left || !zeros(from + bytes, all - bytes))
        return NULL;
    c->at += all;
    c->left -= all;
    return (void *)(uintptr_t)from;
}

static const char *take_packing(msw__packing *w, cursor *c)
{
    const uint8_t *header = c->at;

    if (c->left < HEADER_BYTES || msw__load32(header + HEADER_FLAGS) > FLAG_SKIPS ||
        !zeros(header + HEADER_ZERO, HEADER_BYTES - HEADER_ZERO))
        return "the header of a packing";
    c->at += HEADER_BYTES;
    c->left -= HEADER_BYTES;
    w->borrowed = true;
    w->skips = msw__load32(header + HEADER_FLAGS) & FLAG_SKIPS;
    w->chunks = take_array(c, msw__load64(header + HEADER_CHUNKS), sizeof *w->chunks, 0);
    if (w->chunks)
        w->stages = take_array(c, msw__load64(header + HEADER_STAGES), sizeof *w->stages, 0);
    if (w->stages)
        w->column = take_array(c, msw__load64(header + HEADER_COLUMNS), sizeof *w->column, 0);
    if (w->column)
        w->table = take_array(c, msw__load64(header + HEADER_TABLES), sizeof *w->table, 0);
    if (w->table)
        w->code = take_array(c, msw__load64(header + HEADER_CODE), sizeof *w->code,
                             MSW__CODE_PADDING);
    if (!w->code)
        return "the arrays of a packing";
    w->chunk_count = (size_t)msw__load64(header + HEADER_CHUNKS);
    w->stage_count = (size_t)msw__load64(header + HEADER_STAGES);
    w->column_count = (size_t)msw__load64(header + HEADER_COLUMNS);
    w->table_count = (size_t)msw__load64(header + HEADER_TABLES);
    w->code_count = (size_t)msw__load64(header + HEADER_CODE);
    return w->chunk_count && w->stage_count ? NULL : "a packing of nothing";
}

/* One of them, whose kind and layout are those of the record. */
static const char *take_kind(msw__packing *w, cursor *c, msw__gemm_kind kind, uint32_t layout,
                             const msw_plan *plan)
{
    const char *reason = take_packing(w, c);

    if (reason)
        return reason;
    if (!msw__packed_known(kind, layout)) {
        memset(w, 0, sizeof *w);
        return NULL;
    }
    w->width = msw__layout_width(layout);
    w->strip_rows = msw__layout_rows(layout);
    if (kind == MSW__GEMM_WIDE)
        msw__wide_geometry(w, plan);
    else
        msw__narrow_geometry(w, plan);
    return NULL;
}

static const char *take_all(msw__packed *p, cursor *c, const msw__record *record,
                            size_t block_count)
{
    for (size_t i = 0; i < p->groups * MSW__LAYOUTS; i++) {
        const msw__gemm_kind kind = (msw__gemm_kind)(i % MSW__LAYOUTS);
        const uint32_t layout = record->layouts[kind];
        const char *reason =
            layout ? take_kind(&p->packs[i], c, kind, layout, p->group) : NULL;

        if (reason)
            return reason;
    }
    if (c->left < msw__class_map_bytes(&p->code, block_count))
        return "its class map";
    p->classes = c->at;
    p->rest_bytes = c->left;
    return NULL;
}

static msw_status open_groups(msw__packed *p, msw_plan *plan)
{
    void *memory;
    msw_status status = MSW_OK;

    if (plan->groups > 1)
        status = msw__group_plan(&p->group, plan, 0);
    else
        p->group = msw_plan_ref(plan);
    if (status)
        return status;
    p->groups = plan->groups;
    status = msw__calloc(&memory, plan->ctx, p->groups * MSW__LAYOUTS, sizeof *p->packs);
    p->packs = memory;
    return status;
}

void msw__packed_close(msw__packed *p)
{
    if (p->group)
        msw__free(p->group->ctx, p->packs, p->groups * MSW__LAYOUTS, sizeof *p->packs);
    msw_plan_free(p->group);
    p->packs = NULL;
    p->group = NULL;
}

msw_status msw__packed_locate(const char **reason, msw__packed *out, const uint8_t *data,
                              size_t size, const msw__record *record, msw_plan *plan)
{
    cursor c = {data, size};
    msw_status status;

    memset(out, 0, sizeof *out);
    *reason = NULL;
    out->size = size;
    if (!msw__class_code_from(&out->code, record->classes))
        *reason = "its classes";
    else if (plan->groups > size / HEADER_BYTES) /* before there is memory for each */
        *reason = "fewer packings than it has groups";
    if (*reason)
        return MSW_OK;
    status = open_groups(out, plan);
    if (!status)
        *reason = take_all(out, &c, record, plan->block_count);
    if (status || *reason)
        msw__packed_close(out);
    return status;
}

/* Checking */

bool msw__strip_step(uint8_t *state, uint32_t head)
{
    const bool first = head & MSW__STRIP_FIRST;

    if (*state != (first ? MSW__STRIP_NEW : MSW__STRIP_BEGUN))
        return false;
    *state = head & MSW__STRIP_LAST ? MSW__STRIP_DONE : MSW__STRIP_BEGUN;
    return true;
}

size_t msw__view_column(const msw__packed_walk *k, const uint32_t *from)
{
    if (*from >= k->plan->columns)
        return SIZE_MAX;
    return k->view_column ? k->view_column[*from] : *from;
}

bool msw__columns_are(const msw__packed_walk *k, const uint32_t *from, size_t column,
                      size_t count, size_t all)
{
    for (size_t i = 0; i < all; i++)
        if (i < count ? msw__view_column(k, from + i) != column + i
                      : from[i] != MSW__NO_COLUMN)
            return false;
    return true;
}

static msw_status find_view_columns(uint32_t **out, const msw_plan *plan)
{
    msw_status status;

    *out = NULL;
    if (!plan->column_permutation)
        return MSW_OK;
    status = msw__alloc_array(out, plan->ctx, plan->columns, sizeof **out);
    for (size_t c = 0; c < plan->columns && !status; c++)
        (*out)[plan->column_permutation[c]] = (uint32_t)c;
    return status;
}

/* The packings of a group. */
static msw_status walk_group(const char **reason, msw__packing *packs, msw__packed_walk *k)
{
    msw__packing *wide = &packs[MSW__GEMM_WIDE], *narrow = &packs[MSW__GEMM_NARROW];
    msw__unpacker *unpacker = k->unpacker;
    const size_t strips =
        wide->chunk_count ? msw__wide_strips(k->plan, wide->strip_rows) : 0;
    msw_status status;

    *reason = strips > wide->code_count / MSW__WIDE_HEADER /* every strip has a header */
                  ? "fewer strips than it has rows" : NULL;
    if (*reason)
        return MSW_OK;
    status = msw__alloc_array(&k->strips, k->plan->ctx, strips, 1);
    if (status)
        return status;
    if (wide->chunk_count) {
        *reason = msw__wide_check(wide, k);
        k->unpacker = NULL; /* the weights are known */
    }
    if (!*reason && narrow->chunk_count)
        *reason = msw__narrow_check(narrow, k);
    k->unpacker = unpacker;
    msw__free(k->plan->ctx, k->strips, strips, 1);
    return MSW_OK;
}

static msw_status walk(const char **reason, msw__packed *p, bool values,
                       msw__unpacker *unpacker)
{
    const msw_plan *plan = p->group;
    msw__packed_walk k = {.plan = plan, .values = values, .unpacker = unpacker};
    uint32_t *view_column;
    msw_status status = find_view_columns(&view_column, plan);

    *reason = NULL;
    k.view_column = view_column;
    for (size_t i = 0; i < p->groups && !status && !*reason; i++) {
        if (unpacker)
            msw__unpack_group(unpacker, i * plan->rows);
        status = walk_group(reason, p->packs + i * MSW__LAYOUTS, &k);
    }
    msw__free(plan->ctx, view_column, plan->columns, sizeof *view_column);
    return status;
}

msw_status msw__packed_check(const char **reason, msw__packed *p, bool values)
{
    return walk(reason, p, values, NULL);
}

msw_status msw__packed_walk_all(const char **reason, msw__packed *p, msw__unpacker *unpacker)
{
    return walk(reason, p, true, unpacker);
}
