/* One request, one answer in JSON; over HTTPS where https.client of security.toml says so, as all
 * that this program asks over HTTP. */
#include "cli/shell_vacuum_page.h"

#include "cli/json_member.h"

/* NULL where the body is no JSON object. */
static struct json_object *parse_object(const char *body)
{
    struct json_object *document = json_tokener_parse(body);
    if (json_object_is_type(document, json_type_object))
        return document;
    json_object_put(document);
    return NULL;
}

static int read_answer(const struct http_client_response *response,
                       struct json_object **ret_document, struct error *err)
{
    struct json_object *document = parse_object(response->body);
    int code = 0;
    if (response->status / 100 != 2) {
        const char *told = json_text(document, "error");
        code = error_set(err, response->status == 404 ? KELP_E_NOT_FOUND : KELP_E_UNKNOWN,
                         "the master answers %d%s%s", response->status, *told ? ": " : "", told);
    } else if (ret_document && !document) {
        code = error_set(err, KELP_E_CORRUPT, "the master's answer is no JSON");
    }
    if (code == 0 && ret_document)
        *ret_document = document;
    else
        json_object_put(document);
    return code;
}

int vacuum_page_ask(struct shell *shell, const char *method, const char *path,
                    struct json_object **ret_document, struct error *err)
{
    const struct security *security = shell->rpc.security.security;
    char address[ADDRESS_TEXT_SIZE], url[ADDRESS_TEXT_SIZE + 128];
    struct http_client_response response = {0};
    address_format_http(&shell->master, address);
    snprintf(url, sizeof(url), "%s%s/kelp/vacuum/%s", security_client_scheme(security), address,
             path);
    struct http_client_request request = {
        .method = method, .url = url, .tls = security_client_tls(security)};
    int code = http_client_fetch(shell->http, &request, &response, err);
    if (code != 0)
        return code;
    code = read_answer(&response, ret_document, err);
    http_client_response_fini(&response);
    return code;
}
