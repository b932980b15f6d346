/* Runs a fuzz target as an ordinary test: every file of a corpus, then mutations of them, the same
 * ones for the same seed.
 *
 *   fuzz_x <corpus folder> [rounds [seed]]
 *   fuzz_x <file>
 *
 * Each input is a block of its own size, so that a sanitizer sees a read past its end. When the
 * target aborts, the input is written to crash-<pid> in the working folder: run that file alone. */
#include "tests/fixtures/tally.h"
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_MAX 4096u
#define CORPUS_MAX 256u

struct input {
    uint8_t *data;
    size_t size;
};

static struct input corpus[CORPUS_MAX];
static size_t corpus_count;
static uint64_t chance;
static struct input current; /* for the handler */
static char crash_path[64];

static uint64_t draw(uint64_t limit)
{
    chance ^= chance << 13; /* xorshift64 */
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance % limit;
}

static void keep_crash(int number)
{
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd >= 0 && write(fd, current.data, current.size) == (ssize_t)current.size)
        close(fd);
    signal(number, SIG_DFL);
    raise(number);
}

static void run(const uint8_t *data, size_t size)
{
    current = (struct input){must(malloc(size ? size : 1)), size};
    if (size)
        memcpy(current.data, data, size);
    LLVMFuzzerTestOneInput(current.data, size);
    free(current.data);
}

static void load(const char *path)
{
    struct input input = {must(malloc(INPUT_MAX)), 0};
    FILE *file = fopen(path, "rb");
    CHECK(file);
    input.size = fread(input.data, 1, INPUT_MAX, file);
    fclose(file);
    CHECK(corpus_count < CORPUS_MAX);
    corpus[corpus_count++] = input;
}

static int is_file(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static void load_folder(const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_file, alphasort);
    CHECK(count > 0);
    for (int i = 0; i < count; i++) {
        char path[1024];
        CHECK(snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name) < (int)sizeof(path));
        load(path);
        free(entries[i]);
    }
    free(entries);
}

static void flip(uint8_t *data, size_t size)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff, '0', '/', '%', '"', ';', '\r', '\n'};
    if (size == 0)
        return;
    uint8_t *at = data + draw(size);
    switch (draw(4)) {
    case 0:
        *at ^= (uint8_t)(1u << draw(8));
        break;
    case 1:
        *at = edges[draw(sizeof(edges))];
        break;
    case 2:
        *at = (uint8_t)(*at + draw(9) - 4);
        break;
    default:
        *at = (uint8_t)draw(256);
    }
}

/* One change of the bytes in place; returns the new size. */
static size_t mutate(uint8_t *data, size_t size)
{
    size_t from = draw(size + 1), span = draw(size - from + 1);
    const struct input *other = &corpus[draw(corpus_count)];
    switch (draw(6)) {
    case 0: /* cut out */
        memmove(data + from, data + from + span, size - from - span);
        return size - span;
    case 1: /* say twice */
        if (size + span > INPUT_MAX)
            return size;
        memmove(data + from + span, data + from, size - from);
        return size + span;
    case 2: /* go on as another one does */
        span = other->size < INPUT_MAX - from ? other->size : INPUT_MAX - from;
        span = draw(span + 1);
        memcpy(data + from, other->data + other->size - span, span);
        return from + span;
    default:
        flip(data, size);
        return size;
    }
}

int main(int argc, char **argv)
{
    struct stat st;
    if (argc < 2 || stat(argv[1], &st) != 0) {
        fprintf(stderr, "usage: %s <corpus folder> [rounds [seed]] | <file>\n", argv[0]);
        return 2;
    }
    snprintf(crash_path, sizeof(crash_path), "crash-%d", (int)getpid());
    signal(SIGABRT, keep_crash);
    signal(SIGSEGV, keep_crash);
    bool is_folder = S_ISDIR(st.st_mode);
    if (is_folder)
        load_folder(argv[1]);
    else
        load(argv[1]);
    unsigned long rounds = is_folder && argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    chance = (argc > 3 ? strtoull(argv[3], NULL, 10) : 1) * 0x9e3779b97f4a7c15u | 1;
    for (size_t i = 0; i < corpus_count; i++)
        run(corpus[i].data, corpus[i].size);
    uint8_t *data = must(malloc(INPUT_MAX));
    for (unsigned long i = 0; i < rounds; i++) {
        const struct input *seed = &corpus[draw(corpus_count)];
        size_t size = seed->size;
        memcpy(data, seed->data, size);
        for (uint64_t changes = 1 + draw(8); changes > 0; changes--)
            size = mutate(data, size);
        run(data, size);
    }
    free(data);
    for (size_t i = 0; i < corpus_count; i++)
        free(corpus[i].data);
    tally(corpus_count + rounds, "fuzz executions");
    return 0;
}
