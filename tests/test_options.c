/* SPDX-License-Identifier: BSD-2-Clause */
/* The size rule of doc/abi.md, for the rule itself and for every struct. */
#include "faults.h"
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { ROOM = 8192, BEYOND = 4097 };

/* A struct that grew once: the first version ended before `newer`. */
typedef struct sample {
    size_t size;
    uint32_t value, reserved;
    uint64_t newer;
} sample;
enum { OLDEST_SAMPLE = offsetof(sample, newer) };

static unsigned char room[ROOM];

/* room holds a struct of `size` bytes that says so, zeroed */
static void *sized(size_t size)
{
    memset(room, 0, sizeof room);
    memcpy(room, &size, sizeof size);
    return room;
}

static void test_take(void **state)
{
    const size_t ours = sizeof(sample);
    sample *given, taken;

    (void)state;
    given = sized(ours);
    given->value = 7;
    given->newer = 9;
    memset(&taken, 0xee, sizeof taken);
    assert_int_equal(msw__take_options(&taken, ours, OLDEST_SAMPLE, given), MSW_OK);
    assert_int_equal(taken.size, ours);
    assert_int_equal(taken.value, 7);
    assert_int_equal(taken.newer, 9);

    given = sized(OLDEST_SAMPLE); /* an old program: what follows is not its struct */
    given->value = 7;
    given->newer = 9;
    assert_int_equal(msw__take_options(&taken, ours, OLDEST_SAMPLE, given), MSW_OK);
    assert_int_equal(taken.size, ours);
    assert_int_equal(taken.value, 7);
    assert_int_equal(taken.newer, 0);

    assert_int_equal(msw__take_options(&taken, ours, OLDEST_SAMPLE, sized(OLDEST_SAMPLE - 1)),
                     MSW_E_INVAL);
    assert_int_equal(msw__take_options(&taken, ours, OLDEST_SAMPLE, sized(0)), MSW_E_INVAL);
    assert_int_equal(msw__take_options(&taken, ours, OLDEST_SAMPLE, sized(4096)), MSW_OK);
    assert_int_equal(msw__take_options(&taken, ours, OLDEST_SAMPLE, sized(BEYOND)),
                     MSW_E_INVAL);
    for (size_t at = ours; at < ours + 8; at++) {
        sized(ours + 8);
        room[at] = 1;
        assert_int_equal(msw__take_options(&taken, ours, OLDEST_SAMPLE, room), MSW_E_VERSION);
    }
    sized(ours + 8);
    room[ours + 8] = 1; /* beyond what the caller says is his */
    assert_int_equal(msw__take_options(&taken, ours, OLDEST_SAMPLE, room), MSW_OK);
}

static void test_give(void **state)
{
    const size_t ours = sizeof(sample);
    const sample made = {sizeof(sample), 7, 0, 9};
    sample *out;

    (void)state;
    out = sized(ours);
    assert_int_equal(msw__give_output(out, &made, ours, OLDEST_SAMPLE), MSW_OK);
    assert_memory_equal(out, &made, ours);

    out = sized(OLDEST_SAMPLE); /* an old caller has no room for the newer field */
    assert_int_equal(msw__give_output(out, &made, ours, OLDEST_SAMPLE), MSW_OK);
    assert_int_equal(out->size, OLDEST_SAMPLE);
    assert_int_equal(out->value, 7);
    assert_int_equal(out->newer, 0);

    out = sized(ours + 8); /* a newer caller */
    assert_int_equal(msw__give_output(out, &made, ours, OLDEST_SAMPLE), MSW_OK);
    assert_int_equal(out->size, ours + 8);
    assert_int_equal(out->newer, 9);
    for (size_t i = ours; i < ours + 16; i++)
        assert_int_equal(room[i], 0);

    out = sized(OLDEST_SAMPLE - 1);
    assert_int_equal(msw__give_output(out, &made, ours, OLDEST_SAMPLE), MSW_E_INVAL);
    assert_int_equal(out->value, 0);
    out = sized(BEYOND);
    assert_int_equal(msw__give_output(out, &made, ours, OLDEST_SAMPLE), MSW_E_INVAL);
    assert_int_equal(out->value, 0);
}

