/* A shell line: words, quotes, several commands, comments. */
#include "tests/unit/cmocka_all.h"

#include "cli/shell_words.h"

#include <string.h>

/* Joins the words with '|', ends of commands as '/'. */
static void check(const char *line, const char *expected)
{
    struct shell_words words;
    struct error err = {0};
    char got[256] = "";
    assert_int_equal(shell_words_split(&words, line, &err), 0);
    for (size_t i = 0; i < words.count; i++) {
        strcat(got, words.items[i] ? words.items[i] : "/");
        if (words.items[i])
            strcat(got, "|");
    }
    shell_words_fini(&words);
    assert_string_equal(got, expected);
}

static void words_are_separated_by_blanks(void **state)
{
    check("", "/");
    check("  volume.list   -v \n", "volume.list|-v|/");
}

static void quotes_hold_together(void **state)
{
    check("a 'b c' \"d;e\"f \"\"", "a|b c|d;ef||/");
    check("it\"'\"s", "it's|/");
}

static void semicolons_part_commands_and_hashes_end_the_line(void **state)
{
    check("lock; volume.vacuum ;unlock", "lock|/volume.vacuum|/unlock|/");
    check("volume.list # all of them", "volume.list|/");
    check("a#b", "a#b|/");
    check(";;", "///");
}

static void an_open_quote_is_refused(void **state)
{
    struct shell_words words;
    struct error err = {0};
    assert_int_equal(shell_words_split(&words, "a 'b", &err), KELP_E_INVALID);
    assert_non_null(strstr(err.message, "not closed"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_separated_by_blanks),
        cmocka_unit_test(quotes_hold_together),
        cmocka_unit_test(semicolons_part_commands_and_hashes_end_the_line),
        cmocka_unit_test(an_open_quote_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
