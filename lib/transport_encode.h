/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MSW_LIB_TRANSPORT_ENCODE_H
#define MSW_LIB_TRANSPORT_ENCODE_H

#include "writer.h"

/* The payload of an item in the transport form, what storing changed, and the record's
 * parameters. MSW_E_RANGE, MSW_E_NUMERIC: a value that cannot be stored so. */
msw_status msw__transport_unified(msw__item *item, msw__record *record, msw_context *ctx,
                                  const msw_unified *u,
                                  const msw_store_options *o) MSW_NODISCARD;
msw_status msw__transport_tensor(msw__item *item, msw__record *record, msw_context *ctx,
                                 const msw_tensor *t,
                                 const msw_store_options *o) MSW_NODISCARD;

#endif /* MSW_LIB_TRANSPORT_ENCODE_H */
