/* SPDX-License-Identifier: BSD-2-Clause */
/* The transport form: what comes back, how small it is, and what it refuses. */
#include "bytes.h"
#include "container.h"
#include "file_fixture.h"
#include "file_format.h"
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a value becomes: from the definition, in long steps. */
static float rounded(float value, uint32_t dtype, double step, uint32_t bits)
{
    int exponent;

    if (dtype == MSW_DTYPE_UNIFORM)
        return (float)(rint((double)value / step) * step);
    if (dtype == MSW_DTYPE_LOG && value != 0) {
        const double unit = ldexp(1, (frexp((double)value, &exponent), exponent - 1) -
                                         (int)bits);
        return (float)(floor(fabs((double)value) / unit + 0.5) * unit *
                       (value < 0 ? -1 : 1));
    }
    return value;
}

static void check_floats(const float *got, const float *want, size_t count,
                         uint32_t dtype, double step, uint32_t bits)
{
    for (size_t i = 0; i < count; i++) {
        const float stored = rounded(want[i], dtype, step, bits);

        if (dtype == MSW_DTYPE_F16)
            assert_true(fabsf(got[i] - want[i]) <=
                        fabsf(want[i]) * 0x1p-11f + 0x1p-25f);
        else
            assert_true(got[i] == stored);
    }
}

/* The step that bits give, from the definition. */
static double step_of(const float *values, size_t count, uint32_t levels)
{
    float largest = 0;

    for (size_t i = 0; i < count; i++)
        largest = fmaxf(largest, fabsf(values[i]));
    return largest > 0 ? (double)(float)((double)largest / levels) : 1;
}

static void check_unified(msw_reader *r, size_t i, const msw_entry *e)
{
    msw_unified *want = sample_unified(file_ctx, &sample_layers[i]), *got;
    const size_t end = want->plan->block_row_count;
    msw_store_options o;

    sample_transport_options(&o, i);
    if (o.magnitudes == MSW_DTYPE_UNIFORM && o.magnitude_bits)
        assert_true(e->magnitude_step == step_of(want->magnitudes,
                                                 want->magnitude_start[end],
                                                 (1u << o.magnitude_bits) - 1));
    assert_int_equal(msw_reader_unified(&got, r, e->name), MSW_OK);
    assert_memory_equal(got->classes, want->classes, want->plan->block_count);
    check_floats(got->magnitudes, want->magnitudes, want->magnitude_start[end],
                 e->magnitudes, e->magnitude_step, e->magnitude_bits);
    check_floats(got->free_weights, want->free_weights, want->free_start[end],
                 e->free_weights, e->free_step, e->free_bits);
    if (want->sign_start[end])
        assert_memory_equal(got->signs, want->signs, (want->sign_start[end] + 7) / 8);
    msw_unified_free(got);
    msw_unified_free(want);
}

static void check_tensor(msw_reader *r, size_t i, const msw_entry *e)
{
    msw_tensor *want = sample_tensor(file_ctx, &sample_layers[i]), *got;

    assert_int_equal(msw_reader_tensor(&got, r, e->name), MSW_OK);
    assert_true(msw__tensor_same_shape(got, want));
    check_floats(got->data, want->data, want->count, e->free_weights, e->free_step,
                 e->free_bits);
    msw_tensor_free(got);
    msw_tensor_free(want);
}

static void check_all(msw_reader *r)
{
    for (size_t i = 0; i < sample_layer_count; i++) {
        msw_store_options o;
        msw_entry e;

        sample_transport_options(&o, i);
        msw_entry_init(&e);
        assert_int_equal(msw_reader_get_entry(&e, r, i), MSW_OK);
        assert_int_equal(e.encoding, MSW_ENCODING_TRANSPORT);
        assert_int_equal(e.free_weights, o.free_weights);
        assert_int_equal(e.magnitudes, o.magnitudes);
        assert_true((e.free_step > 0) == (o.free_weights == MSW_DTYPE_UNIFORM));
        assert_int_equal(e.free_bits,
                         o.free_weights == MSW_DTYPE_LOG ? o.free_bits : 0);
        if (o.free_step > 0)
            assert_true(e.free_step == (double)(float)o.free_step);
        if (e.kind == MSW_ENTRY_UNIFIED)
            check_unified(r, i, &e);
        else
            check_tensor(r, i, &e);
    }
}

