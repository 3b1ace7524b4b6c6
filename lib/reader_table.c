/* SPDX-License-Identifier: BSD-2-Clause */
/* What opening checks first: header, section table, padding. Every number is compared
 * with what is left of the file before anything is allocated or read on its word. */
#include "reader.h"

#include "crc32c.h"

#include <string.h>

static msw_status check_header(msw_reader *r, msw__header *h)
{
    uint8_t bytes[MSW__HEADER_BYTES];
    const uint64_t length = r->source.length;
    msw_status status;

    if (length < sizeof bytes)
        return msw__reader_fail(r, MSW_E_FORMAT, "header: only %llu bytes",
                                (unsigned long long)length);
    status = msw__reader_read(r, 0, bytes, sizeof bytes, "header");
    if (status)
        return status;
    status = msw__header_decode(h, bytes);
    if (status)
        return msw__reader_fail(r, status, status == MSW_E_CORRUPT
                                               ? "header: checksum"
                                               : "header: not a file of this kind");
    if (h->version > MSW__FILE_VERSION || h->flags)
        return msw__reader_fail(
            r, MSW_E_UNSUPPORTED,
            "header: version %u, flags %u; this library reads version %u",
            (unsigned)h->version, (unsigned)h->flags, MSW__FILE_VERSION);
    if (h->version == 0 || h->header_length != MSW__HEADER_BYTES)
        return msw__reader_fail(r, MSW_E_FORMAT, "header: version %u of %u bytes",
                                (unsigned)h->version, (unsigned)h->header_length);
    if (h->file_length != length)
        return msw__reader_fail(
            r, MSW_E_FORMAT, "header: %llu bytes announced, there are %llu",
            (unsigned long long)h->file_length, (unsigned long long)length);
    if (h->section_count > MSW__MAX_SECTIONS ||
        (uint64_t)h->section_count * MSW__SECTION_BYTES > length - MSW__HEADER_BYTES)
        return msw__reader_fail(r, MSW_E_FORMAT, "header: %u sections in %llu bytes",
                                (unsigned)h->section_count, (unsigned long long)length);
    return MSW_OK;
}

static msw_status check_zero(msw_reader *r, uint64_t from, uint64_t to)
{
    uint8_t bytes[MSW__FILE_ALIGN];
    msw_status status;

    status = msw__reader_read(r, from, bytes, (size_t)(to - from), "padding");
    for (uint64_t i = 0; i < to - from && !status; i++)
        if (bytes[i])
            status = msw__reader_fail(r, MSW_E_FORMAT, "padding: byte %llu is not zero",
                                      (unsigned long long)(from + i));
    return status;
}

/* Where section i must lie and what its fields may be; @p end: of what is before it. */
static msw_status check_section(msw_reader *r, size_t i, uint64_t end)
{
    const msw__section *s = &r->sections[i], *next = s + 1;
    const uint64_t length = r->source.length, offset = msw__file_aligned(end);
    const unsigned long long number = i;

    if (s->offset != offset || offset > length || s->length == 0 ||
        s->length > MSW__MAX_SECTION || s->length > length - offset)
        return msw__reader_fail(r, MSW_E_FORMAT, "section %llu: %llu bytes at %llu",
                                number, (unsigned long long)s->length,
                                (unsigned long long)s->offset);
    if (s->type == 0 || s->reserved || (i > 0 && s->type < s[-1].type))
        return msw__reader_fail(r, MSW_E_FORMAT, "section %llu: type %u out of order",
                                number, (unsigned)s->type);
    if (s->flags > MSW__SECTION_CRITICAL)
        return msw__reader_fail(r, MSW_E_UNSUPPORTED, "section %llu: flags %u", number,
                                (unsigned)s->flags);
    if (!msw__section_known(s->type))
        return s->flags ? msw__reader_fail(r, MSW_E_UNSUPPORTED,
                                           "section %llu: type %u is not known", number,
                                           (unsigned)s->type)
                        : MSW_OK;
    if (s->flags != msw__section_flags(s->type) || s->expanded != s->length)
        return msw__reader_fail(r, MSW_E_FORMAT,
                                "section %llu: flags %u, %llu bytes expanded", number,
                                (unsigned)s->flags, (unsigned long long)s->expanded);
    if (i + 1 < r->section_count && next->type == s->type &&
        s->length != MSW__MAX_SECTION)
        return msw__reader_fail(r, MSW_E_FORMAT,
                                "section %llu: goes on before it is full", number);
    return MSW_OK;
}

static msw_status check_sections(msw_reader *r)
{
    uint64_t end = MSW__HEADER_BYTES + (uint64_t)r->section_count * MSW__SECTION_BYTES;

    for (size_t i = 0; i < r->section_count; i++) {
        const msw__section *s = &r->sections[i];
        msw_status status = check_section(r, i, end);

        if (!status)
            status = check_zero(r, end, s->offset);
        if (status)
            return status;
        end = s->offset + s->length;
        if (msw__section_known(s->type)) {
            msw__span *stream = &r->streams[s->type];
            if (stream->length == 0)
                stream->offset = s->offset;
            stream->length += s->length;
        }
    }
    if (end != r->source.length)
        return msw__reader_fail(r, MSW_E_FORMAT, "%llu bytes behind the last section",
                                (unsigned long long)(r->source.length - end));
    return MSW_OK;
}

/* What this version does not know is at least undamaged. Only once all sections are
 * known to lie where they must. */
static msw_status check_skipped(msw_reader *r)
{
    msw_status status = MSW_OK;

    for (size_t i = 0; i < r->section_count && !status; i++) {
        const msw__section *s = &r->sections[i];
        const msw__span span = {s->offset, s->length};

        if (!msw__section_known(s->type))
            status = msw__reader_check(r, span, "skipped section");
    }
    return status;
}

static msw_status decode_table(msw_reader *r, const uint8_t *table, const msw__header *h)
{
    const size_t count = h->section_count;
    msw_status status;
    void *memory;

    if (msw__crc32c(0, table, count * MSW__SECTION_BYTES) != h->table_crc)
        return msw__reader_fail(r, MSW_E_CORRUPT, "section table: checksum");
    r->section_count = count;
    status = msw__alloc(&memory, r->ctx, count, sizeof *r->sections);
    r->sections = memory;
    if (!status) {
        status = msw__calloc(&memory, r->ctx, count, sizeof *r->checked);
        r->checked = memory;
    }
    for (size_t i = 0; i < count && !status; i++)
        msw__section_decode(&r->sections[i], table + i * MSW__SECTION_BYTES);
    return status;
}

msw_status msw__reader_load_table(msw_reader *r)
{
    msw__header h;
    msw_status status = check_header(r, &h);
    size_t bytes;
    void *table;

    if (status)
        return status;
    bytes = (size_t)h.section_count * MSW__SECTION_BYTES;
    status = msw__alloc(&table, r->ctx, bytes, 1);
    if (status)
        return status;
    if (bytes)
        status = msw__reader_read(r, MSW__HEADER_BYTES, table, bytes, "section table");
    if (!status)
        status = decode_table(r, table, &h);
    msw__free(r->ctx, table, bytes, 1);
    if (!status)
        status = check_sections(r);
    return status ? status : check_skipped(r);
}
