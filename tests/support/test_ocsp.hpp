// OCSP responses with every property a test may want to be wrong.
#pragma once

#include <chrono>
#include <optional>
#include <vector>

#include "tests/support/test_pki.hpp"
#include "transports/tls_ocsp.hpp"

namespace support {

enum class Said : std::uint8_t { good, revoked, unknown };

struct ResponseWish {
    Said said = Said::good;
    std::chrono::seconds starts = std::chrono::hours{-1};              // from now
    std::optional<std::chrono::seconds> ends = std::chrono::hours{24}; // nothing = no nextUpdate
    const Identity* signer = nullptr;                                  // null = the issuer
    bool with_signer = true;                                           // its certificate is in the response
    bool sha1 = false;                                                 // signed with it
    bool sha256_id = false;                                            // how the certificate is named
};
/// What a responder says of `certificate`, which `issuer` has issued; DER.
[[nodiscard]] std::vector<unsigned char> ocsp_response(const Identity& certificate, const Identity& issuer,
                                                       const ResponseWish& wish);
[[nodiscard]] transports::OcspQuestion ocsp_question(const Identity& certificate, const Identity& issuer);

} // namespace support