static void test_round_trip(void **state)
{
    size_t size;
    uint8_t *data = sample_transport_file(&size, file_ctx);
    msw_reader *r;

    (void)state;
    assert_non_null(data);
    r = file_open(data, size);
    check_all(r);
    msw_reader_free(r);
    free(data);
}

/* What was loaded, written again with what the entries say, gives the same bytes. */
static void test_rewrite(void **state)
{
    size_t size, again_size;
    uint8_t *data = sample_transport_file(&size, file_ctx), *again;
    msw_writer *w = file_new_writer();
    msw_reader *r = file_open(data, size);

    (void)state;
    assert_int_equal(sample_copy(w, r), MSW_OK);
    again = file_written(w, &again_size);
    assert_int_equal(again_size, size);
    assert_memory_equal(again, data, size);
    msw_reader_free(r);
    msw_writer_free(w);
    free(again);
    free(data);
}

static void test_golden(void **state)
{
    size_t size, again_size;
    uint8_t *data = file_golden("ok-1-transport.msw", &size);
    uint8_t *again = sample_transport_file(&again_size, file_ctx);
    msw_reader *r = file_open(data, size);

    (void)state;
    check_all(r);
    msw_reader_free(r);
    assert_int_equal(again_size, size);
    assert_memory_equal(again, data, size);
    free(again);
    free(data);
}

static msw_status add_values(msw_writer *w, const char *name, float *values,
                             const size_t shape[2], const size_t *strides,
                             const msw_store_options *o)
{
    msw_status status;
    msw_tensor *t;

    assert_int_equal(msw_tensor_borrow(&t, file_ctx, values, shape, strides, 2), MSW_OK);
    status = msw_writer_add_tensor(w, name, t, o);
    msw_tensor_free(t);
    return status;
}

static msw_store_options transport_of(uint32_t dtype)
{
    msw_store_options o;

    msw_store_options_init(&o);
    o.encoding = MSW_ENCODING_TRANSPORT;
    o.free_weights = dtype;
    return o;
}

static void test_strided(void **state)
{
    static const size_t shape[2] = {2, 3}, strides[2] = {1, 4};
    const msw_store_options o = transport_of(MSW_DTYPE_F32);
    float values[12], want[6] = {0, 4, 8, 1, 5, 9};
    msw_writer *w = file_new_writer();
    msw_tensor *t;
    msw_reader *r;
    uint8_t *data;
    size_t size;

    (void)state;
    for (int i = 0; i < 12; i++)
        values[i] = (float)i;
    assert_int_equal(add_values(w, "t", values, shape, strides, &o), MSW_OK);
    data = file_written(w, &size);
    r = file_open(data, size);
    assert_int_equal(msw_reader_tensor(&t, r, "t"), MSW_OK);
    assert_memory_equal(t->data, want, sizeof want);
    msw_tensor_free(t);
    msw_reader_free(r);
    msw_writer_free(w);
    free(data);
}

static void test_f32_keeps_every_bit(void **state)
{
    static const uint32_t bits[6] = {0x7fc12345u, 0xff800000u, 0x7f800000u,
                                     0x80000000u, 0x00000001u, 0x7fa00001u};
    static const size_t shape[2] = {1, 6};
    const msw_store_options o = transport_of(MSW_DTYPE_F32);
    msw_writer *w = file_new_writer();
    float values[6];
    msw_tensor *t;
    msw_reader *r;
    uint8_t *data;
    size_t size;

    (void)state;
    memcpy(values, bits, sizeof bits);
    assert_int_equal(add_values(w, "t", values, shape, NULL, &o), MSW_OK);
    data = file_written(w, &size);
    r = file_open(data, size);
    assert_int_equal(msw_reader_tensor(&t, r, "t"), MSW_OK);
    assert_memory_equal(t->data, bits, sizeof bits);
    msw_tensor_free(t);
    msw_reader_free(r);
    msw_writer_free(w);
    free(data);
}

