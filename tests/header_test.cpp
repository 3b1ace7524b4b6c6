/* SPDX-License-Identifier: BSD-2-Clause */
/* Each public header compiles alone, twice, and needs no language extension. */
#include MSW_TEST_HEADER
#include MSW_TEST_HEADER

int main(void)
{
    return 0;
}
