/* Flags in Go's syntax. See config.h for why this is not argp. At start, before threads. */
#include "common/config.h"

#include "common/check.h"
#include "common/log.h"
#include "common/os.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define OPTIONS_FILE_LIMIT (1u << 20)

static int parse_bool(struct slice text, bool *ret)
{
    static const char *const words[2][6] = {{"0", "f", "F", "false", "FALSE", "False"},
                                            {"1", "t", "T", "true", "TRUE", "True"}};
    for (int value = 0; value < 2; value++)
        for (int i = 0; i < 6; i++)
            if (slice_equals(text, slice_cstr(words[value][i]))) {
                *ret = value;
                return 0;
            }
    return KELP_E_INVALID;
}

int config_parse_duration(struct slice text, int64_t *ret_ns, struct error *err)
{
    static const struct {
        const char *name;
        double ns;
    } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
    char copy[64];
    if (text.len == 0 || text.len >= sizeof(copy))
        goto bad;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';

    char *p = copy;
    double sign = *p == '-' ? -1 : 1;
    if (*p == '-' || *p == '+')
        p++;
    if (strcmp(p, "0") == 0) {
        *ret_ns = 0;
        return 0;
    }
    double total = 0;
    while (*p) {
        if (!isdigit((unsigned char)*p) && *p != '.')
            goto bad;
        char *end;
        double number = strtod(p, &end);
        size_t length = strspn(end, "numsh");
        double ns = 0;
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
            if (strlen(units[i].name) == length && memcmp(end, units[i].name, length) == 0)
                ns = units[i].ns;
        if (end == p || ns == 0)
            goto bad;
        total += number * ns;
        p = end + length;
    }
    if (p == copy || total > 9.2e18)
        goto bad;
    *ret_ns = (int64_t)(sign * total);
    return 0;
bad:
    return error_set(err, KELP_E_INVALID, "\"%.*s\" is no duration; write 300ms, 10s, 1m30s or 2h",
                     (int)(text.len < 64 ? text.len : 64), text.ptr);
}

int config_parse_size(struct slice text, uint64_t *ret_bytes, struct error *err)
{
    char copy[64];
    if (text.len == 0 || text.len >= sizeof(copy) || !isdigit((unsigned char)text.ptr[0]))
        goto bad;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';

    char *end;
    double number = strtod(copy, &end);
    while (*end == ' ')
        end++;
    double factor = 1;
    const char *letters = "kmgtp";
    const char *letter = *end ? strchr(letters, tolower((unsigned char)*end)) : NULL;
    if (letter) {
        bool is_binary = tolower((unsigned char)end[1]) == 'i';
        factor = pow(is_binary ? 1024 : 1000, (double)(letter - letters + 1));
        end += is_binary ? 2 : 1;
    }
    if (tolower((unsigned char)*end) == 'b')
        end++;
    if (*end != '\0' || number * factor >= 1.8e19)
        goto bad;
    *ret_bytes = (uint64_t)(number * factor);
    return 0;
bad:
    return error_set(err, KELP_E_INVALID, "\"%.*s\" is no size; write 500MB, 10GiB or a number of bytes",
                     (int)(text.len < 64 ? text.len : 64), text.ptr);
}

static int parse_number(const struct config_flag *flag, const char *value)
{
    char *end;
    errno = 0;
    switch (flag->kind) {
    case CONFIG_INT:
        *(int64_t *)flag->target = strtoll(value, &end, 0);
        break;
    case CONFIG_UINT:
        if (value[0] == '-')
            return KELP_E_INVALID;
        *(uint64_t *)flag->target = strtoull(value, &end, 0);
        break;
    default:
        *(double *)flag->target = strtod(value, &end);
    }
    return *value == '\0' || isspace((unsigned char)*value) || *end != '\0' || errno ? KELP_E_INVALID
                                                                                      : 0;
}

static const char *kind_name(enum config_kind kind)
{
    static const char *const names[] = {"true or false", "an integer", "a number from 0 on",
                                        "a number",      "a text",     "a duration such as 10s",
                                        "true or false", "a value"};
    return names[kind];
}

