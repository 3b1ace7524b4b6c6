/* SPDX-License-Identifier: BSD-2-Clause */
/* NULL for each thing that must be there, in every function that can say so: refused, and
 * what was to be made is NULL. */
#include <msw/msw.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 6, COLUMNS = 8 };

/* One of everything. */
static struct all {
    msw_context *ctx;
    msw_plan *plan;
    msw_tensor *tensor;
    msw_unified *u;
    msw_gemm *gemm;
    msw_conv *conv;
    msw_admm *admm;
    msw_budget *budget;
    msw_permutation *permutation;
    msw_wisdom *wisdom;
    msw_writer *writer;
    msw_reader *reader;
    unsigned char file[4096];
    size_t file_size;
} all;

static const size_t shape[2] = {ROWS, COLUMNS};

static int set_up(void **state)
{
    float *w;

    (void)state;
    assert_int_equal(msw_context_new(&all.ctx, NULL), MSW_OK);
    assert_int_equal(msw_plan_new(&all.plan, all.ctx, shape, 2, NULL), MSW_OK);
    assert_int_equal(msw_tensor_new(&all.tensor, all.ctx, shape, 2), MSW_OK);
    w = msw_tensor_data(all.tensor);
    for (size_t i = 0; i < ROWS * COLUMNS; i++)
        w[i] = (float)(i * 7 % 5) - 2;
    assert_int_equal(msw_unified_from(&all.u, all.plan, all.tensor, NULL), MSW_OK);
    assert_int_equal(msw_gemm_new(&all.gemm, all.ctx, all.u, NULL), MSW_OK);
    assert_int_equal(msw_conv_new(&all.conv, all.ctx, all.u, NULL), MSW_OK);
    assert_int_equal(msw_admm_new(&all.admm, all.ctx, NULL), MSW_OK);
    assert_int_equal(msw_admm_add_layer(all.admm, all.tensor, all.plan, NULL), MSW_OK);
    assert_int_equal(msw_budget_new(&all.budget, all.ctx, NULL), MSW_OK);
    assert_int_equal(msw_budget_add(all.budget, all.plan, all.tensor, NULL), MSW_OK);
    assert_int_equal(msw_permutation_new(&all.permutation, all.ctx), MSW_OK);
    assert_int_equal(msw_permutation_add(all.permutation, all.plan, all.tensor, NULL),
                     MSW_OK);
    assert_int_equal(msw_wisdom_new(&all.wisdom, all.ctx), MSW_OK);
    assert_int_equal(msw_writer_new(&all.writer, all.ctx), MSW_OK);
    assert_int_equal(msw_writer_add_unified(all.writer, "u", all.u, NULL), MSW_OK);
    assert_int_equal(msw_writer_add_tensor(all.writer, "t", all.tensor, NULL), MSW_OK);
    all.file_size = (size_t)msw_writer_bytes(all.writer);
    assert_true(all.file_size <= sizeof all.file);
    assert_int_equal(msw_writer_write_buffer(all.writer, all.file, all.file_size), MSW_OK);
    assert_int_equal(msw_reader_open_buffer(&all.reader, all.ctx, all.file, all.file_size,
                                            NULL), MSW_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    msw_reader_free(all.reader);
    msw_writer_free(all.writer);
    msw_wisdom_free(all.wisdom);
    msw_permutation_free(all.permutation);
    msw_budget_free(all.budget);
    msw_admm_free(all.admm);
    msw_conv_free(all.conv);
    msw_gemm_free(all.gemm);
    msw_unified_free(all.u);
    msw_tensor_free(all.tensor);
    msw_plan_free(all.plan);
    msw_context_free(all.ctx);
    return 0;
}

#define REFUSED(call) assert_int_equal(call, MSW_E_INVAL)
/* @p out is whatever it was before. */
#define NOT_MADE(out, call)                   \
    do {                                      \
        memset(&(out), 0x55, sizeof(out));    \
        assert_int_equal(call, MSW_E_INVAL);  \
        assert_null(out);                     \
    } while (0)

static void weights(void **state)
{
    uint8_t classes[1] = {0};
    float data[ROWS * COLUMNS];
    msw_plan *plan;
    msw_tensor *t;
    msw_unified *u;
    msw_plan_info plan_info;
    msw_block block;
    msw_unified_info info;
    msw_verify_info verify;

    (void)state;
    REFUSED(msw_context_new(NULL, NULL));
    REFUSED(msw_plan_new(NULL, all.ctx, shape, 2, NULL));
    NOT_MADE(plan, msw_plan_new(&plan, NULL, shape, 2, NULL));
    NOT_MADE(plan, msw_plan_new(&plan, all.ctx, NULL, 2, NULL));
    msw_plan_info_init(&plan_info);
    msw_block_init(&block);
    REFUSED(msw_plan_get_info(NULL, all.plan));
    REFUSED(msw_plan_get_info(&plan_info, NULL));
    REFUSED(msw_plan_get_block(NULL, all.plan, 0));
    REFUSED(msw_plan_get_block(&block, NULL, 0));
    REFUSED(msw_tensor_new(NULL, all.ctx, shape, 2));
    NOT_MADE(t, msw_tensor_new(&t, NULL, shape, 2));
    NOT_MADE(t, msw_tensor_new(&t, all.ctx, NULL, 2));
    REFUSED(msw_tensor_borrow(NULL, all.ctx, data, shape, NULL, 2));
    NOT_MADE(t, msw_tensor_borrow(&t, NULL, data, shape, NULL, 2));
    NOT_MADE(t, msw_tensor_borrow(&t, all.ctx, NULL, shape, NULL, 2));
    NOT_MADE(t, msw_tensor_borrow(&t, all.ctx, data, NULL, NULL, 2));
    REFUSED(msw_tensor_repoint(NULL, data));
    REFUSED(msw_unified_from(NULL, all.plan, all.tensor, NULL));
    NOT_MADE(u, msw_unified_from(&u, NULL, all.tensor, NULL));
    NOT_MADE(u, msw_unified_from(&u, all.plan, NULL, NULL));
    REFUSED(msw_unified_new(NULL, all.plan, all.tensor, classes, 1));
    NOT_MADE(u, msw_unified_new(&u, NULL, all.tensor, classes, 1));
    NOT_MADE(u, msw_unified_new(&u, all.plan, NULL, classes, 1));
    NOT_MADE(u, msw_unified_new(&u, all.plan, all.tensor, NULL, 1));
    REFUSED(msw_unified_refit(NULL, all.u, all.tensor));
    NOT_MADE(u, msw_unified_refit(&u, NULL, all.tensor));
    NOT_MADE(u, msw_unified_refit(&u, all.u, NULL));
    REFUSED(msw_unified_to_dense(NULL, all.u));
    REFUSED(msw_unified_to_dense(all.tensor, NULL));
    REFUSED(msw_unified_project(NULL, all.u));
    REFUSED(msw_unified_project(all.tensor, NULL));
    REFUSED(msw_unified_project_gradient(NULL, all.u));
    REFUSED(msw_unified_project_gradient(all.tensor, NULL));
    REFUSED(msw_unified_project_slot(NULL, all.u, MSW_SLOT_LINEAR));
    REFUSED(msw_unified_project_slot(all.tensor, NULL, MSW_SLOT_LINEAR));
    msw_verify_info_init(&verify);
    msw_unified_info_init(&info);
    REFUSED(msw_unified_verify(NULL, all.u, all.tensor));
    REFUSED(msw_unified_verify(&verify, NULL, all.tensor));
    REFUSED(msw_unified_verify(&verify, all.u, NULL));
    REFUSED(msw_unified_get_info(NULL, all.u));
    REFUSED(msw_unified_get_info(&info, NULL));
}

static void kernels(void **state)
{
    float x[COLUMNS], y[ROWS];
    msw_batch_norm norm;
    msw_gemm_call call;
    msw_conv_call conv_call;
    msw_gemm_info info;
    msw_gemm *gemm;
    msw_conv *conv;
    msw_wisdom *wisdom;
    size_t height, width;

    (void)state;
    REFUSED(msw_gemm_new(NULL, all.ctx, all.u, NULL));
    NOT_MADE(gemm, msw_gemm_new(&gemm, NULL, all.u, NULL));
    NOT_MADE(gemm, msw_gemm_new(&gemm, all.ctx, NULL, NULL));
    msw_gemm_call_init(&call);
    call.n = 1;
    call.y = y;
    REFUSED(msw_gemm_run(all.gemm, &call));
    call.x = x;
    call.y = NULL;
    REFUSED(msw_gemm_run(all.gemm, &call));
    REFUSED(msw_gemm_run(NULL, &call));
    REFUSED(msw_gemm_run(all.gemm, NULL));
    msw_gemm_info_init(&info);
    REFUSED(msw_gemm_get_info(NULL, all.gemm, 1));
    REFUSED(msw_gemm_get_info(&info, NULL, 1));
    REFUSED(msw_conv_new(NULL, all.ctx, all.u, NULL));
    NOT_MADE(conv, msw_conv_new(&conv, NULL, all.u, NULL));
    NOT_MADE(conv, msw_conv_new(&conv, all.ctx, NULL, NULL));
    msw_conv_call_init(&conv_call);
    REFUSED(msw_conv_run(NULL, &conv_call));
    REFUSED(msw_conv_run(all.conv, NULL));
    REFUSED(msw_conv_get_output(NULL, &width, all.conv, 1, 1));
    REFUSED(msw_conv_get_output(&height, NULL, all.conv, 1, 1));
    REFUSED(msw_conv_get_output(&height, &width, NULL, 1, 1));
    REFUSED(msw_conv_get_info(NULL, all.conv, 1, 1, 1));
    REFUSED(msw_conv_get_info(&info, NULL, 1, 1, 1));
    assert_true(msw_conv_workspace(NULL, 1, 1, 1) == SIZE_MAX);
    msw_batch_norm_init(&norm);
    REFUSED(msw_conv_fold_batch_norm(NULL, y, 0, &norm));
    REFUSED(msw_conv_fold_batch_norm(all.tensor, NULL, 0, &norm));
    REFUSED(msw_conv_fold_batch_norm(all.tensor, y, 0, NULL));
    REFUSED(msw_wisdom_new(NULL, all.ctx));
    NOT_MADE(wisdom, msw_wisdom_new(&wisdom, NULL));
    REFUSED(msw_wisdom_export(NULL, NULL, 0, &width));
    REFUSED(msw_wisdom_export(all.wisdom, NULL, 0, NULL));
    REFUSED(msw_wisdom_import(NULL, x, sizeof x));
    REFUSED(msw_wisdom_import(all.wisdom, NULL, sizeof x));
}

static void files(void **state)
{
    msw_writer *writer;
    msw_reader *reader;
    msw_store_info loss;
    msw_entry entry;
    msw_unified *u;
    msw_tensor *t;
    msw_gemm *gemm;
    msw_conv *conv;
    const void *value;
    unsigned char byte;
    size_t size;
    msw_io io;

    (void)state;
    REFUSED(msw_writer_new(NULL, all.ctx));
    NOT_MADE(writer, msw_writer_new(&writer, NULL));
    REFUSED(msw_writer_add_unified(NULL, "v", all.u, NULL));
    REFUSED(msw_writer_add_unified(all.writer, NULL, all.u, NULL));
    REFUSED(msw_writer_add_unified(all.writer, "v", NULL, NULL));
    REFUSED(msw_writer_add_tensor(NULL, "v", all.tensor, NULL));
    REFUSED(msw_writer_add_tensor(all.writer, NULL, all.tensor, NULL));
    REFUSED(msw_writer_add_tensor(all.writer, "v", NULL, NULL));
    REFUSED(msw_writer_add_all(NULL, all.reader, NULL));
    REFUSED(msw_writer_add_all(all.writer, NULL, NULL));
    REFUSED(msw_writer_add_metadata(NULL, "k", "", 0));
    REFUSED(msw_writer_add_metadata(all.writer, NULL, "", 0));
    REFUSED(msw_writer_add_metadata(all.writer, "k", NULL, 1));
    msw_store_info_init(&loss);
    REFUSED(msw_writer_get_loss(NULL, all.writer, "u"));
    REFUSED(msw_writer_get_loss(&loss, NULL, "u"));
    REFUSED(msw_writer_get_loss(&loss, all.writer, NULL));
    REFUSED(msw_writer_save(NULL, "/tmp/x"));
    REFUSED(msw_writer_save(all.writer, NULL));
    msw_io_init(&io);
    REFUSED(msw_writer_write(NULL, &io));
    REFUSED(msw_writer_write(all.writer, NULL));
    REFUSED(msw_writer_write(all.writer, &io)); /* no write */
    REFUSED(msw_writer_write_buffer(NULL, &byte, 1));
    REFUSED(msw_writer_write_buffer(all.writer, NULL, 1 << 20));
    REFUSED(msw_reader_open(NULL, all.ctx, "x", NULL));
    NOT_MADE(reader, msw_reader_open(&reader, NULL, "x", NULL));
    NOT_MADE(reader, msw_reader_open(&reader, all.ctx, NULL, NULL));
    REFUSED(msw_reader_open_buffer(NULL, all.ctx, all.file, all.file_size, NULL));
    NOT_MADE(reader, msw_reader_open_buffer(&reader, NULL, all.file, all.file_size, NULL));
    NOT_MADE(reader, msw_reader_open_buffer(&reader, all.ctx, NULL, all.file_size, NULL));
    REFUSED(msw_reader_open_io(NULL, all.ctx, &io, NULL));
    NOT_MADE(reader, msw_reader_open_io(&reader, NULL, &io, NULL));
    NOT_MADE(reader, msw_reader_open_io(&reader, all.ctx, NULL, NULL));
    NOT_MADE(reader, msw_reader_open_io(&reader, all.ctx, &io, NULL)); /* no read_at */
    msw_entry_init(&entry);
    REFUSED(msw_reader_get_entry(NULL, all.reader, 0));
    REFUSED(msw_reader_get_entry(&entry, NULL, 0));
    REFUSED(msw_reader_find(NULL, all.reader, "u"));
    REFUSED(msw_reader_find(&size, NULL, "u"));
    REFUSED(msw_reader_find(&size, all.reader, NULL));
    REFUSED(msw_reader_unified(NULL, all.reader, "u"));
    NOT_MADE(u, msw_reader_unified(&u, NULL, "u"));
    NOT_MADE(u, msw_reader_unified(&u, all.reader, NULL));
    REFUSED(msw_reader_tensor(NULL, all.reader, "t"));
    NOT_MADE(t, msw_reader_tensor(&t, NULL, "t"));
    NOT_MADE(t, msw_reader_tensor(&t, all.reader, NULL));
    REFUSED(msw_reader_gemm(NULL, all.reader, "u", NULL));
    NOT_MADE(gemm, msw_reader_gemm(&gemm, NULL, "u", NULL));
    NOT_MADE(gemm, msw_reader_gemm(&gemm, all.reader, NULL, NULL));
    REFUSED(msw_reader_conv(NULL, all.reader, "u", NULL));
    NOT_MADE(conv, msw_reader_conv(&conv, NULL, "u", NULL));
    NOT_MADE(conv, msw_reader_conv(&conv, all.reader, NULL, NULL));
    REFUSED(msw_reader_get_metadata(NULL, &size, all.reader, "k"));
    REFUSED(msw_reader_get_metadata(&value, NULL, all.reader, "k"));
    REFUSED(msw_reader_get_metadata(&value, &size, NULL, "k"));
    REFUSED(msw_reader_get_metadata(&value, &size, all.reader, NULL));
    assert_int_equal(msw_reader_count(NULL), 0);
    assert_int_equal(msw_reader_metadata_count(NULL), 0);
    assert_null(msw_reader_metadata_key(NULL, 0));
    assert_null(msw_reader_metadata_key(all.reader, 0));
}

static int evaluate(double *loss, const float *const *weights, uint32_t layer_count,
                    void *user)
{
    (void)weights;
    (void)layer_count;
    (void)user;
    *loss = 0;
    return 0;
}

static void solver(void **state)
{
    msw_sensitivity_point point;
    msw_admm_memory memory;
    msw_budget_info info;
    msw_admm *admm;
    msw_unified *u;
    uint64_t hash;
    double loss;

    (void)state;
    REFUSED(msw_admm_new(NULL, all.ctx, NULL));
    NOT_MADE(admm, msw_admm_new(&admm, NULL, NULL));
    REFUSED(msw_admm_add_layer(NULL, all.tensor, all.plan, NULL));
    REFUSED(msw_admm_add_layer(all.admm, NULL, all.plan, NULL));
    REFUSED(msw_admm_set_weights(NULL, 0, all.tensor));
    REFUSED(msw_admm_set_weights(all.admm, 0, NULL));
    REFUSED(msw_admm_set_importance(NULL, 0, all.tensor));
    REFUSED(msw_admm_set_projection(NULL, 0, NULL, NULL));
    REFUSED(msw_admm_set_budget(NULL, 1, NULL));
    REFUSED(msw_admm_set_budget_layer(NULL, 0, NULL));
    REFUSED(msw_admm_add_plan(NULL, 0, all.plan));
    REFUSED(msw_admm_add_plan(all.admm, 0, NULL));
    REFUSED(msw_admm_set_target(NULL, 1));
    msw_budget_info_init(&info);
    REFUSED(msw_admm_get_budget(NULL, all.admm));
    REFUSED(msw_admm_get_budget(&info, NULL));
    msw_sensitivity_point_init(&point);
    REFUSED(msw_admm_sensitivity(NULL, &loss, all.admm, &point, 1, evaluate, NULL));
    REFUSED(msw_admm_sensitivity(&loss, &loss, NULL, &point, 1, evaluate, NULL));
    REFUSED(msw_admm_sensitivity(&loss, &loss, all.admm, NULL, 1, evaluate, NULL));
    REFUSED(msw_admm_sensitivity(&loss, &loss, all.admm, &point, 1, NULL, NULL));
    REFUSED(msw_admm_add_penalty(NULL, 0, all.tensor, 1));
    REFUSED(msw_admm_add_penalty(all.admm, 0, NULL, 1));
    REFUSED(msw_admm_add_gradient(NULL, 0, all.tensor));
    REFUSED(msw_admm_update(NULL));
    REFUSED(msw_admm_freeze(NULL));
    REFUSED(msw_admm_mask_gradient(NULL, 0, all.tensor));
    REFUSED(msw_admm_mask_slot(NULL, 0, all.tensor, MSW_SLOT_LINEAR));
    REFUSED(msw_admm_mask_weights(NULL, 0));
    REFUSED(msw_admm_run(NULL, NULL, 1));
    REFUSED(msw_admm_run(all.admm, NULL, 1));
    msw_admm_stop(NULL);
    REFUSED(msw_admm_unify(NULL, all.admm, 0));
    NOT_MADE(u, msw_admm_unify(&u, NULL, 0));
    REFUSED(msw_admm_save(NULL, all.admm));
    REFUSED(msw_admm_save(all.writer, NULL));
    REFUSED(msw_admm_load(NULL, all.reader));
    REFUSED(msw_admm_load(all.admm, NULL));
    REFUSED(msw_admm_get_z(NULL, all.admm, 0));
    REFUSED(msw_admm_get_z(all.tensor, NULL, 0));
    msw_admm_memory_init(&memory);
    REFUSED(msw_admm_get_memory(NULL, all.admm));
    REFUSED(msw_admm_get_memory(&memory, NULL));
    REFUSED(msw_admm_set_learning_rate(NULL, 1));
    REFUSED(msw_admm_set_rho(NULL, 0, 1));
    REFUSED(msw_admm_set_ratios(NULL, 0, 0, 0));
    REFUSED(msw_admm_hash(NULL, all.admm));
    REFUSED(msw_admm_hash(&hash, NULL));
}

static void choices(void **state)
{
    msw_plan *const none[] = {NULL};
    msw_permutation_info permutation_info;
    msw_permutation *p;
    msw_budget_info info;
    msw_budget *b;
    msw_plan *plan;

    (void)state;
    REFUSED(msw_budget_new(NULL, all.ctx, NULL));
    NOT_MADE(b, msw_budget_new(&b, NULL, NULL));
    REFUSED(msw_budget_add(NULL, all.plan, all.tensor, NULL));
    REFUSED(msw_budget_add(all.budget, NULL, all.tensor, NULL));
    REFUSED(msw_budget_add(all.budget, all.plan, NULL, NULL));
    REFUSED(msw_budget_add_any(all.budget, NULL, 1, all.tensor, NULL));
    REFUSED(msw_budget_add_any(all.budget, none, 1, all.tensor, NULL));
    REFUSED(msw_budget_choose(NULL, 1));
    msw_budget_info_init(&info);
    REFUSED(msw_budget_get_info(NULL, all.budget));
    REFUSED(msw_budget_get_info(&info, NULL));
    assert_null(msw_budget_classes(NULL, 0));
    assert_null(msw_budget_plan(NULL, 0));
    REFUSED(msw_permutation_new(NULL, all.ctx));
    NOT_MADE(p, msw_permutation_new(&p, NULL));
    REFUSED(msw_permutation_add(NULL, all.plan, all.tensor, NULL));
    REFUSED(msw_permutation_add(all.permutation, NULL, all.tensor, NULL));
    REFUSED(msw_permutation_add(all.permutation, all.plan, NULL, NULL));
    REFUSED(msw_permutation_search(NULL, 0));
    msw_permutation_info_init(&permutation_info);
    REFUSED(msw_permutation_get_info(NULL, all.permutation, 0));
    REFUSED(msw_permutation_get_info(&permutation_info, NULL, 0));
    REFUSED(msw_permutation_plan(NULL, all.permutation, 0));
    NOT_MADE(plan, msw_permutation_plan(&plan, NULL, 0));
    REFUSED(msw_permutation_apply(NULL, 0, all.permutation, 7, 0, 0));
    REFUSED(msw_permutation_apply(all.tensor, 0, NULL, 7, 0, 0));
    assert_null(msw_permutation_order(NULL, NULL, 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights),
        cmocka_unit_test(kernels),
        cmocka_unit_test(files),
        cmocka_unit_test(solver),
        cmocka_unit_test(choices),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
