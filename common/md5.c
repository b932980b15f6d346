/* MD5 on OpenSSL. */
#include "common/md5.h"

#include "common/check.h"

#include <openssl/evp.h>

void md5_digest(struct slice data, unsigned char digest[MD5_SIZE])
{
    unsigned size = 0;
    CHECK(EVP_Digest(data.ptr, data.len, digest, &size, EVP_md5(), NULL) == 1 && size == MD5_SIZE);
}

void md5_base64(struct slice data, char text[MD5_BASE64_SIZE])
{
    unsigned char digest[MD5_SIZE];
    md5_digest(data, digest);
    CHECK(EVP_EncodeBlock((unsigned char *)text, digest, MD5_SIZE) == MD5_BASE64_SIZE - 1);
}