/* `value` outlives the process's use of the target. */
static int set_value(const struct config_flag *flag, const char *value, struct error *err)
{
    int code = 0;
    switch (flag->kind) {
    case CONFIG_BOOL:
        code = parse_bool(slice_cstr(value), flag->target);
        break;
    case CONFIG_STRING:
        *(const char **)flag->target = value;
        break;
    case CONFIG_DURATION:
        code = config_parse_duration(slice_cstr(value), flag->target, NULL);
        break;
    case CONFIG_IGNORED_SWITCH:
    case CONFIG_IGNORED_VALUE:
        log_warning("flag without effect", "flag=-%s", flag->name);
        break;
    default:
        code = parse_number(flag, value);
    }
    if (code != 0)
        error_set(err, code, "invalid value \"%s\" for -%s: want %s", value, flag->name,
                  kind_name(flag->kind));
    return code;
}

static bool is_switch(const struct config_flag *flag)
{
    return flag->kind == CONFIG_BOOL || flag->kind == CONFIG_IGNORED_SWITCH;
}

static bool is_ignored(const struct config_flag *flag)
{
    return flag->kind == CONFIG_IGNORED_SWITCH || flag->kind == CONFIG_IGNORED_VALUE;
}

static ptrdiff_t find_flag(const struct config_command *command, struct slice name)
{
    for (size_t i = 0; i < command->flag_count; i++)
        if (slice_equals(name, slice_cstr(command->flags[i].name)))
            return (ptrdiff_t)i;
    return -1;
}

/* Edit distance with a bound on the length that is looked at. */
static size_t distance(const char *a, const char *b)
{
    size_t la = strnlen(a, 63), lb = strnlen(b, 63), row[64];
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            bool is_same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            size_t change = diagonal + (is_same ? 0 : 1);
            diagonal = row[j];
            size_t best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < best ? change : best;
        }
    }
    return row[lb];
}

