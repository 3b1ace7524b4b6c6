/* SPDX-License-Identifier: BSD-2-Clause */
#include "faults.h"
#include "internal.h"
#include "view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static faults memory;
static msw_context *ctx;

static msw_status make(const size_t *shape, uint32_t rank, const msw_plan_options *o)
{
    msw_plan *plan = (msw_plan *)&memory;
    const msw_status status = msw_plan_new(&plan, ctx, shape, rank, o);

    assert_true(!plan == !!status);
    msw_plan_free(plan);
    return status;
}

static msw_plan_options options(uint32_t weights, uint32_t r, uint32_t c)
{
    msw_plan_options o;

    msw_plan_options_init(&o);
    o.weights = weights;
    o.block_rows = r;
    o.block_columns = c;
    return o;
}

static void test_defaults(void **state)
{
    static const size_t shape[2] = {20, 33};
    msw_plan_info info;
    msw_plan *plan;

    (void)state;
    assert_int_equal(msw_plan_new(&plan, ctx, shape, 2, NULL), MSW_OK);
    assert_ptr_equal(msw_plan_ref(plan), plan);
    msw_plan_free(plan);
    msw_plan_info_init(&info);
    assert_int_equal(msw_plan_get_info(&info, plan), MSW_OK);
    assert_int_equal(info.rows, 20);
    assert_int_equal(info.columns, 33);
    assert_int_equal(info.block_row_count, 3);
    assert_int_equal(info.block_column_count, 5);
    assert_int_equal(info.block_count, 15);
    assert_int_equal(info.rank, 2);
    assert_int_equal(info.shape[0], 20);
    assert_int_equal(info.shape[1], 33);
    assert_int_equal(info.shape[2], 0);
    assert_int_equal(info.shape[3], 0);
    assert_int_equal(info.weights, MSW_WEIGHTS_OI);
    assert_int_equal(info.block_rows, 8);
    assert_int_equal(info.block_columns, 8);
    assert_int_equal(info.groups, 1);
    assert_int_equal(info.row_permuted, 0);
    assert_int_equal(info.column_permuted, 0);
    assert_null(msw_plan_row_permutation(plan));
    assert_null(msw_plan_column_permutation(plan));
    msw_plan_free(plan);
    msw_plan_free(NULL);
}

static void test_arguments(void **state)
{
    static const size_t two[2] = {8, 8}, four[4] = {8, 3, 5, 5}, zero[4] = {8, 0, 5, 5};
    msw_plan_options o = options(0, 0, 0);
    msw_plan_info info;
    msw_block block;
    msw_plan *plan;

    (void)state;
    assert_int_equal(msw_plan_new(NULL, ctx, two, 2, NULL), MSW_E_INVAL);
    plan = (msw_plan *)&memory;
    assert_int_equal(msw_plan_new(&plan, NULL, two, 2, NULL), MSW_E_INVAL);
    assert_null(plan);
    assert_int_equal(make(NULL, 2, NULL), MSW_E_INVAL);
    for (uint32_t weights = MSW_WEIGHTS_OI; weights <= MSW_WEIGHTS_OHWI; weights++) {
        o = options(weights, 0, 0);
        for (uint32_t rank = 0; rank < 6; rank++) {
            const bool fits = rank == (weights < MSW_WEIGHTS_OIHW ? 2u : 4u);
            static const size_t shape[5] = {8, 8, 8, 8, 8};

            assert_int_equal(make(shape, rank, &o), fits ? MSW_OK : MSW_E_INVAL);
        }
    }
    o = options(MSW_WEIGHTS_OIHW, 0, 0);
    assert_int_equal(make(zero, 4, &o), MSW_E_INVAL);
    o.reduction = 2;
    assert_int_equal(make(four, 4, &o), MSW_E_INVAL);
    o = options(4, 0, 0);
    assert_int_equal(make(four, 4, &o), MSW_E_INVAL);
    o = options(0, 64, 64);
    assert_int_equal(make(two, 2, &o), MSW_OK);
    o = options(0, 65, 1);
    assert_int_equal(make(two, 2, &o), MSW_E_INVAL);
    o = options(0, 1, 65);
    assert_int_equal(make(two, 2, &o), MSW_E_INVAL);
    o = options(MSW_WEIGHTS_OIHW, 0, 0);
    o.groups = 3; /* does not divide 8 */
    assert_int_equal(make(four, 4, &o), MSW_E_INVAL);
    o.groups = 16;
    assert_int_equal(make(four, 4, &o), MSW_E_INVAL);
    o.groups = 8;
    assert_int_equal(make(four, 4, &o), MSW_OK);

    assert_int_equal(msw_plan_new(&plan, ctx, two, 2, NULL), MSW_OK);
    msw_plan_info_init(&info);
    msw_block_init(&block);
    assert_int_equal(msw_plan_get_info(NULL, plan), MSW_E_INVAL);
    assert_int_equal(msw_plan_get_info(&info, NULL), MSW_E_INVAL);
    assert_int_equal(msw_plan_get_block(NULL, plan, 0), MSW_E_INVAL);
    assert_int_equal(msw_plan_get_block(&block, NULL, 0), MSW_E_INVAL);
    assert_int_equal(msw_plan_get_block(&block, plan, 1), MSW_E_RANGE);
    assert_int_equal(msw_plan_get_block(&block, plan, SIZE_MAX), MSW_E_RANGE);
    assert_int_equal(msw_plan_get_block(&block, plan, 0), MSW_OK);
    msw_plan_free(plan);
}

