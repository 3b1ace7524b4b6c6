/* SPDX-License-Identifier: BSD-2-Clause */
#include <msw/base.h>
#include <msw/version.h>

const char *msw_status_text(msw_status status)
{
    switch ((int)status) {
#define STATUS_CASE(name, value, text) \
    case value: \
        return text;
        MSW_STATUS_MAP(STATUS_CASE)
#undef STATUS_CASE
    default:
        return "unknown status";
    }
}

uint32_t msw_version(void)
{
    return MSW_VERSION;
}
