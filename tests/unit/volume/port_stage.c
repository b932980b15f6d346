/* The words that tests of the data port share. */
#include "port_stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct data_port port, other;
struct reply last;

int stage_start(void **state)
{
    data_port_start(&port, &(struct data_port_options){0});
    return 0;
}

int stage_stop(void **state)
{
    reply_fini(&last);
    data_port_stop(&port);
    return 0;
}

void stage_restart(const struct data_port_options *options)
{
    data_port_stop(&port);
    data_port_start(&port, options);
}

struct reply *ask(const char *method, const char *target, const char *headers, const char *body)
{
    reply_fini(&last);
    data_port_ask(&port, method, target, headers, body, body ? strlen(body) : 0, &last);
    return &last;
}

void ask_other(const char *method, const char *target, const char *headers)
{
    reply_fini(&last);
    data_port_ask(&other, method, target, headers, NULL, 0, &last);
}

void put_hello(void)
{
    ask("PUT", FID, "", "hello");
    assert_int_equal(last.status, 201);
}

void expect(int status, const char *body)
{
    if (last.status != status || strcmp(last.body, body) != 0)
        fail_msg("expected %d %s, got:\n%s", status, body, last.text);
}

void expect_header(const char *name, const char *value)
{
    const char *got = reply_header(&last, name);
    if (value ? !got || strcmp(got, value) != 0 : got != NULL)
        fail_msg("expected %s: %s, got:\n%s", name, value ? value : "(absent)", last.text);
}