#define STRUCTS(X)                                                                 \
    X(msw_context_options) X(msw_plan_options) X(msw_block) X(msw_plan_info)       \
    X(msw_projection_options) X(msw_quadtree_options) X(msw_unified_info)          \
    X(msw_verify_info)                                                             \
    X(msw_permutation_layer) X(msw_permutation_info)                               \
    X(msw_budget_options) X(msw_budget_layer) X(msw_budget_info)                   \
    X(msw_admm_options) X(msw_layer_options) X(msw_admm_memory) X(msw_host)        \
    X(msw_sensitivity_point)                                                       \
    X(msw_gemm_options) X(msw_gemm_call) X(msw_gemm_info) X(msw_conv_options)      \
    X(msw_conv_call) X(msw_batch_norm) X(msw_io) X(msw_store_options)              \
    X(msw_store_info) X(msw_entry) X(msw_reader_options)

#define DEFINE(type)                                 \
    static void init_##type(void *object, size_t size) \
    {                                                \
        type##_init_sized(object, size);             \
    }
STRUCTS(DEFINE)
#undef DEFINE

/* Every struct: its init zeroes all of it, and only it, and sets the size. */
static void test_init(void **state)
{
    static const struct {
        void (*init)(void *object, size_t size);
        size_t size;
    } structs[] = {
#define ENTRY(type) {init_##type, sizeof(type)},
        STRUCTS(ENTRY)
#undef ENTRY
    };

    (void)state;
    for (size_t i = 0; i < sizeof structs / sizeof *structs; i++) {
        const size_t size = structs[i].size;
        size_t said;

        memset(room, 0xee, sizeof room);
        structs[i].init(room, size);
        memcpy(&said, room, sizeof said);
        assert_int_equal(said, size);
        for (size_t at = sizeof said; at < size; at++)
            assert_int_equal(room[at], 0);
        assert_int_equal(room[size], 0xee);
        structs[i].init(NULL, size);
        structs[i].init(room + size, sizeof said - 1); /* no room even for the size */
        assert_int_equal(room[size], 0xee);
    }
}

/* A call that takes, or fills, the struct in room: of `size` bytes by its own word and
 * otherwise as `prepare` left it. */
typedef msw_status use(void *object);

static msw_context *shared_context;
static msw_plan *shared_plan;
static msw_tensor *shared_weights;
static msw_unified *shared_unified;
static msw_gemm *shared_gemm;
static msw_conv *shared_conv;
static msw_admm *shared_admm;
static msw_writer *shared_writer;
static msw_reader *shared_reader;
static unsigned char image[4096];
static size_t image_size;

static void check_sizes(use *f, void (*prepare)(void), size_t ours, size_t oldest,
                        bool output)
{
    const struct {
        size_t size;
        bool tail; /* a non-zero byte in the last place */
        msw_status status;
    } cases[] = {
        {ours, false, MSW_OK},
        {oldest, false, MSW_OK},
        {oldest - 1, false, MSW_E_INVAL},
        {0, false, MSW_E_INVAL},
        {ours + 8, false, MSW_OK},
        {ours + 8, true, output ? MSW_OK : MSW_E_VERSION},
        {4096, false, MSW_OK},
        {BEYOND, false, MSW_E_INVAL},
        {(size_t)1 << 20 << 20, false, MSW_E_INVAL},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sized(cases[i].size);
        if (prepare)
            prepare();
        memcpy(room, &cases[i].size, sizeof(size_t));
        if (cases[i].tail)
            room[cases[i].size - 1] = 1;
        assert_int_equal(f(room), cases[i].status);
    }
}

static msw_status call_context(void *o)
{
    msw_context *ctx;
    const msw_status status = msw_context_new(&ctx, o);

    msw_context_free(ctx);
    return status;
}

static msw_status call_plan(void *o)
{
    static const size_t shape[2] = {9, 17};
    msw_plan *plan;
    const msw_status status = msw_plan_new(&plan, shared_context, shape, 2, o);

    msw_plan_free(plan);
    return status;
}

static msw_status call_block(void *out)
{
    return msw_plan_get_block(out, shared_plan, 1);
}

static msw_status call_plan_info(void *out)
{
    return msw_plan_get_info(out, shared_plan);
}

