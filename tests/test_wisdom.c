/* SPDX-License-Identifier: BSD-2-Clause */
/* Wisdom: what it saves, and what it refuses. */
#include "bytes.h"
#include "crc32c.h"
#include "faults.h"
#include "weights.h"
#include "wisdom.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const weights_spec spec = {.rows = 40, .columns = 64, .block_rows = 4,
                                  .block_columns = 8, .pruned = 40, .unified = 40,
                                  .seed = 3};

/* A clock that counts how often it is read, and lets each span take a millisecond. */
typedef struct counting_clock {
    uint64_t now, calls;
} counting_clock;

static uint64_t count_calls(void *user)
{
    counting_clock *c = user;

    c->calls++;
    return c->now += 1000000;
}

typedef struct fixture {
    counting_clock clock;
    faults f;
    msw_context *ctx;
    weights w;
    msw_wisdom *wisdom;
    uint8_t *data; /* exported, with one entry */
    size_t size;
} fixture;

static msw_context *new_context(fixture *x, uint32_t cpu_mask)
{
    msw_context_options o;
    msw_context *ctx = NULL;

    msw_context_options_init(&o);
    o.allocator = faults_allocator(&x->f);
    o.clock = count_calls;
    o.clock_user = &x->clock;
    o.cpu_mask = cpu_mask;
    assert_int_equal(msw_context_new(&ctx, &o), MSW_OK);
    return ctx;
}

static msw_status new_gemm(msw_gemm **out, fixture *x, msw_wisdom *wisdom, size_t n,
                           uint32_t tune)
{
    msw_gemm_options o;

    msw_gemm_options_init(&o);
    o.expected_n = n;
    o.tune = tune;
    o.wisdom = wisdom;
    return msw_gemm_new(out, x->ctx, x->w.u, &o);
}

static void set_up(fixture *x)
{
    msw_gemm *g;

    memset(x, 0, sizeof *x);
    x->ctx = new_context(x, 0);
    weights_make(&x->w, x->ctx, &spec);
    assert_int_equal(msw_wisdom_new(&x->wisdom, x->ctx), MSW_OK);
    assert_int_equal(new_gemm(&g, x, x->wisdom, 20, 1), MSW_OK);
    msw_gemm_free(g);
    assert_int_equal(msw_wisdom_export(x->wisdom, NULL, 0, &x->size), MSW_OK);
    x->data = malloc(x->size);
    assert_non_null(x->data);
    assert_int_equal(msw_wisdom_export(x->wisdom, x->data, x->size, &x->size), MSW_OK);
}

static void tear_down(fixture *x)
{
    free(x->data);
    msw_wisdom_free(x->wisdom);
    weights_free(&x->w);
    msw_context_free(x->ctx);
    assert_true(faults_clean(&x->f));
}

static void test_arguments(void **state)
{
    msw_wisdom *w;
    fixture x;
    size_t size = 0;

    (void)state;
    set_up(&x);
    assert_int_equal(msw_wisdom_new(NULL, x.ctx), MSW_E_INVAL);
    assert_int_equal(msw_wisdom_new(&w, NULL), MSW_E_INVAL);
    assert_null(w);
    assert_int_equal(msw_wisdom_export(NULL, x.data, x.size, &size), MSW_E_INVAL);
    assert_int_equal(msw_wisdom_export(x.wisdom, x.data, x.size, NULL), MSW_E_INVAL);
    assert_int_equal(msw_wisdom_export(x.wisdom, NULL, 1, &size), MSW_E_INVAL);
    assert_int_equal(msw_wisdom_export(x.wisdom, x.data, x.size - 1, &size), MSW_E_RANGE);
    assert_int_equal(size, x.size);
    assert_int_equal(msw_wisdom_import(NULL, x.data, x.size), MSW_E_INVAL);
    assert_int_equal(msw_wisdom_import(x.wisdom, NULL, x.size), MSW_E_INVAL);
    assert_int_equal(msw_wisdom_count(NULL), 0);
    msw_wisdom_free(NULL);
    tear_down(&x);
}

