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
    X(msw_projection_options) X(msw_unified_info) X(msw_verify_info)               \
    X(msw_admm_options) X(msw_layer_options) X(msw_admm_memory) X(msw_host)        \
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
typedef msw_status call(void *options);

static msw_context *shared_context;
static msw_plan *shared_plan;
static msw_tensor *shared_weights;
static msw_unified *shared_unified;

static void check_sizes(call *f, void (*prepare)(void), size_t ours, size_t oldest,
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

static msw_status call_unified_info(void *out)
{
    return msw_unified_get_info(out, shared_unified);
}

static msw_status call_verify_info(void *out)
{
    return msw_unified_verify(out, shared_unified, shared_weights);
}

static void test_structs(void **state)
{
    (void)state;
#define INPUT(type, f, prepare) check_sizes(f, prepare, sizeof(type), sizeof(type), false)
#define OUTPUT(type, f) check_sizes(f, NULL, sizeof(type), sizeof(type), true)
    INPUT(msw_context_options, call_context, NULL);
    INPUT(msw_plan_options, call_plan, NULL);
    OUTPUT(msw_block, call_block);
    OUTPUT(msw_plan_info, call_plan_info);
    INPUT(msw_projection_options, call_projection, NULL);
    OUTPUT(msw_unified_info, call_unified_info);
    OUTPUT(msw_verify_info, call_verify_info);
#undef INPUT
#undef OUTPUT
}

static void test_reserved(void **state)
{
    msw_plan_options plan;

    (void)state;
    msw_plan_options_init(&plan);
    plan.reserved = 1;
    assert_int_equal(call_plan(&plan), MSW_E_VERSION);
}

static int make_shared(void **state)
{
    static const size_t shape[2] = {8, 16};

    (void)state;
    return msw_context_new(&shared_context, NULL) ||
           msw_plan_new(&shared_plan, shared_context, shape, 2, NULL) ||
           msw_tensor_new(&shared_weights, shared_context, shape, 2) ||
           msw_unified_from(&shared_unified, shared_plan, shared_weights, NULL);
}

static int free_shared(void **state)
{
    (void)state;
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