static msw_status call_projection(void *o)
{
    msw_unified *u;
    const msw_status status = msw_unified_from(&u, shared_plan, shared_weights, o);

    msw_unified_free(u);
    return status;
}

static msw_status call_quadtree(void *o)
{
    msw_unified *u;
    const msw_status status =
        msw_unified_from_quadtree(&u, shared_plan, shared_weights, o);

    msw_unified_free(u);
    return status;
}

static msw_status call_unified_info(void *out)
{
    return msw_unified_get_info(out, shared_unified);
}

static msw_status call_verify_info(void *out)
{
    return msw_unified_verify(out, shared_unified, shared_weights);
}

static msw_status call_gemm(void *o)
{
    msw_gemm *gemm;
    const msw_status status = msw_gemm_new(&gemm, shared_context, shared_unified, o);

    msw_gemm_free(gemm);
    return status;
}

static float x[16], y[16];

static void prepare_gemm_call(void)
{
    msw_gemm_call *call = (void *)room;

    call->x = x;
    call->y = y;
    call->ldx = call->ldy = call->n = 1;
}

static msw_status call_gemm_run(void *call)
{
    return msw_gemm_run(shared_gemm, call);
}

static msw_status call_gemm_info(void *out)
{
    return msw_gemm_get_info(out, shared_gemm, 1);
}

static msw_status call_conv(void *o)
{
    msw_conv *conv;
    const msw_status status = msw_conv_new(&conv, shared_context, shared_unified, o);

    msw_conv_free(conv);
    return status;
}

static void prepare_conv_call(void)
{
    msw_conv_call *call = (void *)room;

    call->x = x;
    call->y = y;
    call->batch = call->height = call->width = 1;
}

static msw_status call_conv_run(void *call)
{
    return msw_conv_run(shared_conv, call);
}

static msw_status call_conv_info(void *out)
{
    return msw_conv_get_info(out, shared_conv, 1, 1, 1);
}

static void prepare_batch_norm(void)
{
    msw_batch_norm *norm = (void *)room;

    for (size_t i = 0; i < 8; i++)
        x[i] = 1;
    norm->channels = 8;
    norm->mean = y;
    norm->variance = x;
}

static msw_status call_batch_norm(void *norm)
{
    static float bias[8];

    return msw_conv_fold_batch_norm(shared_weights, bias, MSW_WEIGHTS_OI, norm);
}

static msw_status call_budget(void *o)
{
    msw_budget *budget;
    const msw_status status = msw_budget_new(&budget, shared_context, o);

    msw_budget_free(budget);
    return status;
}

static msw_status call_budget_layer(void *o)
{
    msw_budget *budget;
    msw_status status = msw_budget_new(&budget, shared_context, NULL);

    if (!status)
        status = msw_budget_add(budget, shared_plan, shared_weights, o);
    msw_budget_free(budget);
    return status;
}

static msw_status call_budget_info(void *out)
{
    msw_budget *budget;
    msw_status status = msw_budget_new(&budget, shared_context, NULL);

    if (!status)
        status = msw_budget_add(budget, shared_plan, shared_weights, NULL);
    if (!status)
        status = msw_budget_get_info(out, budget);
    msw_budget_free(budget);
    return status;
}

static msw_status call_permutation_layer(void *o)
{
    msw_permutation *p;
    msw_status status = msw_permutation_new(&p, shared_context);

    if (!status)
        status = msw_permutation_add(p, shared_plan, shared_weights, o);
    msw_permutation_free(p);
    return status;
}

static msw_status call_permutation_info(void *out)
{
    msw_permutation *p;
    msw_status status = msw_permutation_new(&p, shared_context);

    if (!status)
        status = msw_permutation_add(p, shared_plan, shared_weights, NULL);
    if (!status)
        status = msw_permutation_search(p, 1);
    if (!status)
        status = msw_permutation_get_info(out, p, 0);
    msw_permutation_free(p);
    return status;
}

static msw_status call_admm(void *o)
{
    msw_admm *admm;
    const msw_status status = msw_admm_new(&admm, shared_context, o);

    msw_admm_free(admm);
    return status;
}

static msw_status call_layer(void *o)
{
    msw_admm *admm;
    msw_status status = msw_admm_new(&admm, shared_context, NULL);

    if (!status)
        status = msw_admm_add_layer(admm, shared_weights, shared_plan, o);
    msw_admm_free(admm);
    return status;
}