/* What was measured once is not measured again, in this handle or another. */
static void test_remembers(void **state)
{
    msw_wisdom *other;
    msw_gemm_info a, b;
    msw_gemm *g;
    fixture x;

    (void)state;
    set_up(&x);
    assert_int_equal(msw_wisdom_count(x.wisdom), 1);
    assert_int_equal(msw_wisdom_new(&other, x.ctx), MSW_OK);
    assert_int_equal(msw_wisdom_count(other), 0);
    assert_int_equal(msw_wisdom_import(other, x.data, x.size), MSW_OK);
    assert_int_equal(msw_wisdom_count(other), 1);
    assert_int_equal(msw_wisdom_import(other, x.data, x.size), MSW_OK);
    assert_int_equal(msw_wisdom_count(other), 1);

    x.clock.calls = 0;
    msw_gemm_info_init(&a);
    msw_gemm_info_init(&b);
    for (uint32_t tune = 0; tune < 2; tune++) {
        assert_int_equal(new_gemm(&g, &x, tune ? other : x.wisdom, 20, tune), MSW_OK);
        assert_int_equal(msw_gemm_get_info(tune ? &b : &a, g, 20), MSW_OK);
        msw_gemm_free(g);
    }
    assert_int_equal(x.clock.calls, 0);
    assert_true(a.measured > 0);
    assert_true(a.measured == b.measured && a.dense == b.dense);
    assert_string_equal(a.kernel, b.kernel);

    /* another number of columns is another product */
    assert_int_equal(new_gemm(&g, &x, other, 21, 0), MSW_OK);
    assert_int_equal(x.clock.calls, 0);
    assert_int_equal(msw_gemm_get_info(&a, g, 21), MSW_OK);
    assert_true(a.measured == 0);
    msw_gemm_free(g);
    assert_int_equal(new_gemm(&g, &x, other, 21, 1), MSW_OK);
    assert_true(x.clock.calls > 0);
    msw_gemm_free(g);
    assert_int_equal(new_gemm(&g, &x, other, 0, 1), MSW_OK);
    msw_gemm_free(g);
    assert_int_equal(msw_wisdom_count(other), 6);
    msw_wisdom_free(other);
    tear_down(&x);
}

static void refuse(msw_wisdom *w, const uint8_t *data, size_t size, msw_status expected)
{
    const size_t count = msw_wisdom_count(w);
    const msw_status status = msw_wisdom_import(w, data, size);

    assert_int_equal(status, expected);
    assert_int_equal(msw_wisdom_count(w), count);
}

/* Every byte changed, every length. */
static void test_damage(void **state)
{
    fixture x;

    (void)state;
    set_up(&x);
    for (size_t i = 0; i < x.size; i++) {
        x.data[i] ^= 0x40;
        refuse(x.wisdom, x.data, x.size,
               i < 8 ? MSW_E_FORMAT : i < 12 ? MSW_E_UNSUPPORTED : MSW_E_CORRUPT);
        x.data[i] ^= 0x40;
    }
    for (size_t size = 0; size < x.size; size++) {
        uint8_t *exact = malloc(size + !size);

        assert_non_null(exact);
        memcpy(exact, x.data, size);
        assert_int_not_equal(msw_wisdom_import(x.wisdom, exact, size), MSW_OK);
        free(exact);
    }
    tear_down(&x);
}

static void seal(fixture *x)
{
    msw__store32(x->data + x->size - 4, msw__crc32c(0, x->data, x->size - 4));
}