static void test_range(void **state)
{
    const size_t bound = UINT32_MAX; /* of rows, columns and blocks */
    const msw_plan_options o1 = options(MSW_WEIGHTS_OI, 1, 1);
    const msw_plan_options io = options(MSW_WEIGHTS_IO, 64, 64);
    const msw_plan_options oihw = options(MSW_WEIGHTS_OIHW, 64, 64);
#if SIZE_MAX > UINT32_MAX
    const size_t many = bound + 1;

    (void)state;
    assert_int_equal(make((const size_t[]){many, 1}, 2, NULL), MSW_E_RANGE);
    assert_int_equal(make((const size_t[]){1, many}, 2, NULL), MSW_E_RANGE);
    assert_int_equal(make((const size_t[]){many, 1}, 2, &io), MSW_E_RANGE);
    assert_int_equal(make((const size_t[]){bound, 1}, 2, &o1), MSW_OK);
    assert_int_equal(make((const size_t[]){1 << 16, (1 << 16) - 1}, 2, &o1), MSW_OK);
#else /* the bytes of so many weights cannot be counted */
    const size_t many = bound;

    (void)state;
    assert_int_equal(make((const size_t[]){many, 1}, 2, &io), MSW_E_RANGE);
    assert_int_equal(make((const size_t[]){1 << 16, 1 << 14}, 2, &o1), MSW_E_RANGE);
    assert_int_equal(make((const size_t[]){1 << 16, (1 << 14) - 1}, 2, &o1), MSW_OK);
#endif
    assert_int_equal(make((const size_t[]){1 << 16, 1 << 16}, 2, &o1), MSW_E_RANGE);
    assert_int_equal(make((const size_t[]){SIZE_MAX, SIZE_MAX}, 2, NULL), MSW_E_RANGE);
    assert_int_equal(make((const size_t[]){1, many, many, 1}, 4, &oihw), MSW_E_RANGE);
    assert_int_equal(make((const size_t[]){1, SIZE_MAX, 3, SIZE_MAX}, 4, &oihw),
                     MSW_E_RANGE);
}

/* Every element of the view lies in exactly one block, no block spans two groups, and
 * blocks come row by row. */
