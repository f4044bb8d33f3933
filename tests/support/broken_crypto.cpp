// Preloaded into ntpgate: one primitive of the library, named in BROKEN_CRYPTO, gives a wrong answer.
#include <cstdlib>
#include <cstring>

#include <dlfcn.h>
#include <openssl/evp.h>

namespace {

bool is_broken(const char* function)
{
    const char* const named = std::getenv("BROKEN_CRYPTO");
    return named != nullptr && std::strcmp(named, function) == 0;
}

template <class Function>
Function next(const char* name)
{
    return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

} // namespace

extern "C" int EVP_Digest(const void* data, size_t count, unsigned char* digest, unsigned int* size, const EVP_MD* type,
                          ENGINE* engine)
{
    const int result = next<decltype(&EVP_Digest)>("EVP_Digest")(data, count, digest, size, type, engine);
    digest[0] ^= is_broken("EVP_Digest") ? 1 : 0;
    return result;
}

extern "C" int EVP_CipherFinal_ex(EVP_CIPHER_CTX* context, unsigned char* out, int* size)
{
    const int result = next<decltype(&EVP_CipherFinal_ex)>("EVP_CipherFinal_ex")(context, out, size);
    return is_broken("EVP_CipherFinal_ex") ? 1 : result; // opens what it must not
}

extern "C" int EVP_DecryptFinal(EVP_CIPHER_CTX* context, unsigned char* out, int* size)
{
    const int result = next<decltype(&EVP_DecryptFinal)>("EVP_DecryptFinal")(context, out, size);
    return is_broken("EVP_DecryptFinal") ? 1 : result; // as libssh took it before CVE-2026-59847 was mended
}

extern "C" int EVP_DigestVerify(EVP_MD_CTX* context, const unsigned char* signature, size_t size,
                                const unsigned char* data, size_t count)
{
    const int result = next<decltype(&EVP_DigestVerify)>("EVP_DigestVerify")(context, signature, size, data, count);
    return is_broken("EVP_DigestVerify") ? 1 : result; // believes everything
}

extern "C" int EVP_KDF_derive(EVP_KDF_CTX* context, unsigned char* key, size_t size, const OSSL_PARAM parameters[])
{
    const int result = next<decltype(&EVP_KDF_derive)>("EVP_KDF_derive")(context, key, size, parameters);
    key[0] ^= is_broken("EVP_KDF_derive") ? 1 : 0;
    return result;
}
