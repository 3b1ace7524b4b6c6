/* SPDX-License-Identifier: BSD-2-Clause */
#include "names.h"

#include <string.h>

enum { LEAST_CAPACITY = 8 };

/* Bytes of the UTF-8 character at p, 0 when it is none. Surrogates, overlong forms and
 * what lies beyond U+10FFFF are none. */
static size_t character(const uint8_t *p, size_t size)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t length = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2
                        : p[0] < 0xf0 ? 3 : p[0] < 0xf8 ? 4 : 0;
    uint32_t code;

    if (length <= 1 || length > size)
        return length > size ? 0 : length;
    code = p[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3fu);
    }
    if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return 0;
    return length;
}

static bool is_control(const uint8_t *p)
{
    return p[0] < 0x20 || p[0] == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0);
}

bool msw__name_valid(const char *name, size_t length)
{
    const uint8_t *p = (const uint8_t *)name;

    if (length == 0 || length > MSW__MAX_NAME)
        return false;
    for (size_t i = 0; i < length;) {
        const size_t step = character(p + i, length - i);
        if (step == 0 || is_control(p + i))
            return false;
        i += step;
    }
    return true;
}

static msw_status grow(msw__names *n, msw_context *ctx, size_t capacity)
{
    void *names, *sorted;
    msw_status status = msw__alloc(&names, ctx, capacity, sizeof *n->names);

    if (status)
        return status;
    status = msw__alloc(&sorted, ctx, capacity, sizeof *n->sorted);
    if (status) {
        msw__free(ctx, names, capacity, sizeof *n->names);
        return status;
    }
    if (n->count) {
        memcpy(names, n->names, n->count * sizeof *n->names);
        memcpy(sorted, n->sorted, n->count * sizeof *n->sorted);
    }
    msw__free(ctx, n->names, n->capacity, sizeof *n->names);
    msw__free(ctx, n->sorted, n->capacity, sizeof *n->sorted);
    n->names = names;
    n->sorted = sorted;
    n->capacity = capacity;
    return MSW_OK;
}

msw_status msw__names_reserve(msw__names *n, msw_context *ctx, size_t more)
{
    size_t wanted;

    if (!msw__size_add(&wanted, n->count, more) || wanted > UINT32_MAX)
        return MSW_E_RANGE;
    if (wanted <= n->capacity)
        return MSW_OK;
    if (more == 1) /* one by one: double */
        wanted = n->capacity < LEAST_CAPACITY ? LEAST_CAPACITY : n->capacity * 2;
    return grow(n, ctx, wanted);
}

/* The first place in sorted[] whose name is not less. */
static size_t lower_bound(const msw__names *n, const char *name)
{
    size_t low = 0, high = n->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(n->names[n->sorted[middle]], name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void msw__names_add(msw__names *n, const char *name)
{
    const size_t at = lower_bound(n, name);

    memmove(n->sorted + at + 1, n->sorted + at, (n->count - at) * sizeof *n->sorted);
    n->sorted[at] = (uint32_t)n->count;
    n->names[n->count++] = name;
}

void msw__names_append(msw__names *n, const char *name)
{
    n->sorted[n->count] = (uint32_t)n->count;
    n->names[n->count++] = name;
}

static bool less(const msw__names *n, size_t a, size_t b)
{
    return strcmp(n->names[n->sorted[a]], n->names[n->sorted[b]]) < 0;
}

static void swap(msw__names *n, size_t a, size_t b)
{
    const uint32_t kept = n->sorted[a];

    n->sorted[a] = n->sorted[b];
    n->sorted[b] = kept;
}

static void sift_down(msw__names *n, size_t root, size_t count)
{
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && less(n, child, child + 1))
            child++;
        if (!less(n, root, child))
            return;
        swap(n, root, child);
    }
}

/* Heap sort: no memory, no recursion, and no order of names makes it slow. */
size_t msw__names_sort(msw__names *n)
{
    for (size_t i = n->count / 2; i-- > 0;)
        sift_down(n, i, n->count);
    for (size_t i = n->count; i-- > 1;) {
        swap(n, 0, i);
        sift_down(n, 0, i);
    }
    for (size_t i = 1; i < n->count; i++)
        if (!less(n, i - 1, i))
            return n->sorted[i];
    return n->count;
}

void msw__names_truncate(msw__names *n, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < n->count; i++)
        if (n->sorted[i] < count)
            n->sorted[kept++] = n->sorted[i];
    n->count = count;
}

bool msw__names_find(size_t *out, const msw__names *n, const char *name)
{
    const size_t at = lower_bound(n, name);

    if (at == n->count || strcmp(n->names[n->sorted[at]], name) != 0)
        return false;
    *out = n->sorted[at];
    return true;
}

void msw__names_free(msw__names *n, msw_context *ctx)
{
    msw__free(ctx, n->names, n->capacity, sizeof *n->names);
    msw__free(ctx, n->sorted, n->capacity, sizeof *n->sorted);
    memset(n, 0, sizeof *n);
}
