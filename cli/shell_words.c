/* Splits a line into words. Pure. */
#include "cli/shell_words.h"

#include "common/check.h"

#include <ctype.h>
#include <string.h>

int shell_words_split(struct shell_words *ret, const char *line, struct error *err)
{
    size_t length = strlen(line);
    struct shell_words words = {
        .items = must(calloc(length + 2, sizeof(char *))), /* a word or an end a character, at most */
        .text = must(malloc(2 * length + 2)),
    };
    char *out = words.text;
    char quote = 0;
    bool is_in_word = false;
    for (const char *p = line;; p++) {
        char c = *p;
        bool is_end = c == '\0' || (!quote && (c == ';' || (c == '#' && !is_in_word)));
        if (c == '\0' && quote) {
            shell_words_fini(&words);
            return error_set(err, KELP_E_INVALID, "a %c is not closed", quote);
        }
        if (is_in_word && (is_end || (!quote && isspace((unsigned char)c)))) {
            *out++ = '\0';
            is_in_word = false;
        }
        if (is_end) {
            words.items[words.count++] = NULL;
            if (c == '\0' || c == '#')
                break;
            continue;
        }
        if (!quote && isspace((unsigned char)c))
            continue;
        if (!is_in_word) {
            is_in_word = true;
            words.items[words.count++] = out;
        }
        if (quote ? c == quote : c == '\'' || c == '"')
            quote = quote ? 0 : c;
        else
            *out++ = c;
    }
    *ret = words;
    return 0;
}

void shell_words_fini(struct shell_words *words)
{
    free(words->items);
    free(words->text);
    *words = (struct shell_words){NULL, 0, NULL};
}