/* All values equal, all zero, one value only: no width, no length, and still right. */
static void test_extremes(void **state)
{
    static const size_t shapes[3][2] = {{1, 1}, {1, 7}, {300, 500}};
    static const float values[] = {0, -0.5f, 0.5f, 16383.5f};
    float *filled = malloc(300 * 500 * sizeof *filled);

    (void)state;
    assert_non_null(filled);
    for (uint32_t dtype = 0; dtype < 4; dtype++)
        for (size_t s = 0; s < 3; s++)
            for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
                const size_t count = shapes[s][0] * shapes[s][1];
                msw_store_options o = transport_of(dtype);
                msw_writer *w = file_new_writer();
                msw_tensor *t;
                msw_reader *r;
                uint8_t *data;
                size_t size;

                if (dtype == MSW_DTYPE_UNIFORM)
                    o.free_step = 0.5;
                for (size_t i = 0; i < count; i++)
                    filled[i] = values[v];
                assert_int_equal(add_values(w, "t", filled, shapes[s], NULL, &o), MSW_OK);
                data = file_written(w, &size);
                r = file_open(data, size);
                assert_int_equal(msw_reader_tensor(&t, r, "t"), MSW_OK);
                for (size_t i = 0; i < count; i++)
                    if (dtype == MSW_DTYPE_LOG)
                        assert_true(fabsf(t->data[i] - filled[i]) <=
                                    fabsf(filled[i]) / 2);
                    else
                        assert_true(fabsf(t->data[i] - filled[i]) <=
                                    (dtype == MSW_DTYPE_F16 ? 8.f : 0.f));
                msw_tensor_free(t);
                msw_reader_free(r);
                msw_writer_free(w);
                free(data);
            }
    free(filled);
}

static void test_loss(void **state)
{
    static const size_t shape[2] = {1, 4};
    float values[4] = {1, -0.26f, 0.1f, 0.5f};
    msw_store_options o = transport_of(MSW_DTYPE_UNIFORM);
    msw_writer *w = file_new_writer();
    msw_store_info i;

    (void)state;
    o.free_step = 0.25;
    msw_store_info_init(&i);
    assert_int_equal(add_values(w, "t", values, shape, NULL, &o), MSW_OK);
    assert_int_equal(msw_writer_get_loss(&i, w, "t"), MSW_OK);
    assert_int_equal(i.values, 4);
    assert_int_equal(i.changed, 2);
    assert_int_equal(i.underflows, 1);
    assert_true(fabs(i.max_error - 0.1) < 1e-7);
    assert_true(fabs(i.relative_error -
                     sqrt((0.01 * 0.01 + 0.1 * 0.1) / (1 + 0.26 * 0.26 + 0.01 + 0.25))) <
                1e-6);
    assert_true(i.bytes > 0 && i.bytes < 32);
    msw_writer_free(w);
}

static void test_refuses(void **state)
{
    static const struct bad {
        uint32_t encoding, dtype, bits;
        double step;
    } bad[] = {
        {MSW_ENCODING_PLAIN, MSW_DTYPE_UNIFORM, 4, 0},
        {MSW_ENCODING_PLAIN, MSW_DTYPE_UNIFORM, 0, 0.5},
        {MSW_ENCODING_PLAIN, MSW_DTYPE_LOG, 4, 0},
        {MSW_ENCODING_PLAIN, MSW_DTYPE_F32, 4, 0},
        {MSW_ENCODING_PLAIN, MSW_DTYPE_F32, 0, 0.5},
        {MSW_ENCODING_PACKED + 1, MSW_DTYPE_F32, 0, 0},
        {MSW_ENCODING_TRANSPORT, 4, 0, 0},
        {MSW_ENCODING_TRANSPORT, MSW_DTYPE_F32, 1, 0},
        {MSW_ENCODING_TRANSPORT, MSW_DTYPE_F16, 0, 1},
        {MSW_ENCODING_TRANSPORT, MSW_DTYPE_UNIFORM, 0, 0},
        {MSW_ENCODING_TRANSPORT, MSW_DTYPE_UNIFORM, 1, 0},
        {MSW_ENCODING_TRANSPORT, MSW_DTYPE_UNIFORM, 16, 0},
        {MSW_ENCODING_TRANSPORT, MSW_DTYPE_UNIFORM, 4, 0.5},
        {MSW_ENCODING_TRANSPORT, MSW_DTYPE_UNIFORM, 0, -1},
        {MSW_ENCODING_TRANSPORT, MSW_DTYPE_UNIFORM, 0, 1e-45},
        {MSW_ENCODING_TRANSPORT, MSW_DTYPE_UNIFORM, 0, 1e300},
        {MSW_ENCODING_TRANSPORT, MSW_DTYPE_UNIFORM, 0, (double)INFINITY},
        {MSW_ENCODING_TRANSPORT, MSW_DTYPE_UNIFORM, 0, (double)NAN},
        {MSW_ENCODING_TRANSPORT, MSW_DTYPE_LOG, 8, 0},
        {MSW_ENCODING_TRANSPORT, MSW_DTYPE_LOG, 3, 0.5},
    };
    static const size_t shape[2] = {1, 2};
    float values[2] = {1, 2};
    msw_writer *w = file_new_writer();
    const uint64_t before = msw_writer_bytes(w);

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        msw_store_options o = transport_of(bad[i].dtype);

        o.encoding = bad[i].encoding;
        o.free_bits = bad[i].bits;
        o.free_step = bad[i].step;
        assert_int_equal(add_values(w, "t", values, shape, NULL, &o), MSW_E_INVAL);
        o = transport_of(MSW_DTYPE_F32);
        o.encoding = bad[i].encoding;
        o.magnitudes = bad[i].dtype;
        o.magnitude_bits = bad[i].bits;
        o.magnitude_step = bad[i].step;
        assert_int_equal(add_values(w, "t", values, shape, NULL, &o), MSW_E_INVAL);
    }
    assert_int_equal(msw_writer_bytes(w), before);
    msw_writer_free(w);
}

