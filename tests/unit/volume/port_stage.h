/* A data port for each test, a second one for those that want it, and the last answer.
 *
 * One of each a program, under short names: this is the vocabulary in which the tests of the data
 * port are written. */
#pragma once

#include "data_port.h"

#define FID "/3,01637037d6"

extern struct data_port port, other;
extern struct reply last;

/* Set-up and teardown of a test; they see to `port` and `last`. */
int stage_start(void **state);
int stage_stop(void **state);
/* `port` anew, with an empty store. */
void stage_restart(const struct data_port_options *options);

/* Each leaves its answer in `last`. `body` NULL: none. */
struct reply *ask(const char *method, const char *target, const char *headers, const char *body);
void ask_other(const char *method, const char *target, const char *headers);
void put_hello(void);

/* Of `last`; `value` NULL: the header is not there. */
void expect(int status, const char *body);
void expect_header(const char *name, const char *value);
