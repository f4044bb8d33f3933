// The verdict on a peer's certificate chain: RFC 5280 by OpenSSL, what it lets pass by ours, and one reason for each
// refusal.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "transports/channel.hpp"
#include "transports/tls_context.hpp"
#include "transports/tls_identity.hpp"
#include "transports/tls_ocsp.hpp"

struct evp_pkey_st;
struct x509_st;
struct x509_store_ctx_st;

namespace transports {

/// Longest chain: the leaf, this many intermediates, and the anchor.
inline constexpr int kMaxIntermediates = 8;

struct VerifyRules {
    TlsRole role{}; // ours: the peer's certificate must serve the other
    Revocation revocation = Revocation::soft;
    bool has_revocation_lists = false;
    Ocsp ocsp = Ocsp::none;
    bool check_time = true;
    std::shared_ptr<CertificateClock> clock; // null = the system's
    bool wildcards = false;
    std::uint16_t min_rsa_bits = 2048;
    std::vector<AllowEntry> allow;       // of a server; empty = any of the CA
    std::vector<std::string> signatures; // IANA names: what certificates may be signed with, and on which curves
};

struct Verdict {
    std::optional<Closed> refusal{}; // nothing = verified
    std::string matched{};           // the reference or allow entry that admitted it
    std::string undetermined{};      // under soft: the first reason why a status is not known
};

/// What somebody beside the lists says of a certificate.
struct StatusSaid {
    bool awaited = false;
    std::optional<OcspFinding> finding{}; // nothing: it was not asked
};
class StatusSource {
public:
    virtual StatusSaid status_of(x509_st& certificate, x509_st& issuer, bool leaf) = 0;

protected:
    ~StatusSource() = default;
};

/// Verifies the chain that `store` was initialised with; on refusal the store's error is set so that OpenSSL sends the
/// alert of RFC 8446 section 6.2 for it. `reference` is looked at in the client role.
/// Whom any believed source calls revoked is; whom none clears is undetermined. `status` is asked about each
/// certificate but the anchor, once everything else is in order.
[[nodiscard]] Verdict verify_chain(x509_store_ctx_st& store, const VerifyRules& rules, const Reference& reference,
                                   StatusSource* status = nullptr);

/// What may not be a trust anchor though OpenSSL would take it; nothing when it may.
[[nodiscard]] std::optional<std::string> why_not_anchor(x509_st& certificate);
/// Whether extendedKeyUsage is there and names the role (exactly, not by "any").
[[nodiscard]] bool has_usage(x509_st& certificate, TlsRole role);
/// Nothing when the key is not RSA, or long enough.
[[nodiscard]] std::optional<std::string> why_weak(evp_pkey_st& key, std::uint16_t min_rsa_bits);

} // namespace transports