static void test_reserved(void **state)
{
    static const size_t shape[2] = {1, 2};
    msw_store_options o = transport_of(MSW_DTYPE_F32);
    msw_writer *w = file_new_writer();
    float values[2] = {1, 2};

    (void)state;
    o.reserved = 1;
    assert_int_equal(add_values(w, "t", values, shape, NULL, &o), MSW_E_VERSION);
    msw_writer_free(w);
}

static void test_refuses_values(void **state)
{
    static const size_t shape[2] = {1, 3};
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    msw_writer *w = file_new_writer();
    float values[3] = {1, 2, 3};

    (void)state;
    for (uint32_t dtype = MSW_DTYPE_F16; dtype <= MSW_DTYPE_LOG; dtype++)
        for (size_t i = 0; i < 3; i++) {
            msw_store_options o = transport_of(dtype);

            if (dtype == MSW_DTYPE_UNIFORM)
                o.free_bits = 4;
            values[1] = bad[i];
            assert_int_equal(add_values(w, "t", values, shape, NULL, &o), MSW_E_NUMERIC);
            if (dtype == MSW_DTYPE_UNIFORM) {
                o.free_bits = 0;
                o.free_step = 0.5;
                assert_int_equal(add_values(w, "t", values, shape, NULL, &o),
                                 MSW_E_NUMERIC);
                values[1] = 16384;
                assert_int_equal(add_values(w, "t", values, shape, NULL, &o),
                                 MSW_E_RANGE);
                assert_non_null(strstr(msw_writer_error(w), "\"t\""));
            }
        }
    msw_writer_free(w);
}

/* Sizes */

static double entropy(const float *values, size_t count, double step)
{
    enum { KINDS = 1 << 13 };
    size_t *counts = calloc(KINDS, sizeof *counts);
    double bits = 0;

    assert_non_null(counts);
    for (size_t i = 0; i < count; i++)
        counts[KINDS / 2 + lrint((double)values[i] / step)]++;
    for (size_t i = 0; i < KINDS; i++)
        if (counts[i])
            bits -= (double)counts[i] * log2((double)counts[i] / (double)count);
    free(counts);
    return bits;
}

/* Laplacian by the inverse of its distribution. */
static void fill_laplacian(float *values, size_t count)
{
    sample_values(values, count, 3);
    for (size_t i = 0; i < count; i++) {
        const float u = values[i];
        values[i] = u < 0 ? logf(1 + u) : -logf(1 - u);
    }
}