static void check_partition(size_t rows, size_t columns, uint32_t r, uint32_t c,
                            uint32_t groups)
{
    const size_t shape[2] = {rows, columns};
    msw_plan_options o = options(MSW_WEIGHTS_OI, r, c);
    unsigned char *covered = calloc(rows, columns);
    msw_plan *plan;
    msw_plan_info info;
    size_t row = 0, column = 0;

    o.groups = groups;
    assert_int_equal(msw_plan_new(&plan, ctx, shape, 2, &o), MSW_OK);
    msw_plan_info_init(&info);
    assert_int_equal(msw_plan_get_info(&info, plan), MSW_OK);
    assert_int_equal(info.block_count, info.block_row_count * info.block_column_count);
    for (size_t b = 0; b < info.block_count; b++) {
        const size_t group_end = (row / (rows / groups) + 1) * (rows / groups);
        msw_block block;

        msw_block_init(&block);
        assert_int_equal(msw_plan_get_block(&block, plan, b), MSW_OK);
        assert_int_equal(block.row, row);
        assert_int_equal(block.column, column);
        assert_int_equal(block.rows, group_end - row < r ? group_end - row : r);
        assert_int_equal(block.columns, columns - column < c ? columns - column : c);
        for (size_t i = 0; i < block.rows; i++)
            for (size_t j = 0; j < block.columns; j++)
                covered[(row + i) * columns + column + j]++;
        column += block.columns;
        if (column == columns) {
            column = 0;
            row += block.rows;
        }
    }
    assert_int_equal(row, rows);
    assert_int_equal(column, 0);
    for (size_t i = 0; i < rows * columns; i++)
        assert_int_equal(covered[i], 1);
    msw_plan_free(plan);
    free(covered);
}

static void test_partition(void **state)
{
    static const uint32_t sides[] = {1, 2, 3, 7, 8, 64};

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < 6; j++) {
            check_partition(1, 1, sides[i], sides[j], 1);
            check_partition(12, 17, sides[i], sides[j], 1);
            check_partition(12, 17, sides[i], sides[j], 4);
            check_partition(70, 65, sides[i], sides[j], 2);
            check_partition(12, 3, sides[i], sides[j], 12);
        }
    }
}

static void test_permutations(void **state)
{
    static const size_t shape[2] = {4, 3};
    const uint32_t rows[4] = {1, 0, 3, 2}, columns[3] = {2, 0, 1};
    static const struct {
        uint32_t rows[4], groups;
        msw_status status;
    } cases[] = {
        {{3, 2, 1, 0}, 1, MSW_OK},
        {{0, 0, 1, 2}, 1, MSW_E_INVAL},          /* twice */
        {{0, 1, 2, 4}, 1, MSW_E_INVAL},          /* no such row */
        {{0, 1, 2, UINT32_MAX}, 1, MSW_E_INVAL},
        {{1, 0, 3, 2}, 2, MSW_OK},
        {{2, 1, 0, 3}, 2, MSW_E_INVAL},          /* leaves its group */
    };
    msw_plan_options o = options(MSW_WEIGHTS_OI, 2, 2);
    msw_plan_info info;
    msw_plan *plan;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        o.row_permutation = cases[i].rows;
        o.groups = cases[i].groups;
        assert_int_equal(make(shape, 2, &o), cases[i].status);
    }
    o.groups = 1;
    o.row_permutation = rows;
    o.column_permutation = rows; /* not one of 3 columns */
    assert_int_equal(make(shape, 2, &o), MSW_E_INVAL);
    o.column_permutation = columns;
    assert_int_equal(msw_plan_new(&plan, ctx, shape, 2, &o), MSW_OK);
    assert_ptr_not_equal(msw_plan_row_permutation(plan), rows); /* copied */
    assert_memory_equal(msw_plan_row_permutation(plan), rows, sizeof rows);
    assert_memory_equal(msw_plan_column_permutation(plan), columns, sizeof columns);
    msw_plan_info_init(&info);
    assert_int_equal(msw_plan_get_info(&info, plan), MSW_OK);
    assert_int_equal(info.row_permuted, 1);
    assert_int_equal(info.column_permuted, 1);
    msw_plan_free(plan);
}

/* The view, element by element, straight from the words of msw/plan.h. */

enum { MAX_COLUMNS = 256 };

