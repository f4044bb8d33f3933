#include "transports/tls_hello.hpp"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <openssl/ssl.h>

namespace transports {

namespace {

using Octets = std::span<const unsigned char>;

std::optional<Octets> extension(SSL& session, unsigned int type)
{
    const unsigned char* data = nullptr;
    std::size_t size = 0;
    if (SSL_client_hello_get0_ext(&session, type, &data, &size) != 1) {
        return std::nullopt;
    }
    return Octets{data, size};
}

/// The 16-bit numbers behind a length of `prefix` octets. Broken lists come out short: OpenSSL refuses them later.
std::vector<std::uint16_t> numbers(Octets data, std::size_t prefix)
{
    std::vector<std::uint16_t> values;
    data = data.subspan(std::min(prefix, data.size()));
    for (; data.size() >= 2; data = data.subspan(2)) {
        values.push_back(static_cast<std::uint16_t>(data[0] << 8U | data[1]));
    }
    return values;
}

bool meet(const std::vector<std::uint16_t>& theirs, const std::vector<std::uint16_t>& ours)
{
    return std::ranges::any_of(theirs, [&](std::uint16_t code) { return std::ranges::count(ours, code) > 0; });
}

bool offers_dtls12(SSL& session)
{
    // DTLS versions count downwards. OpenSSL 3.0 knows no later one and looks at the legacy version only, so that a
    // client of DTLS 1.3 alone would be answered with what it does not speak (RFC 9147 section 5.3).
    if (const auto listed = extension(session, TLSEXT_TYPE_supported_versions)) {
        const auto versions = numbers(*listed, 1);
        return std::ranges::count(versions, DTLS1_2_VERSION) > 0;
    }
    const unsigned int legacy = SSL_client_hello_get0_legacy_version(&session);
    return legacy <= DTLS1_2_VERSION;
}

bool offers_our_version(SSL& session, const CompiledPolicy& policy, bool datagrams)
{
    if (datagrams) {
        return offers_dtls12(session);
    }
    if (const auto listed = extension(session, TLSEXT_TYPE_supported_versions)) {
        return std::ranges::any_of(numbers(*listed, 1), [&](std::uint16_t version) {
            return version >= policy.lowest && version <= policy.highest;
        });
    }
    // RFC 8446 section 4.2.1: without the extension nothing above TLS 1.2 is on offer.
    return policy.lowest == kTls12 && SSL_client_hello_get0_legacy_version(&session) >= kTls12;
}

/// RFC 7301 section 3.1: a 16-bit length, then names of one octet of length each.
bool lists_protocol(Octets data, std::string_view wanted)
{
    data = data.subspan(std::min<std::size_t>(2, data.size()));
    while (!data.empty()) {
        const std::size_t size = data.front();
        data = data.subspan(1);
        if (size > data.size()) {
            return false;
        }
        if (std::ranges::equal(data.first(size), wanted, [](unsigned char octet, char letter) {
                return octet == static_cast<unsigned char>(letter);
            })) {
            return true;
        }
        data = data.subspan(size);
    }
    return false;
}

std::optional<Closed> judge_alpn(SSL& session, const std::optional<std::string>& alpn)
{
    const auto offered = extension(session, TLSEXT_TYPE_application_layer_protocol_negotiation);
    if (!alpn) {
        return offered ? std::optional{Closed{CloseReason::unexpected_alpn, "the peer offers an application protocol"}}
                       : std::nullopt;
    }
    if (!offered) {
        return Closed{CloseReason::no_alpn, "the peer offers no application protocol"};
    }
    if (!lists_protocol(*offered, *alpn)) {
        return Closed{CloseReason::no_alpn, "the peer does not offer " + *alpn};
    }
    return std::nullopt;
}

/// Below TLS 1.3 a peer that does not offer it would get a master secret that is not bound to this handshake.
std::optional<Closed> judge_ems(SSL& session, const CompiledPolicy& policy, const TlsSettings& settings)
{
    const auto listed = extension(session, TLSEXT_TYPE_supported_versions);
    const bool tls13 = !settings.datagrams && policy.highest == kTls13 && listed &&
                       std::ranges::count(numbers(*listed, 1), kTls13) > 0;
    if (!settings.policy.demands_ems || tls13 || extension(session, TLSEXT_TYPE_extended_master_secret)) {
        return std::nullopt;
    }
    return Closed{CloseReason::no_extended_master_secret, "the peer offers no extended master secret"};
}

} // namespace

HelloJudgement judge_hello(ssl_st& session, const CompiledPolicy& policy, const TlsSettings& settings)
{
    HelloJudgement judgement;
    if (!offers_our_version(session, policy, settings.datagrams)) {
        if (settings.datagrams) {
            judgement.refusal = Closed{CloseReason::protocol_version, "the peer does not offer DTLS 1.2"};
        }
        return judgement; // OpenSSL refuses TLS with the alert for that, which says more than a missing protocol
    }
    const unsigned char* suites = nullptr;
    const std::size_t size = SSL_client_hello_get0_ciphers(&session, &suites);
    judgement.overlap.suites = meet(numbers({suites, size}, 0), policy.suite_codes);
    if (const auto groups = extension(session, TLSEXT_TYPE_supported_groups)) {
        judgement.overlap.groups = meet(numbers(*groups, 2), policy.group_codes);
    }
    if (const auto signatures = extension(session, TLSEXT_TYPE_signature_algorithms)) {
        judgement.overlap.signatures = meet(numbers(*signatures, 2), policy.signature_codes);
    }
    judgement.refusal = judge_alpn(session, settings.alpn);
    if (!judgement.refusal) {
        judgement.refusal = judge_ems(session, policy, settings);
    }
    return judgement;
}

} // namespace transports
