/* Tokens on the data port: where they are looked for, which routes want one, and when. */
#include "tests/unit/cmocka_all.h"

#include "data_port.h"

#include <stdlib.h>
#include <string.h>

#define FID "/3,01637037d6"

static struct data_port port;
static struct settings *settings;
static struct reply last;
static char token[FILE_TOKEN_MAX], other[FILE_TOKEN_MAX];

static int start(void **state)
{
    (void)state;
    setenv("WEED_JWT_SIGNING_KEY", "writes", 1);
    setenv("WEED_JWT_SIGNING_READ_KEY", "reads", 1);
    assert_int_equal(settings_open(&settings, "no-such-file-of-kelp", "", NULL), 0);
    data_port_start(&port, &(struct data_port_options){.settings = settings, .has_public_port = true});
    assert_int_equal(file_token_sign(SLICE("writes"), SLICE("3,01637037d6"), 0, token, NULL), 0);
    assert_int_equal(file_token_sign(SLICE("reads"), SLICE("3,01637037d6"), 0, other, NULL), 0);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    data_port_stop(&port);
    settings_close(settings);
    reply_fini(&last);
    last = (struct reply){0};
    unsetenv("WEED_JWT_SIGNING_KEY");
    unsetenv("WEED_JWT_SIGNING_READ_KEY");
    return 0;
}

static int ask(const char *method, const char *target, const char *format, const char *text)
{
    char headers[2 * FILE_TOKEN_MAX];
    const char *body = *method == 'P' ? "hello" : NULL;
    const char *mark = strchr(format, '@'); /* where the text goes */
    size_t before = mark ? (size_t)(mark - format) : strlen(format);
    memcpy(headers, format, before);
    char *at = headers + before;
    if (mark) {
        at = stpcpy(at, text);
        at = stpcpy(at, mark + 1);
    }
    *at = '\0';
    reply_fini(&last);
    data_port_ask(&port, method, target, headers, body, body ? 5 : 0, &last);
    if (last.status == 401)
        assert_string_equal(last.body, "{\"error\":\"wrong jwt\"}");
    return last.status;
}

static void token_is_found_where_clients_put_it(void **state)
{
    (void)state;
    char target[FILE_TOKEN_MAX + 64];
    static const char *const good[] = {
        "Authorization: Bearer @\r\n",
        "authorization: BEARER @\r\n",
        "Authorization: bearer:@\r\n", /* six letters and one more, as with the peer */
        "Cookie: AT=@\r\n",
        "Cookie: a=b; AT=@; c=d\r\n",
        "Cookie: AT=\"@\"\r\n",
        "Cookie: a=b\r\nCookie: AT=@\r\n",
        "Authorization: Bearer\r\nCookie: AT=@\r\n",
    };
    static const char *const bad[] = {
        "",
        "Authorization: @\r\n",
        "Authorization: Basic @\r\n",
        "Authorization: Bearer @x\r\n",
        "Authorization: Bearer x\r\nCookie: AT=@\r\n", /* the first there is counts */
        "Cookie: at=@\r\n",
        "Cookie: XAT=@\r\n",
        "Cookie: AT@\r\n",
        "Cookie: AT=x; AT=@\r\n",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_not_equal(ask("PUT", FID, good[i], token), 401);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(ask("PUT", FID, bad[i], token), 401);
    stpcpy(stpcpy(target, FID "?jwt="), token);
    assert_int_equal(ask("PUT", target, "Authorization: Bearer x\r\n", ""), 204);
    assert_int_equal(ask("PUT", FID "?jwt=x", "Authorization: Bearer @\r\n", token), 401);
    assert_int_equal(ask("PUT", FID "?jwt=", "Authorization: Bearer @\r\n", token), 204);
}

static void each_method_wants_its_own_token(void **state)
{
    (void)state;
    const char *bearer = "Authorization: Bearer @\r\n";
    assert_int_equal(ask("POST", FID, bearer, other), 401);
    assert_int_equal(ask("PUT", FID, bearer, token), 201);
    assert_int_equal(ask("GET", FID, "", ""), 401);
    assert_int_equal(ask("GET", FID, bearer, token), 401);
    assert_int_equal(ask("GET", FID, bearer, other), 200);
    assert_int_equal(ask("GET", "/3/01637037d6/name.txt", bearer, other), 200);
    assert_int_equal(ask("GET", "/3,01637037d6_1", bearer, other), 404);
    assert_int_equal(ask("GET", "/3,01637037d7", bearer, other), 401);
    assert_int_equal(ask("DELETE", FID, bearer, other), 401);
    assert_int_equal(ask("DELETE", FID, bearer, token), 202);
    assert_int_equal(ask("OPTIONS", FID, "", ""), 200);
    assert_int_equal(ask("GET", "/status", "", ""), 200);
    assert_int_equal(ask("GET", "/healthz", "", ""), 200);
}

static void order_of_checks_is_the_peers(void **state)
{
    (void)state;
    assert_int_equal(ask("PUT", "/x,01637037d6", "", ""), 400);
    assert_int_equal(ask("PUT", "/3,1", "", ""), 401);
    assert_int_equal(ask("DELETE", "/3,1", "", ""), 400);
    assert_int_equal(ask("GET", "/x,01637037d6", "", ""), 401);
}

static void upload_without_token_need_not_be_sent(void **state)
{
    (void)state;
    const char *head = "PUT " FID " HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n"
                       "Expect: 100-continue\r\n\r\n";
    reply_fini(&last);
    data_port_exchange(http_server_port(port.server), head, strlen(head), &last);
    assert_int_equal(last.status, 401);
}

static void public_port_wants_tokens_for_reading(void **state)
{
    (void)state;
    char head[2 * FILE_TOKEN_MAX];
    const char *bare = "GET " FID " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_int_equal(ask("PUT", FID, "Authorization: Bearer @\r\n", token), 201);
    reply_fini(&last);
    data_port_exchange(http_server_port(port.public_server), bare, strlen(bare), &last);
    assert_int_equal(last.status, 401);
    snprintf(head, sizeof(head), "GET " FID "?jwt=%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
             other);
    reply_fini(&last);
    data_port_exchange(http_server_port(port.public_server), head, strlen(head), &last);
    assert_int_equal(last.status, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(token_is_found_where_clients_put_it, start, stop),
        cmocka_unit_test_setup_teardown(each_method_wants_its_own_token, start, stop),
        cmocka_unit_test_setup_teardown(order_of_checks_is_the_peers, start, stop),
        cmocka_unit_test_setup_teardown(upload_without_token_need_not_be_sent, start, stop),
        cmocka_unit_test_setup_teardown(public_port_wants_tokens_for_reading, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