/* Indices into the tensor of view element (row, column), before permutations. */
static void naive_index(size_t index[4], uint32_t weights, uint32_t reduction,
                        const size_t *shape, size_t row, size_t column)
{
    size_t i, h, w, channels, height, width;

    if (weights == MSW_WEIGHTS_OI || weights == MSW_WEIGHTS_IO) {
        index[weights == MSW_WEIGHTS_OI ? 0 : 1] = row;
        index[weights == MSW_WEIGHTS_OI ? 1 : 0] = column;
        return;
    }
    channels = weights == MSW_WEIGHTS_OIHW ? shape[1] : shape[3];
    height = weights == MSW_WEIGHTS_OIHW ? shape[2] : shape[1];
    width = weights == MSW_WEIGHTS_OIHW ? shape[3] : shape[2];
    if (reduction == MSW_REDUCTION_CHANNELS) { /* (h, w, i) */
        h = column / (width * channels);
        w = column / channels % width;
        i = column % channels;
    } else { /* (i, h, w) */
        i = column / (height * width);
        h = column / width % height;
        w = column % width;
    }
    index[0] = row;
    index[weights == MSW_WEIGHTS_OIHW ? 1 : 3] = i;
    index[weights == MSW_WEIGHTS_OIHW ? 2 : 1] = h;
    index[weights == MSW_WEIGHTS_OIHW ? 3 : 2] = w;
}

static size_t naive_offset(const msw_plan *p, const msw_tensor *t, size_t row,
                           size_t column)
{
    size_t index[4] = {0}, offset = 0;

    naive_index(index, p->weights, p->reduction, t->shape,
                p->row_permutation ? p->row_permutation[row] : row,
                p->column_permutation ? p->column_permutation[column] : column);
    for (uint32_t axis = 0; axis < t->rank; axis++)
        offset += index[axis] * t->stride[axis];
    return offset;
}

static void check_view(const msw_plan *plan, const msw_tensor *t)
{
    float block[5 * MAX_COLUMNS];
    msw__view view;

    assert_int_equal(msw__view_new(&view, plan, t), MSW_OK);
    for (size_t r = 0; r < plan->rows; r++)
        for (size_t c = 0; c < plan->columns; c++) {
            const size_t offset = msw__view_row(&view, r) + view.columns[c];

            assert_int_equal(offset, naive_offset(plan, t, r, c));
            if (view.column_stride)
                assert_int_equal(view.columns[c], c * view.column_stride);
        }
    /* gather, change, scatter all but the first column of rows 1 to 3 */
    msw__view_gather(block, plan->columns + 1, &view, 1, 3, 1, plan->columns - 1);
    for (size_t r = 0; r < 3; r++)
        for (size_t c = 1; c < plan->columns; c++) {
            float *x = &block[r * (plan->columns + 1) + c - 1];

            assert_true(*x == t->data[naive_offset(plan, t, r + 1, c)]);
            *x = -*x;
        }
    msw__view_scatter(&view, 1, 3, 1, plan->columns - 1, block, plan->columns + 1);
    for (size_t r = 0; r < plan->rows; r++)
        for (size_t c = 0; c < plan->columns; c++) {
            const float x = t->data[naive_offset(plan, t, r, c)];

            assert_int_equal(x < 0, r >= 1 && r <= 3 && c >= 1);
        }
    msw__view_free(&view);
}

static void shuffle(uint32_t *order, size_t count, uint32_t *seed)
{
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    for (size_t i = count; i-- > 1;) {
        const size_t j = (*seed = *seed * 1664525u + 1013904223u) % (i + 1);
        const uint32_t other = order[j];

        order[j] = order[i];
        order[i] = other;
    }
}

/* Storage orders of the dimensions, outermost first, and a gap after each run. */
static void strides_for(size_t *strides, const size_t *shape, uint32_t rank,
                        uint32_t variant)
{
    size_t next = variant & 1 ? 3 : 1;

    for (uint32_t k = 0; k < rank; k++) {
        const uint32_t axis = variant & 2 ? k : rank - 1 - k;

        strides[axis] = next;
        next = next * shape[axis] + (variant & 4 ? 5 : 0);
    }
}

