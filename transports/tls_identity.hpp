// Who a certificate names: the reference identifier a server must bear, the allow list of clients, and the words for
// both.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "transports/channel.hpp"

struct x509_st;

namespace transports {

/// What a server's certificate must carry (RFC 6125): a host name, or an address, which is never matched as text.
struct Reference {
    std::string name;                   // as it was asked for
    std::string host;                   // without a trailing dot; empty when it is an address
    std::vector<unsigned char> address; // 4 or 16 octets; empty when it is a host
};
/// A zone ("fe80::1%eth0") names an interface of ours, and is no part of the address.
[[nodiscard]] Reference make_reference(const std::string& name);

/// Looks at subjectAltName only. An empty reference is borne by nobody.
[[nodiscard]] bool bears(x509_st& certificate, const Reference& reference, bool wildcards);

enum class AllowKind : std::uint8_t { dns, ip, uri, email, spki_sha256 };
struct AllowEntry {
    AllowKind kind{};
    std::string text;  // as configured
    std::string value; // to compare: dns in lower case, ip and hash as octets
};
/// What is wrong with an entry.
struct BadEntry {
    std::string text;
};
[[nodiscard]] std::variant<AllowEntry, BadEntry> parse_allow_entry(const std::string& text);
/// The first entry that admits the certificate, or null.
[[nodiscard]] const AllowEntry* admitting_entry(const x509_st& certificate, std::span<const AllowEntry> entries);

[[nodiscard]] bool has_alternative_name(const x509_st& certificate);
[[nodiscard]] bool has_common_name(const x509_st& certificate);
/// subject, issuer, serial, fingerprint and names; the rest is the handshake's.
[[nodiscard]] PeerIdentity describe(const x509_st& certificate);

} // namespace transports