/* Whole, but nothing that we wrote: no times, odd times, an odd number of entries. */
static void test_nonsense(void **state)
{
    static const uint64_t times[] = {UINT64_C(0x7ff8000000000000),  /* NaN */
                                     UINT64_C(0x7ff0000000000000),  /* infinity */
                                     UINT64_C(0xbff0000000000000)}; /* -1 */
    static const struct {
        size_t at, width;
    } sides[] = {{0, 8}, {8, 8}, {16, 8}, {40, 4}, {44, 4}};
    enum { AT_COUNT = 204, AT_ENTRY = 212, AT_TIMES = AT_ENTRY + 48 };
    uint8_t *saved;
    fixture x;

    (void)state;
    set_up(&x);
    saved = malloc(x.size);
    assert_non_null(saved);
    memcpy(saved, x.data, x.size);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        msw__store64(x.data + AT_TIMES, times[i]);
        seal(&x);
        refuse(x.wisdom, x.data, x.size, MSW_E_FORMAT);
    }
    memset(x.data + AT_TIMES, 0, 24);
    seal(&x);
    refuse(x.wisdom, x.data, x.size, MSW_E_FORMAT);
    memcpy(x.data, saved, x.size);
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) { /* rows, columns, n, blocks */
        memset(x.data + AT_ENTRY + sides[i].at, 0, sides[i].width);
        seal(&x);
        refuse(x.wisdom, x.data, x.size, MSW_E_FORMAT);
        memcpy(x.data, saved, x.size);
    }
    msw__store64(x.data + AT_COUNT, UINT64_C(1) << 60);
    seal(&x);
    refuse(x.wisdom, x.data, x.size, MSW_E_FORMAT);
    memcpy(x.data, saved, x.size);
    msw__store32(x.data + x.size - 12, msw__crc32c(0, x.data, x.size - 12));
    refuse(x.wisdom, x.data, x.size - 8, MSW_E_FORMAT); /* half an entry */
    memcpy(x.data, saved, x.size);
    msw__store64(x.data + AT_COUNT, 0); /* bytes behind the last */
    seal(&x);
    refuse(x.wisdom, x.data, x.size, MSW_E_FORMAT);
    memcpy(x.data, saved, x.size);
    seal(&x);
    assert_int_equal(msw_wisdom_import(x.wisdom, x.data, x.size), MSW_OK);
    free(saved);
    tear_down(&x);
}

/* What tells products apart. */
static void test_key(void **state)
{
    enum { AT_ENTRY = 212 };
    uint64_t blocks[MSW_CLASS_UNIFIED + 1] = {0};
    fixture x;

    (void)state;
    set_up(&x);
    for (size_t b = 0; b < x.w.u->plan->block_count; b++)
        blocks[x.w.u->classes[b]]++;
    assert_int_equal(msw__load64(x.data + AT_ENTRY), spec.rows);
    assert_int_equal(msw__load64(x.data + AT_ENTRY + 8), spec.columns);
    assert_int_equal(msw__load64(x.data + AT_ENTRY + 16), 20);
    assert_int_equal(msw__load64(x.data + AT_ENTRY + 24), blocks[MSW_CLASS_PRUNED]);
    assert_int_equal(msw__load64(x.data + AT_ENTRY + 32), blocks[MSW_CLASS_UNIFIED]);
    assert_int_equal(msw__load32(x.data + AT_ENTRY + 40), spec.block_rows);
    assert_int_equal(msw__load32(x.data + AT_ENTRY + 44), spec.block_columns);
    tear_down(&x);
}

/* Products that differ in one thing are different ones, however many there are. */
static void test_many(void **state)
{
    enum { PRODUCTS = 70, FIELDS = 7 };
    msw_wisdom *w;
    fixture x;
    uint8_t *data;
    size_t size;

    (void)state;
    set_up(&x);
    assert_int_equal(msw_wisdom_new(&w, x.ctx), MSW_OK);
    for (uint64_t i = 0; i < PRODUCTS; i++) {
        msw__wisdom_entry e = {.key = {100, 100, 100, 100, 100, 100, 100}};
        uint64_t *const fields[] = {&e.key.rows, &e.key.columns, &e.key.n, &e.key.pruned,
                                    &e.key.unified};
        const msw__wisdom_entry *found;

        e.seconds[0] = (double)(i + 1);
        if (i % FIELDS < 5)
            *fields[i % FIELDS] += 1 + i / FIELDS;
        else if (i % FIELDS == 5)
            e.key.block_rows += 1 + (uint32_t)(i / FIELDS);
        else
            e.key.block_columns += 1 + (uint32_t)(i / FIELDS);
        assert_null(msw__wisdom_find(w, &e.key));
        assert_int_equal(msw__wisdom_add(w, &e), MSW_OK);
        assert_int_equal(msw_wisdom_count(w), i + 1);
        found = msw__wisdom_find(w, &e.key);
        assert_non_null(found);
        assert_true(found->seconds[0] == (double)(i + 1));
    }
    assert_int_equal(msw_wisdom_export(w, NULL, 0, &size), MSW_OK);
    data = malloc(size);
    assert_non_null(data);
    assert_int_equal(msw_wisdom_export(w, data, size, &size), MSW_OK);
    assert_int_equal(msw_wisdom_import(x.wisdom, data, size), MSW_OK); /* all at once */
    assert_int_equal(msw_wisdom_count(x.wisdom), PRODUCTS + 1);
    free(data);
    msw_wisdom_free(w);
    tear_down(&x);
}