static int no_loss_at(double *loss, const float *const *weights, uint32_t layer_count,
                      void *user)
{
    (void)weights;
    (void)layer_count;
    (void)user;
    *loss = 0;
    return 0;
}

static msw_status call_sensitivity(void *point)
{
    double loss;

    return msw_admm_sensitivity(&loss, NULL, shared_admm, point, 1, no_loss_at, NULL);
}

static msw_status call_admm_memory(void *out)
{
    return msw_admm_get_memory(out, shared_admm);
}

static int no_loss(double *loss, float *const *grads, const float *const *weights,
                   uint32_t layer_count, void *user)
{
    (void)grads;
    (void)weights;
    (void)layer_count;
    (void)user;
    *loss = 0;
    return 0;
}

static void prepare_host(void)
{
    ((msw_host *)(void *)room)->loss_gradient = no_loss;
}

static msw_status call_run(void *host)
{
    return msw_admm_run(shared_admm, host, 0);
}

static msw_status call_add_tensor(void *o)
{
    msw_writer *writer;
    msw_status status = msw_writer_new(&writer, shared_context);

    if (!status)
        status = msw_writer_add_tensor(writer, "t", shared_weights, o);
    if (!status)
        status = msw_writer_add_unified(writer, "u", shared_unified, o);
    msw_writer_free(writer);
    return status;
}

static msw_status call_loss(void *out)
{
    return msw_writer_get_loss(out, shared_writer, "u");
}

static int64_t write_all(const void *data, size_t size, void *user)
{
    (void)data;
    (void)user;
    return (int64_t)size;
}

static int64_t read_image(uint64_t offset, void *data, size_t size, void *user)
{
    (void)user;
    memcpy(data, image + offset, size);
    return (int64_t)size;
}

static uint64_t image_length(void *user)
{
    (void)user;
    return image_size;
}

static void prepare_io(void)
{
    msw_io *io = (void *)room;

    io->write = write_all;
    io->read_at = read_image;
    io->length = image_length;
}

static msw_status call_write(void *io)
{
    return msw_writer_write(shared_writer, io);
}

static msw_status call_open_io(void *io)
{
    msw_reader *reader;
    const msw_status status = msw_reader_open_io(&reader, shared_context, io, NULL);

    msw_reader_free(reader);
    return status;
}

static msw_status call_open(void *o)
{
    msw_reader *reader;
    const msw_status status = msw_reader_open_buffer(&reader, shared_context, image,
                                                     image_size, o);

    msw_reader_free(reader);
    return status;
}

static msw_status call_entry(void *out)
{
    return msw_reader_get_entry(out, shared_reader, 0);
}

static void test_structs(void **state)
{
    (void)state;
#define INPUT(type, f, prepare) check_sizes(f, prepare, sizeof(type), sizeof(type), false)
#define OUTPUT(type, f) check_sizes(f, NULL, sizeof(type), sizeof(type), true)
    /* structs that have grown, and where */
#define LONGER_INPUT(type, f, newer) \
    check_sizes(f, NULL, sizeof(type), offsetof(type, newer), false)
#define LONGER_OUTPUT(type, f, newer) \
    check_sizes(f, NULL, sizeof(type), offsetof(type, newer), true)
    INPUT(msw_context_options, call_context, NULL);
    INPUT(msw_plan_options, call_plan, NULL);
    OUTPUT(msw_block, call_block);
    OUTPUT(msw_plan_info, call_plan_info);
    check_sizes(call_projection, NULL, sizeof(msw_projection_options),
                offsetof(msw_projection_options, per_row), false);
    LONGER_INPUT(msw_quadtree_options, call_quadtree, class_bits);
    LONGER_OUTPUT(msw_unified_info, call_unified_info, magnitudes);
    OUTPUT(msw_verify_info, call_verify_info);
    INPUT(msw_gemm_options, call_gemm, NULL);
    INPUT(msw_gemm_call, call_gemm_run, prepare_gemm_call);
    LONGER_OUTPUT(msw_gemm_info, call_gemm_info, bytes_mapped);
    LONGER_INPUT(msw_conv_options, call_conv, wisdom);
    INPUT(msw_conv_call, call_conv_run, prepare_conv_call);
    LONGER_OUTPUT(msw_gemm_info, call_conv_info, bytes_mapped);
    INPUT(msw_batch_norm, call_batch_norm, prepare_batch_norm);
    INPUT(msw_permutation_layer, call_permutation_layer, NULL);
    OUTPUT(msw_permutation_info, call_permutation_info);
    INPUT(msw_budget_options, call_budget, NULL);
    LONGER_INPUT(msw_budget_layer, call_budget_layer, levels);
    OUTPUT(msw_budget_info, call_budget_info);
    LONGER_INPUT(msw_admm_options, call_admm, rho_threshold);
    LONGER_INPUT(msw_layer_options, call_layer, per_row);
    INPUT(msw_sensitivity_point, call_sensitivity, NULL);
    OUTPUT(msw_admm_memory, call_admm_memory);
    check_sizes(call_run, prepare_host, sizeof(msw_host), offsetof(msw_host, allreduce),
                false);
    LONGER_INPUT(msw_store_options, call_add_tensor, expected_n);
    OUTPUT(msw_store_info, call_loss);
    INPUT(msw_io, call_write, prepare_io);
    INPUT(msw_io, call_open_io, prepare_io);
    INPUT(msw_reader_options, call_open, NULL);
    LONGER_OUTPUT(msw_entry, call_entry, wide_layout);
#undef INPUT
#undef OUTPUT
#undef LONGER_INPUT
#undef LONGER_OUTPUT
}

