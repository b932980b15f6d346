/* What a server knows of security.toml lives in one `state`, which a reload replaces as a whole under
 * the lock; requests read it under the same lock, shared. Whether there is anything to check at all is
 * kept beside it in atomics, so that a server without keys and lists never takes the lock. */
#include "common/security.h"

#include "common/check.h"
#include "common/log.h"
#include "common/os.h"
#include "common/white_list.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct token_key {
    char *text; /* "": none */
    int64_t lifetime_s;
};

struct state {
    struct token_key keys[SECURITY_KEYS];
    struct white_list *white_list;
};

struct security {
    struct settings *settings;
    struct os *os;
    char *flag_white_list;
    bool shows_pages;
    bool has_client_tls;
    struct http_client_tls client_tls; /* texts owned */
    pthread_rwlock_t lock; /* guards state */
    struct state state;
    atomic_bool wants_token[SECURITY_KEYS];
    atomic_bool has_white_list;
};

static void fini_state(struct state *state)
{
    for (int i = 0; i < SECURITY_KEYS; i++)
        free(state->keys[i].text);
    white_list_destroy(state->white_list);
}

static int read_white_list(const struct security *security, struct white_list **ret,
                           struct error *err)
{
    const char *more = settings_text(security->settings, "guard.white_list");
    char *all;
    CHECK(asprintf(&all, "%s,%s", security->flag_white_list, more) >= 0);
    int code = white_list_create(ret, all, err);
    free(all);
    return code;
}

static int read_state(const struct security *security, struct state *ret, struct error *err)
{
    static const struct {
        const char *key, *lifetime;
        int64_t default_s;
    } rows[SECURITY_KEYS] = {
        [SECURITY_WRITE] = {"jwt.signing.key", "jwt.signing.expires_after_seconds", 10},
        [SECURITY_READ] = {"jwt.signing.read.key", "jwt.signing.read.expires_after_seconds", 60},
    };
    struct state state = {.white_list = NULL};
    int code = 0;
    for (int i = 0; code == 0 && i < SECURITY_KEYS; i++) {
        state.keys[i].text = must(strdup(settings_text(security->settings, rows[i].key)));
        code = settings_int(security->settings, rows[i].lifetime, rows[i].default_s,
                            &state.keys[i].lifetime_s, err);
    }
    if (code == 0)
        code = read_white_list(security, &state.white_list, err);
    if (code != 0)
        fini_state(&state);
    else
        *ret = state;
    return code;
}

/* Takes over what `state` holds. */
static void publish(struct security *security, struct state *state)
{
    pthread_rwlock_wrlock(&security->lock);
    struct state old = security->state;
    security->state = *state;
    for (int i = 0; i < SECURITY_KEYS; i++)
        atomic_store(&security->wants_token[i], *state->keys[i].text != '\0');
    atomic_store(&security->has_white_list, state->white_list != NULL);
    pthread_rwlock_unlock(&security->lock);
    fini_state(&old);
}

static const char *keep(const struct security *security, const char *key)
{
    return must(strdup(settings_text(security->settings, key)));
}

static int read_client_tls(struct security *security, struct error *err)
{
    struct http_client_tls *tls = &security->client_tls;
    tls->ca = keep(security, "https.client.ca");
    tls->cert = keep(security, "https.client.cert");
    tls->key = keep(security, "https.client.key");
    int code = settings_bool(security->settings, "https.client.enabled", false,
                             &security->has_client_tls, err);
    if (code == 0)
        code = settings_bool(security->settings, "https.client.insecure_skip_verify", false,
                             &tls->is_unverified, err);
    if (code == 0 && (*tls->cert == '\0') != (*tls->key == '\0'))
        code = error_set(err, KELP_E_INVALID, "%s: https.client needs cert and key, or neither",
                         settings_path(security->settings));
    return code;
}

int security_create(struct security **ret, struct settings *settings, const char *white_list,
                    struct os *os, struct error *err)
{
    struct security *security = must(calloc(1, sizeof(*security)));
    struct state state;
    bool is_open = false;
    security->settings = settings;
    security->os = os ? os : os_real();
    security->flag_white_list = must(strdup(white_list ? white_list : ""));
    /* Else requests without end would keep a reload waiting, and a key that is to go in force. */
    pthread_rwlockattr_t writers_first;
    pthread_rwlockattr_init(&writers_first);
    pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&security->lock, &writers_first);
    pthread_rwlockattr_destroy(&writers_first);
    int code = settings_bool(settings, "access.ui", false, &is_open, err);
    if (code == 0)
        code = read_client_tls(security, err);
    if (code == 0)
        code = read_state(security, &state, err);
    if (code != 0) {
        security_destroy(security);
        return code;
    }
    security->shows_pages = is_open || *state.keys[SECURITY_WRITE].text == '\0';
    publish(security, &state);
    *ret = security;
    return 0;
}

