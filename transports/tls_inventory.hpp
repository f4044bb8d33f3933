// What a context holds, for records and warnings: certificates and revocation lists by name, hash and time.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "transports/tls_context.hpp"
#include "transports/tls_ocsp.hpp"
#include "transports/tls_openssl.hpp" // calendar, for those who tell of what is held

namespace transports {

struct HeldCertificate {
    std::string subject; // RFC 2253
    std::string issuer;
    std::string serial;        // hex
    std::string fingerprint;   // SHA-256, hex
    Nanoseconds valid_from{};  // wall clock
    Nanoseconds valid_until{}; // wall clock
};
struct HeldList {
    std::string issuer;
    std::string fingerprint;
    std::optional<Nanoseconds> next_update; // wall clock
};
struct TlsInventory {
    std::optional<HeldCertificate> own;
    std::vector<HeldCertificate> chain; // behind our own
    std::string key;                    // SHA-256 of our public key, hex; empty without one
    std::vector<HeldCertificate> anchors;
    std::vector<HeldList> lists;
};
[[nodiscard]] TlsInventory inventory_of(const TlsContext& context);

/// Whether both present the same certificate, or none.
[[nodiscard]] bool same_own_certificate(const TlsContext& one, const TlsContext& other);

/// What would be asked about our own certificate. Nothing without one, when it names no responder, or when neither its
/// file nor the anchors hold its issuer.
[[nodiscard]] std::optional<OcspQuestion> own_question(const TlsContext& context);

} // namespace transports
