#include "transports/dtls_sealed.hpp"

#include <string_view>

#include <openssl/obj_mac.h>
#include <openssl/ssl.h>

namespace transports {

namespace {

constexpr std::size_t kExplicitNonce = 8; // RFC 5288 section 3, RFC 6655 section 3
constexpr std::size_t kTag = 16;
constexpr std::size_t kShortTag = 8; // RFC 6655 section 4

constexpr std::size_t kShortestCbc = 16 + 32; // RFC 5246 section 6.2.3.2: vector, then SHA-1 and padding

} // namespace

std::optional<std::size_t> shortest_sealed(const SSL& session)
{
    const SSL_CIPHER* const current = SSL_get_current_cipher(&session);
    const SSL_CIPHER* const suite = current != nullptr ? current : SSL_get_pending_cipher(&session);
    if (suite == nullptr) {
        return std::nullopt;
    }
    if (SSL_CIPHER_is_aead(suite) == 0) {
        return kShortestCbc;
    }
    if (SSL_CIPHER_get_cipher_nid(suite) == NID_chacha20_poly1305) {
        return kTag;
    }
    const bool short_tag = std::string_view{SSL_CIPHER_get_name(suite)}.ends_with("CCM8");
    return kExplicitNonce + (short_tag ? kShortTag : kTag);
}

} // namespace transports
