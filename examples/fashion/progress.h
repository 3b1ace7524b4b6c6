/* SPDX-License-Identifier: BSD-2-Clause */
/* On a terminal a bar that grows; elsewhere one line for each finished piece of work. */
#ifndef FASHION_PROGRESS_H
#define FASHION_PROGRESS_H

double seconds_now(void);

/* Redraws the bar, at most ten times a second: `done` of `total` steps of `what`. */
void progress_show(const char *what, int done, int total);
/* Ends the bar with a line of its own, printf-like. */
#ifdef __GNUC__
__attribute__((format(printf, 1, 2)))
#endif
void progress_line(const char *format, ...);

#endif