/* Within 3 % of the entropy, of 64k weights and more. */
static void test_size(void **state)
{
    static const size_t shape[2] = {256, 256};
    const double step = 0.125;
    msw_store_options o = transport_of(MSW_DTYPE_UNIFORM);
    msw_writer *w = file_new_writer();
    msw_projection_options p;
    msw_plan_options plan_options;
    msw_store_info info;
    msw_unified *u;
    msw_plan *plan;
    msw_tensor *t;

    (void)state;
    o.free_step = o.magnitude_step = step;
    o.magnitudes = MSW_DTYPE_UNIFORM;
    msw_store_info_init(&info);
    msw_plan_options_init(&plan_options);
    plan_options.block_rows = plan_options.block_columns = 4;
    msw_projection_options_init(&p);
    assert_int_equal(msw_plan_new(&plan, file_ctx, shape, 2, &plan_options), MSW_OK);
    assert_int_equal(msw_tensor_new(&t, file_ctx, shape, 2), MSW_OK);
    fill_laplacian(t->data, t->count);
    for (int shares = 0; shares < 3; shares++) {
        const char *name = shares == 0 ? "free" : shares == 1 ? "mixed" : "unified";
        double bits = 0;

        p.prune = shares == 1 ? 0.4 : 0;
        p.unify = shares == 0 ? 0 : shares == 1 ? 0.4 : 1;
        assert_int_equal(msw_unified_from(&u, plan, t, &p), MSW_OK);
        assert_int_equal(msw_writer_add_unified(w, name, u, &o), MSW_OK);
        assert_int_equal(msw_writer_get_loss(&info, w, name), MSW_OK);
        if (shares == 1) /* 0.4, 0.4, 0.2 */
            bits = (double)plan->block_count * (-0.8 * log2(0.4) - 0.2 * log2(0.2));
        bits += entropy(u->magnitudes, u->magnitude_start[plan->block_row_count], step);
        bits += entropy(u->free_weights, u->free_start[plan->block_row_count], step);
        bits += (double)u->sign_start[plan->block_row_count];
        assert_true(8 * (double)info.bytes < 1.03 * bits);
        assert_true(8 * (double)info.bytes > 0.97 * bits);
        msw_unified_free(u);
    }
    msw_tensor_free(t);
    msw_plan_free(plan);
    msw_writer_free(w);
}

/* A claim of many blocks or values on the word of a few bytes is refused before memory
 * is asked for. */
static void test_claims(void **state)
{
    static const uint64_t shapes[][2] = {{1 << 20, 1 << 10},
                                         {UINT64_C(1) << 40, 1 << 20},
                                         {UINT64_C(1) << 40, UINT64_C(1) << 40}};

    (void)state;
    for (uint32_t kind = 0; kind < 2; kind++)
        for (size_t i = 0; i < 3; i++) {
            uint8_t index[128], payload[64] = {0}, *data;
            container_section sections[2] = {{MSW__SECTION_INDEX, 1, index, 0},
                                             {MSW__SECTION_TRANSPORT, 1, payload, 64}};
            msw__record record = {.kind = kind, .rank = 2, .name_length = 1};
            msw_reader *r;
            size_t size;

            record.flags = MSW__RECORD_TRANSPORT;
            record.shape[0] = shapes[i][0];
            record.shape[1] = shapes[i][1];
            record.payload = sizeof payload;
            record.classes = kind ? 0 : 2;
            record.block_rows = record.block_columns = 8;
            record.groups = 1;
            if (kind) {
                record.free_weights = MSW_DTYPE_UNIFORM;
                record.free_parameter = 0x3f800000;
            }
            msw__store32(index, 1);
            msw__record_encode(index + 4, &record, "t");
            sections[0].size = 4 + msw__record_bytes(&record);
            data = container_build(&size, sections, 2);
            assert_non_null(data);
            assert_int_equal(msw_reader_open_buffer(&r, file_ctx, data, size, NULL),
                             kind == 0 && (i > 0 || SIZE_MAX == UINT32_MAX)
                                 ? MSW_E_UNSUPPORTED : MSW_E_FORMAT);
            free(data);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_round_trip), FILE_TEST(test_rewrite),
        FILE_TEST(test_golden),     FILE_TEST(test_strided),
        FILE_TEST(test_f32_keeps_every_bit), FILE_TEST(test_extremes),
        FILE_TEST(test_loss),       FILE_TEST(test_refuses),
        FILE_TEST(test_reserved), FILE_TEST(test_refuses_values), FILE_TEST(test_size),
        FILE_TEST(test_claims),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
