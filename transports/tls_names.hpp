// The IANA names of suites, groups and signature schemes, what this build can do with each, and a policy in OpenSSL's
// words.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "transports/tls_context.hpp"

struct evp_pkey_st;
struct x509_st;

namespace transports {

/// TLS versions as they stand on the wire.
inline constexpr std::uint16_t kTls12 = 0x0303;
inline constexpr std::uint16_t kTls13 = 0x0304;

/// A policy that holds together, by name for OpenSSL and by code point for looking at a ClientHello.
struct CompiledPolicy {
    std::uint16_t lowest = kTls13;
    std::uint16_t highest = kTls13;
    std::string suites13; // colon-separated, OpenSSL's names
    std::string suites12;
    std::string groups;
    std::string signatures;
    std::vector<std::uint16_t> suite_codes; // of the versions offered only
    std::vector<std::uint16_t> group_codes;
    std::vector<std::uint16_t> signature_codes; // of a server: only those that its key can make
};

/// Nothing when a problem was added.
[[nodiscard]] std::optional<CompiledPolicy> compile_policy(const TlsPolicy& policy, std::vector<TlsProblem>& problems);

/// The schemes of `policy` that `key` can sign with.
[[nodiscard]] std::vector<std::uint16_t> signing_codes(evp_pkey_st& key, const TlsPolicy& policy);

/// Whether a handshake under `policy` can be signed with `key`; otherwise what kind of key it is ("ECDSA P-521").
[[nodiscard]] std::optional<std::string> why_unusable_key(evp_pkey_st& key, const TlsPolicy& policy);

/// Whether `certificate` is signed with a scheme of `signatures` (IANA names); otherwise with what it is signed.
[[nodiscard]] std::optional<std::string> why_unoffered_signature(x509_st& certificate,
                                                                 const std::vector<std::string>& signatures);
/// Whether `key`, when it is one on an elliptic curve, is on that of a scheme of `signatures`; otherwise its curve.
[[nodiscard]] std::optional<std::string> why_unoffered_curve(evp_pkey_st& key,
                                                             const std::vector<std::string>& signatures);

} // namespace transports