/* Many entries that this process did not measure, the same products again and again. */
enum { AT_ENTRIES = 212, ENTRY = 72, MANY = 20000, IMPORTED = 7919 };

/* Number i of those: rows 1 ... IMPORTED in an order that is none. */
static uint64_t rows_of(uint64_t i)
{
    return 1 + i * 5003 % IMPORTED;
}

/* MANY entries; the time of number i is @p first + i, and of each product only the last one
 * is to count. Of the columns only the last bit of the rows, so that keys differ in both. */
static void import_many(fixture *x, double first)
{
    const size_t size = AT_ENTRIES + (size_t)MANY * ENTRY + 4;
    uint8_t *data = calloc(1, size);

    assert_non_null(data);
    memcpy(data, x->data, AT_ENTRIES);
    msw__store64(data + AT_ENTRIES - 8, MANY);
    for (uint64_t i = 0; i < MANY; i++) {
        uint8_t *to = data + AT_ENTRIES + i * ENTRY;

        msw__store64(to, 1 + rows_of(i) / 2);
        msw__store64(to + 8, 1 + rows_of(i) % 2);
        msw__store64(to + 16, 1);
        msw__store32(to + 40, 1);
        msw__store32(to + 44, 1);
        msw__store64(to + 48, msw__double_bits(first + (double)i));
    }
    msw__store32(data + size - 4, msw__crc32c(0, data, size - 4));
    assert_int_equal(msw_wisdom_import(x->wisdom, data, size), MSW_OK);
    free(data);
}

static void assert_last_counts(const msw_wisdom *w, double first)
{
    double *last = calloc(IMPORTED + 1, sizeof *last);

    assert_non_null(last);
    for (uint64_t i = 0; i < MANY; i++)
        last[rows_of(i)] = first + (double)i;
    for (uint64_t rows = 1; rows <= IMPORTED; rows++) {
        const msw__wisdom_key key = {.rows = 1 + rows / 2, .columns = 1 + rows % 2, .n = 1,
                                     .block_rows = 1, .block_columns = 1};
        const msw__wisdom_entry *e = msw__wisdom_find(w, &key);

        assert_non_null(e);
        assert_true(e->seconds[0] == last[rows]);
    }
    free(last);
}

static void test_import_many(void **state)
{
    const msw__wisdom_key none = {.rows = 1, .columns = 1, .n = 2, .block_rows = 1,
                                  .block_columns = 1};
    msw__wisdom_entry added = {.key = none, .seconds = {3}};
    fixture x;

    (void)state;
    set_up(&x);
    import_many(&x, 1);
    assert_int_equal(msw_wisdom_count(x.wisdom), IMPORTED + 1); /* and that of set_up() */
    assert_last_counts(x.wisdom, 1);
    assert_null(msw__wisdom_find(x.wisdom, &none));
    import_many(&x, 5); /* those that are there give way */
    assert_int_equal(msw_wisdom_count(x.wisdom), IMPORTED + 1);
    assert_last_counts(x.wisdom, 5);
    for (added.key.n = 30; added.key.n > 2; added.key.n--)
        assert_int_equal(msw__wisdom_add(x.wisdom, &added), MSW_OK);
    added.key = (msw__wisdom_key){.rows = 1 + rows_of(MANY - 1) / 2,
                                  .columns = 1 + rows_of(MANY - 1) % 2, .n = 1,
                                  .block_rows = 1, .block_columns = 1};
    added.seconds[0] = 5 + MANY - 1; /* as it is */
    assert_int_equal(msw__wisdom_add(x.wisdom, &added), MSW_OK);
    assert_int_equal(msw_wisdom_count(x.wisdom), IMPORTED + 29);
    assert_last_counts(x.wisdom, 5);
    tear_down(&x);
}

