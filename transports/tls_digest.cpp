#include "transports/tls_digest.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>

#include <openssl/crypto.h>
#include <openssl/evp.h>

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

std::string tls_library_version()
{
    return OpenSSL_version(OPENSSL_VERSION);
}

} // namespace transports
