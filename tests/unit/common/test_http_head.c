/* The header of a response as text. */
#include "tests/unit/common/arena_case.h"

#include "common/http_head.h"
#include "common/http_token.h"

static void add(struct http_head *head, const char *name, const char *value)
{
    http_head_add(head, &arena, slice_cstr(name), slice_cstr(value));
}

static void end(struct http_head *head)
{
    memcpy(http_head_room(head, &arena, 2), "\r\n", 2);
    head->length += 2;
}

static void puts_the_status_line_in_front(void **state)
{
    struct http_head head = {0};
    add(&head, "Server", "kelp");
    add(&head, "Etag", "");
    end(&head);
    assert_slice(http_head_finish(&head, 200), "HTTP/1.1 200 OK\r\nServer: kelp\r\nEtag: \r\n\r\n");
}

static void takes_a_header_without_lines(void **state)
{
    struct http_head head = {0};
    end(&head);
    assert_slice(http_head_finish(&head, 431), "HTTP/1.1 431 Request Header Fields Too Large\r\n\r\n");
}

static void no_value_becomes_a_header(void **state)
{
    struct http_head head = {0};
    http_head_add(&head, &arena, SLICE("A"), SLICE("1\r\nB: 2\0\n3"));
    end(&head);
    assert_slice(http_head_finish(&head, 204), "HTTP/1.1 204 No Content\r\nA: 1  B: 2  3\r\n\r\n");
}

/* At every place of a value of every length. */
static void no_value_becomes_a_header_wherever_it_breaks(void **state)
{
    for (int size = 1; size < 40; size++)
        for (int at = 0; at < size; at++) {
            struct http_head head = {0};
            char value[40];
            memset(value, '\t', sizeof(value));
            value[at] = "\r\n\0"[at % 3];
            http_head_add(&head, &arena, SLICE("A"), slice_of(value, (size_t)size));
            end(&head);
            value[at] = ' ';
            assert_slice(http_head_finish(&head, 200),
                         arena_printf(&arena, "HTTP/1.1 200 OK\r\nA: %.*s\r\n\r\n", size, value));
        }
}

static void removes_all_lines_of_a_name_in_any_case(void **state)
{
    struct http_head head = {0};
    http_head_remove(&head, SLICE("Etag"));
    add(&head, "Etag", "1");
    add(&head, "Etagere", "Etag: 2");
    add(&head, "ETAG", "3");
    add(&head, "Date", "4");
    http_head_remove(&head, SLICE("eTag"));
    http_head_remove(&head, SLICE("Eta"));
    http_head_remove(&head, SLICE(""));
    add(&head, "Etag", "5");
    end(&head);
    assert_slice(http_head_finish(&head, 200),
                 "HTTP/1.1 200 OK\r\nEtagere: Etag: 2\r\nDate: 4\r\nEtag: 5\r\n\r\n");
}

static void forgets_everything(void **state)
{
    struct http_head head = {0};
    http_head_clear(&head);
    add(&head, "A", "1");
    http_head_clear(&head);
    add(&head, "B", "2");
    end(&head);
    assert_slice(http_head_finish(&head, 404), "HTTP/1.1 404 Not Found\r\nB: 2\r\n\r\n");
}

/* Lines of all lengths, so that the text has to move at every one of its ends. */
static void grows_as_long_as_lines_come(void **state)
{
    for (size_t size = 0; size < 2000; size += 7) {
        struct http_head head = {0};
        char *value = memset(arena_alloc(&arena, size + 1), 'x', size);
        value[size] = '\0';
        add(&head, "A", value);
        add(&head, "B", value);
        add(&head, "C", value);
        end(&head);
        assert_slice(http_head_finish(&head, 200),
                     arena_printf(&arena, "HTTP/1.1 200 OK\r\nA: %s\r\nB: %s\r\nC: %s\r\n\r\n",
                                  value, value, value));
        arena_reset(&arena);
    }
}

static void knows_the_characters_of_tokens(void **state)
{
    for (int c = -128; c < 128; c++) {
        bool is_alphanumeric = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        bool is_sign = c > 0 && strchr("!#$%&'*+-.^_`|~", c);
        assert_int_equal(http_is_token_char((char)c), is_alphanumeric || is_sign);
    }
    assert_false(http_is_token(SLICE("")));
    assert_true(http_is_token(SLICE("X-Amz-Request-Id")));
    assert_false(http_is_token(SLICE("X Y")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(puts_the_status_line_in_front, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_a_header_without_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(no_value_becomes_a_header, setup, teardown),
        cmocka_unit_test_setup_teardown(no_value_becomes_a_header_wherever_it_breaks, setup, teardown),
        cmocka_unit_test_setup_teardown(removes_all_lines_of_a_name_in_any_case, setup, teardown),
        cmocka_unit_test_setup_teardown(forgets_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(grows_as_long_as_lines_come, setup, teardown),
        cmocka_unit_test(knows_the_characters_of_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
