#include "transports/tls_digest.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace transports {

std::string sha256_hex(std::string_view text)
{
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int length = 0;
    if (EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr) != 1) {
        // A library without SHA-256 cannot have opened a channel either.
        (void)std::fputs("ntpgate: SHA-256 is not available\n", stderr);
        std::abort();
    }
    static constexpr std::string_view kDigits = "0123456789abcdef";
    std::string out;
    for (unsigned int i = 0; i < length; ++i) {
        out += kDigits[digest.at(i) >> 4U];
        out += kDigits[digest.at(i) & 0xfU];
    }
    return out;
}

std::array<std::byte, 20> hmac_sha1(std::string_view key, std::string_view text)
{
    std::array<std::byte, 20> digest{};
    unsigned int length = 0;
    // A library that has no SHA-1 leaves zeroes: no hashed name matches then, and its host stays unknown.
    (void)HMAC(EVP_sha1(), key.data(), static_cast<int>(key.size()),
               reinterpret_cast<const unsigned char*>(text.data()), text.size(),
               reinterpret_cast<unsigned char*>(digest.data()), &length);
    return digest;
}

std::string tls_library_version()
{
    return OpenSSL_version(OPENSSL_VERSION);
}

} // namespace transports