int security_reload(struct security *security, struct error *err)
{
    struct state state;
    int code = security->settings ? settings_reload(security->settings, err) : 0;
    if (code == 0)
        code = read_state(security, &state, err);
    if (code == 0)
        publish(security, &state);
    return code;
}

void security_destroy(struct security *security)
{
    if (!security)
        return;
    fini_state(&security->state);
    pthread_rwlock_destroy(&security->lock);
    free(security->flag_white_list);
    free((char *)(uintptr_t)security->client_tls.ca);
    free((char *)(uintptr_t)security->client_tls.cert);
    free((char *)(uintptr_t)security->client_tls.key);
    free(security);
}

/* ---- white list ---- */

bool security_has_white_list(const struct security *security)
{
    return atomic_load_explicit(&security->has_white_list, memory_order_relaxed);
}

bool security_admits(struct security *security, const char *ip)
{
    if (!security_has_white_list(security))
        return true;
    pthread_rwlock_rdlock(&security->lock);
    bool is_admitted = white_list_admits(security->state.white_list, ip);
    pthread_rwlock_unlock(&security->lock);
    return is_admitted;
}

/* ---- tokens ---- */

bool security_wants_token(const struct security *security, enum security_key key)
{
    return atomic_load_explicit(&security->wants_token[key], memory_order_relaxed);
}

/* "3" and "01637037d6_1" -> "3,01637037d6". False when it cannot be a file id's. */
static bool join_file_id(struct slice vid, struct slice fid, char *text, size_t size,
                         struct slice *ret)
{
    ptrdiff_t suffix = slice_find_last(fid, '_');
    if (suffix > 0)
        fid = slice_until(fid, (size_t)suffix);
    if (vid.len == 0 || vid.len + fid.len + 1 > size)
        return false;
    memcpy(text, vid.ptr, vid.len);
    text[vid.len] = ',';
    if (fid.len > 0)
        memcpy(text + vid.len + 1, fid.ptr, fid.len);
    *ret = slice_of(text, vid.len + 1 + fid.len);
    return true;
}

bool security_check_token(struct security *security, enum security_key key, struct slice token,
                          struct slice vid, struct slice fid)
{
    char text[256];
    struct slice wanted;
    if (!security_wants_token(security, key))
        return true;
    if (!join_file_id(vid, fid, text, sizeof(text), &wanted))
        return false;
    int64_t now_ns = os_now_ns(security->os);
    pthread_rwlock_rdlock(&security->lock);
    struct slice secret = slice_cstr(security->state.keys[key].text);
    bool is_good =
        secret.len == 0 || file_token_verify(secret, token, wanted, now_ns, NULL) == 0;
    pthread_rwlock_unlock(&security->lock);
    return is_good;
}

const char *security_make_token(struct security *security, enum security_key key, struct slice fid,
                                char ret[FILE_TOKEN_MAX])
{
    struct error err = {0};
    ret[0] = '\0';
    if (!security_wants_token(security, key))
        return ret;
    int64_t now_s = os_now_ns(security->os) / 1000000000;
    pthread_rwlock_rdlock(&security->lock);
    const struct token_key *own = &security->state.keys[key];
    int64_t lifetime_s = own->lifetime_s;
    int code = 0;
    if (*own->text)
        code = file_token_sign(slice_cstr(own->text), fid, lifetime_s > 0 ? now_s + lifetime_s : 0,
                                ret, &err);
    pthread_rwlock_unlock(&security->lock);
    if (code != 0)
        log_warning("a token was not made", "error=\"%s\"", err.message);
    return ret;
}

const struct http_client_tls *security_client_tls(const struct security *security)
{
    return security && security->has_client_tls ? &security->client_tls : NULL;
}

const char *security_client_scheme(const struct security *security)
{
    return security_client_tls(security) ? "https://" : "http://";
}

bool security_shows_pages(const struct security *security) { return security->shows_pages; }
