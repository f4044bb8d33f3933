// The one OpenSSL policy: versions, suites, certificates, and how a peer is verified (design 12).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "transports/certificate_clock.hpp"
#include "transports/channel.hpp"

namespace transports {

enum class TlsRole : std::uint8_t { client, server };
enum class ClientCertificate : std::uint8_t { required, optional, none };
enum class Revocation : std::uint8_t { none, soft, require };
/// Whom to ask about revocation: nobody; the peer, by what it staples (a server staples its own); and its responder
/// too.
enum class Ocsp : std::uint8_t { none, staple, fetch };

/// What is offered: from the profile, narrowed by the tunnel. IANA names, in order of preference.
struct TlsPolicy {
    std::vector<std::string> versions;   // "TLS1.3", "TLS1.2"; for datagrams "DTLS1.2"
    std::vector<std::string> suites;     // "TLS_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", ...
    std::vector<std::string> groups;     // "x25519", "secp256r1", ...
    std::vector<std::string> signatures; // "ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256", ...
    bool wildcards = false;              // "*.example.org" in a peer's certificate
    std::uint16_t min_rsa_bits = 2048;
    bool demands_ems = false; // extended master secret (RFC 7627) below TLS 1.3
};

struct TlsSettings {
    TlsRole role = TlsRole::client;
    bool datagrams = false; // DTLS
    TlsPolicy policy;
    std::optional<std::filesystem::path> ca; // file or directory of PEM; absent on a client = the system's trust store
    std::optional<std::filesystem::path> certificate; // PEM chain, leaf first; mandatory on a server
    std::optional<std::filesystem::path> key;
    std::vector<std::filesystem::path> crl; // files or directories of PEM CRLs
    Revocation revocation = Revocation::soft;
    Ocsp ocsp = Ocsp::none;
    bool check_time = true;
    /// Certificates are judged by this clock, and in all but their time as long as it is unknown (client role).
    std::shared_ptr<CertificateClock> clock;
    ClientCertificate client_certificate = ClientCertificate::required; // server role
    std::vector<std::string> allow; // server role: "DNS:" "IP:" "URI:" "EMAIL:" "SPKI-SHA256:"; empty = any of the CA
    /// "ntpgate/1" under frame v1: a peer without it is refused as no_alpn. Absent under raw framing: a server refuses
    /// a peer that offers any with alert 120 (unexpected_alpn), a client offers none.
    std::optional<std::string> alpn;
};

/// Something in the settings that cannot work; `setting` is the configuration key it came from ("ca", "suites", ...).
struct TlsProblem {
    std::string setting;
    std::string text;
};

class TlsEngine;

/// Immutable once made; engines keep what they need of it alive. Loading reads files and may block: before the loop,
/// or off it.
class TlsContext {
public:
    [[nodiscard]] static std::variant<std::shared_ptr<const TlsContext>, std::vector<TlsProblem>>
    create(const TlsSettings& settings);
    ~TlsContext();
    TlsContext(const TlsContext&) = delete;
    TlsContext& operator=(const TlsContext&) = delete;

    [[nodiscard]] const TlsSettings& settings() const noexcept;
    /// Wall clock end of our own certificate; 0 when there is none.
    [[nodiscard]] Nanoseconds own_valid_until() const noexcept;

    struct State;
    [[nodiscard]] const State& state() const noexcept { return *state_; }

private:
    explicit TlsContext(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

/// IANA names this build knows, for `check` and error messages; empty reason = usable.
[[nodiscard]] std::string why_unusable_suite(const std::string& iana_name);
[[nodiscard]] std::string why_unusable_group(const std::string& iana_name);
[[nodiscard]] std::string why_unusable_signature(const std::string& iana_name);

} // namespace transports