static void check_reserved(use *f, void (*prepare)(void), size_t size, size_t at)
{
    const uint32_t one = 1;

    sized(size);
    if (prepare)
        prepare();
    memcpy(room + at, &one, sizeof one);
    assert_int_equal(f(room), MSW_E_VERSION);
}

static void test_reserved(void **state)
{
    (void)state;
#define RESERVED(type, f, prepare) \
    check_reserved(f, prepare, sizeof(type), offsetof(type, reserved))
    RESERVED(msw_plan_options, call_plan, NULL);
    RESERVED(msw_gemm_options, call_gemm, NULL);
    RESERVED(msw_conv_call, call_conv_run, prepare_conv_call);
    RESERVED(msw_admm_options, call_admm, NULL);
    RESERVED(msw_layer_options, call_layer, NULL);
    RESERVED(msw_projection_options, call_projection, NULL);
#undef RESERVED
}

static int make_file(void)
{
    if (msw_writer_new(&shared_writer, shared_context) ||
        msw_writer_add_unified(shared_writer, "u", shared_unified, NULL))
        return -1;
    image_size = (size_t)msw_writer_bytes(shared_writer);
    return image_size > sizeof image ||
           msw_writer_write_buffer(shared_writer, image, image_size) ||
           msw_reader_open_buffer(&shared_reader, shared_context, image, image_size, NULL);
}

static int make_shared(void **state)
{
    static const size_t shape[2] = {8, 16};

    (void)state;
    return msw_context_new(&shared_context, NULL) ||
           msw_plan_new(&shared_plan, shared_context, shape, 2, NULL) ||
           msw_tensor_new(&shared_weights, shared_context, shape, 2) ||
           msw_unified_from(&shared_unified, shared_plan, shared_weights, NULL) ||
           msw_gemm_new(&shared_gemm, shared_context, shared_unified, NULL) ||
           msw_conv_new(&shared_conv, shared_context, shared_unified, NULL) ||
           msw_admm_new(&shared_admm, shared_context, NULL) ||
           msw_admm_add_layer(shared_admm, shared_weights, shared_plan, NULL) || make_file();
}

static int free_shared(void **state)
{
    (void)state;
    msw_reader_free(shared_reader);
    msw_writer_free(shared_writer);
    msw_admm_free(shared_admm);
    msw_conv_free(shared_conv);
    msw_gemm_free(shared_gemm);
    msw_unified_free(shared_unified);
    msw_tensor_free(shared_weights);
    msw_plan_free(shared_plan);
    msw_context_free(shared_context);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take),    cmocka_unit_test(test_give),
        cmocka_unit_test(test_init),    cmocka_unit_test(test_structs),
        cmocka_unit_test(test_reserved),
    };

    return cmocka_run_group_tests(tests, make_shared, free_shared);
}