/* Another machine, other instruction sets. */
static void test_elsewhere(void **state)
{
    msw_context *plain;
    msw_wisdom *w;
    fixture x;

    (void)state;
    set_up(&x);
    plain = new_context(&x, MSW_CPU_C);
    assert_int_equal(msw_wisdom_new(&w, plain), MSW_OK);
    if (strcmp(msw_context_isa(plain), msw_context_isa(x.ctx)) != 0)
        refuse(w, x.data, x.size, MSW_E_UNSUPPORTED);
    msw_wisdom_free(w);
    msw_context_free(plain);
    x.data[12] ^= 1;
    seal(&x);
    refuse(x.wisdom, x.data, x.size, MSW_E_UNSUPPORTED);
    tear_down(&x);
}

/* Every allocation refused in turn. */
static void test_out_of_memory(void **state)
{
    msw_status status = MSW_E_NOMEM;
    fixture x;

    (void)state;
    set_up(&x);
    for (uint64_t k = 1; status == MSW_E_NOMEM; k++) {
        msw_wisdom *w;
        msw_gemm *g = NULL;

        faults_arm(&x.f, k, true);
        status = msw_wisdom_new(&w, x.ctx);
        if (!status)
            status = msw_wisdom_import(w, x.data, x.size);
        if (!status)
            status = new_gemm(&g, &x, w, 3, 1);
        faults_arm(&x.f, 0, false);
        assert_true(status == MSW_OK || status == MSW_E_NOMEM);
        assert_true((g != NULL) == (status == MSW_OK));
        msw_gemm_free(g);
        msw_wisdom_free(w);
    }
    tear_down(&x);
}

/* A convolution keeps and takes the times of its products, group by group. */
static void test_convolution(void **state)
{
    static const size_t shape[4] = {64, 8, 3, 3};
    static float w[64 * 8 * 9] = {1, 2, 3};
    msw_conv_options o;
    msw_plan_options po;
    msw_unified *u;
    msw_tensor *t;
    msw_plan *plan;
    fixture x;

    (void)state;
    set_up(&x);
    msw_plan_options_init(&po);
    po.weights = MSW_WEIGHTS_OIHW;
    po.groups = 2;
    assert_int_equal(msw_plan_new(&plan, x.ctx, shape, 4, &po), MSW_OK);
    assert_int_equal(msw_tensor_borrow(&t, x.ctx, w, shape, NULL, 4), MSW_OK);
    assert_int_equal(msw_unified_from(&u, plan, t, NULL), MSW_OK);
    msw_conv_options_init(&o);
    o.expected_pixels = 64;
    o.wisdom = x.wisdom;
    for (uint32_t tune = 2; tune-- > 0;) {
        const size_t before = msw_wisdom_count(x.wisdom);
        msw_conv *conv;

        o.tune = tune;
        x.clock.calls = 0;
        assert_int_equal(msw_conv_new(&conv, x.ctx, u, &o), MSW_OK);
        assert_int_equal(x.clock.calls != 0, tune);
        assert_int_equal(msw_wisdom_count(x.wisdom) - before, tune);
        msw_conv_free(conv);
    }
    msw_unified_free(u);
    msw_tensor_free(t);
    msw_plan_free(plan);
    tear_down(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments), cmocka_unit_test(test_remembers),
        cmocka_unit_test(test_damage),    cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_key),       cmocka_unit_test(test_many),
        cmocka_unit_test(test_elsewhere), cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_convolution), cmocka_unit_test(test_import_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