const char *config_nearest(const char *word, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 2; /* farther away is another word */
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(word, names[i]);
        if (d < least) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

static int unknown_flag(const struct config_command *command, struct slice name, struct error *err)
{
    char word[64];
    const char *names[256];
    size_t length = name.len < sizeof(word) - 1 ? name.len : sizeof(word) - 1;
    memcpy(word, name.ptr, length);
    word[length] = '\0';
    CHECK(command->flag_count <= 256);
    for (size_t i = 0; i < command->flag_count; i++)
        names[i] = command->flags[i].name;
    const char *nearest = config_nearest(word, names, command->flag_count);
    if (nearest)
        return error_set(err, KELP_E_INVALID,
                         "unknown flag -%s; did you mean -%s? \"kelp help %s\" lists all", word, nearest,
                         command->name);
    return error_set(err, KELP_E_INVALID, "unknown flag -%s; \"kelp help %s\" lists all", word,
                     command->name);
}

static int parse_words(const struct config_command *command, int argc, char **argv, bool *is_set,
                       int *ret_rest, struct error *err)
{
    int i = 1;
    for (; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-' || word[1] == '\0')
            break;
        if (strcmp(word, "--") == 0) {
            i++;
            break;
        }
        word += word[1] == '-' ? 2 : 1;
        const char *equals = strchr(word, '=');
        struct slice name = {word, equals ? (size_t)(equals - word) : strlen(word)};
        ptrdiff_t found = find_flag(command, name);
        if (found < 0 && (slice_equals(name, SLICE("h")) || slice_equals(name, SLICE("help"))))
            return KELP_E_CANCELLED;
        if (found < 0)
            return unknown_flag(command, name, err);
        const struct config_flag *flag = &command->flags[found];
        const char *value = equals ? equals + 1 : NULL;
        if (!value && is_switch(flag))
            value = "true";
        if (!value && i + 1 < argc)
            value = argv[++i];
        if (!value)
            return error_set(err, KELP_E_INVALID, "-%s needs a value: %s", flag->name,
                             kind_name(flag->kind));
        int code = set_value(flag, value, err);
        if (code != 0)
            return code;
        is_set[found] = true;
    }
    *ret_rest = i;
    return 0;
}

static int parse_environment(const struct config_command *command, bool *is_set, struct error *err)
{
    for (size_t i = 0; i < command->flag_count; i++) {
        char name[64];
        size_t length = 0;
        for (const char *p = command->flags[i].name; *p && length < sizeof(name) - 1; p++)
            name[length++] = *p == '.' || *p == '-' ? '_' : (char)toupper((unsigned char)*p);
        name[length] = '\0';
        const char *value = is_set[i] || is_ignored(&command->flags[i]) ? NULL : getenv(name);
        if (!value)
            continue;
        if (*value == '\0' && is_switch(&command->flags[i]))
            value = "true";
        if (set_value(&command->flags[i], value, err) != 0)
            return error_prefix(err, "environment variable %s", name);
        is_set[i] = true;
    }
    return 0;
}

/* One line of the options file, terminated, without its newline. */
static int parse_line(const struct config_command *command, char *line, bool *is_set,
                      struct error *err)
{
    line += strspn(line, " \t-");
    size_t end = strlen(line);
    while (end > 0 && isspace((unsigned char)line[end - 1]))
        line[--end] = '\0';
    if (*line == '\0' || *line == '#')
        return 0;
    size_t name_length = strcspn(line, "=: \t");
    char *value = line + name_length;
    value += strspn(value, " \t");
    if (*value == '=' || *value == ':')
        value++;
    value += strspn(value, " \t");
    struct slice name = {line, name_length};
    ptrdiff_t found = find_flag(command, name);
    if (found < 0)
        return unknown_flag(command, name, err);
    if (is_set[found])
        return 0;
    if (*value == '\0' && is_switch(&command->flags[found]))
        value = (char *)(uintptr_t)"true";
    is_set[found] = true;
    return set_value(&command->flags[found], value, err);
}

/* Values point into the files they were read from. */
struct kept_file {
    struct kept_file *next;
    char *data;
};
static struct kept_file *kept_files;

static char *keep_file(char *data)
{
    struct kept_file *kept = must(malloc(sizeof(*kept)));
    *kept = (struct kept_file){kept_files, data};
    kept_files = kept;
    return data;
}

static int parse_options_file(const struct config_command *command, const char *path, bool *is_set,
                              struct error *err)
{
    char *data;
    size_t size;
    int code = os_read_file(os_real(), path, OPTIONS_FILE_LIMIT, &data, &size, err);
    if (code != 0)
        return error_prefix(err, "-options");
    char *rest = keep_file(data);
    for (int number = 1; code == 0 && rest; number++) {
        char *line = strsep(&rest, "\n");
        code = parse_line(command, line, is_set, err);
        if (code != 0)
            error_prefix(err, "%s line %d", path, number);
    }
    return code;
}

int config_parse(const struct config_command *command, int argc, char **argv, int *ret_rest,
                 struct error *err)
{
    bool is_set[256] = {false};
    CHECK(command->flag_count <= 256);
    for (size_t i = 0; i < command->flag_count; i++) {
        const struct config_flag *flag = &command->flags[i];
        const char *zero = flag->kind == CONFIG_STRING ? "" : flag->kind == CONFIG_BOOL ? "false" : "0";
        if (is_ignored(flag))
            continue;
        CHECK(set_value(flag, flag->fallback ? flag->fallback : zero, NULL) == 0);
    }
    int code = parse_words(command, argc, argv, is_set, ret_rest, err);
    if (code == 0 && !command->ignores_environment)
        code = parse_environment(command, is_set, err);
    ptrdiff_t options = find_flag(command, SLICE("options"));
    const char *path = options >= 0 ? *(const char **)command->flags[options].target : "";
    if (code == 0 && *path)
        code = parse_options_file(command, path, is_set, err);
    return code;
}

void config_print_help(const struct config_command *command, FILE *out)
{
    static const char *const kinds[] = {"", " int", " uint", " float", " string", " duration",
                                        "",  " value"};
    fprintf(out, "Example: kelp %s %s\n", command->name, command->usage);
    if (command->flag_count > 0)
        fprintf(out, "Flags:\n");
    for (size_t i = 0; i < command->flag_count; i++) {
        const struct config_flag *flag = &command->flags[i];
        fprintf(out, "  -%s%s\n    \t%s", flag->name, kinds[flag->kind],
                is_ignored(flag) ? "taken for compatibility, without effect" : flag->help);
        if (flag->fallback && *flag->fallback && strcmp(flag->fallback, "0") != 0)
            fprintf(out, flag->kind == CONFIG_STRING ? " (default \"%s\")" : " (default %s)",
                    flag->fallback);
        fprintf(out, "\n");
    }
    fprintf(out, "Description:\n  %s\n", command->summary);
    if (command->description)
        fprintf(out, "%s\n", command->description);
}