static void test_view(void **state)
{
    static const size_t shapes[][4] = {{6, 10, 0, 0}, {6, 3, 2, 4}, {5, 1, 3, 3},
                                       {5, 7, 1, 1}};
    static float data[20000];
    uint32_t rows[10], columns[MAX_COLUMNS], seed = 1;

    (void)state;
    for (uint32_t n = 0; n < 4 * 4 * 2 * 8 * 4; n++) {
        const uint32_t variant = n & 7, permuted = n >> 3 & 3, reduction = n >> 5 & 1;
        const uint32_t weights = n >> 6 & 3;
        const size_t *shape = shapes[n >> 8];
        const uint32_t rank = weights < MSW_WEIGHTS_OIHW ? 2 : 4;
        msw_plan_options o = options(weights, 3, 4);
        size_t strides[4];
        msw_tensor *t;
        msw_plan *plan;

        if (rank == 4 && shape[3] == 0)
            continue;
        strides_for(strides, shape, rank, variant);
        for (size_t i = 0; i < sizeof data / sizeof *data; i++)
            data[i] = (float)(i + 1);
        o.reduction = reduction;
        assert_int_equal(msw_plan_new(&plan, ctx, shape, rank, &o), MSW_OK);
        shuffle(rows, plan->rows, &seed);
        shuffle(columns, plan->columns, &seed);
        msw_plan_free(plan);
        o.row_permutation = permuted & 1 ? rows : NULL;
        o.column_permutation = permuted & 2 ? columns : NULL;
        assert_int_equal(msw_plan_new(&plan, ctx, shape, rank, &o), MSW_OK);
        assert_int_equal(msw_tensor_borrow(&t, ctx, data, shape, strides, rank), MSW_OK);
        if (plan->rows > 3)
            check_view(plan, t);
        msw_tensor_free(t);
        msw_plan_free(plan);
    }
}

/* A single column, and another shape of the same size. */
static void test_view_edges(void **state)
{
    static const size_t shape[2] = {5, 1}, other[2] = {1, 5};
    static float data[5] = {1, 2, 3, 4, 5};
    msw_plan *plan;
    msw_tensor *t, *wrong;
    msw__view view;
    float block[5];

    (void)state;
    assert_int_equal(msw_plan_new(&plan, ctx, shape, 2, NULL), MSW_OK);
    assert_int_equal(msw_tensor_borrow(&t, ctx, data, shape, NULL, 2), MSW_OK);
    assert_int_equal(msw_tensor_borrow(&wrong, ctx, data, other, NULL, 2), MSW_OK);
    assert_int_equal(msw__view_new(&view, plan, wrong), MSW_E_INVAL);
    assert_int_equal(msw__view_new(&view, plan, t), MSW_OK);
    msw__view_gather(block, 1, &view, 0, 5, 0, 1);
    assert_memory_equal(block, data, sizeof data);
    msw__view_free(&view);
    msw_tensor_free(t);
    msw_tensor_free(wrong);
    msw_plan_free(plan);
}

static int set_up(void **state)
{
    (void)state;
    ctx = faults_context(&memory);
    return !ctx;
}

static int tear_down(void **state)
{
    (void)state;
    msw_context_free(ctx);
    return !faults_clean(&memory);
}

/* Shapes whose rows, columns, blocks or bytes cannot be counted. */
static void test_overflow(void **state)
{
    static const size_t shapes[][4] = {{1 << 17, 1 << 16, 1, 1},
                                       {UINT32_MAX, UINT32_MAX, 1, 1},
                                       {(size_t)1 << 31, (size_t)1 << 31, 1, 1},
                                       {1, 1 << 16, 1 << 16, 1},
#if SIZE_MAX > UINT32_MAX
                                       {1, (size_t)1 << 33, (size_t)1 << 33, 1},
                                       {(size_t)UINT32_MAX + 1, 1, 1, 1},
#endif
    };
    msw_plan_options o;
    msw_plan *plan;

    (void)state;
    msw_plan_options_init(&o);
    o.weights = MSW_WEIGHTS_OIHW;
    o.block_rows = o.block_columns = 1;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        assert_int_equal(msw_plan_new(&plan, ctx, shapes[i], 4, &o), MSW_E_RANGE);
        assert_null(plan);
    }
    o.block_rows = o.block_columns = 64; /* fewer blocks */
    assert_int_equal(msw_plan_new(&plan, ctx, shapes[0], 4, &o),
                     SIZE_MAX > UINT32_MAX ? MSW_OK : MSW_E_RANGE);
    msw_plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_arguments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_range, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_partition, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_permutations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_view, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_view_edges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_overflow, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
