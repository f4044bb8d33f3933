#include "transports/tls_identity.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string_view>

#include <arpa/inet.h>

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "transports/tls_openssl.hpp"

namespace transports {

namespace {

// What a peer can make us remember of its names.
constexpr std::size_t kMaxNames = 64;

struct FreeNames {
    void operator()(GENERAL_NAMES* names) const noexcept { GENERAL_NAMES_free(names); }
};
using Names = std::unique_ptr<GENERAL_NAMES, FreeNames>;

std::vector<unsigned char> parse_address(const std::string& text)
{
    std::vector<unsigned char> address(sizeof(in6_addr));
    if (inet_pton(AF_INET6, text.c_str(), address.data()) == 1) {
        return address;
    }
    address.resize(sizeof(in_addr));
    if (inet_pton(AF_INET, text.c_str(), address.data()) == 1) {
        return address;
    }
    return {};
}

std::string print_address(std::string_view octets)
{
    std::array<char, INET6_ADDRSTRLEN> text{};
    const int family = octets.size() == sizeof(in_addr) ? AF_INET : AF_INET6;
    if (octets.size() != sizeof(in_addr) && octets.size() != sizeof(in6_addr)) {
        return {};
    }
    return inet_ntop(family, octets.data(), text.data(), text.size()) == nullptr ? "" : text.data();
}

// ASCII only: a locale must not decide who is let in.
std::string lower(std::string_view text)
{
    std::string lowered{text};
    for (char& letter : lowered) {
        if (letter >= 'A' && letter <= 'Z') {
            letter = static_cast<char>(letter - 'A' + 'a');
        }
    }
    return lowered;
}

std::string without_trailing_dot(std::string host)
{
    if (!host.empty() && host.back() == '.') {
        host.pop_back();
    }
    return host;
}

Names names_of(const x509_st& certificate)
{
    return Names{static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr))};
}

std::string_view octets_of(const ASN1_STRING* text)
{
    const auto* const data = static_cast<const void*>(ASN1_STRING_get0_data(text));
    return {static_cast<const char*>(data), static_cast<std::size_t>(ASN1_STRING_length(text))};
}

/// One name of a kind that an allow list can hold. The octets may hold NUL: they are compared whole.
struct AlternativeName {
    AllowKind kind;
    std::string_view octets;
};

std::optional<AlternativeName> read_name(const GENERAL_NAME* name)
{
    int type = 0;
    const void* const value = GENERAL_NAME_get0_value(name, &type);
    if (type == GEN_DNS || type == GEN_URI || type == GEN_EMAIL || type == GEN_IPADD) {
        const AllowKind kind = type == GEN_DNS     ? AllowKind::dns
                               : type == GEN_URI   ? AllowKind::uri
                               : type == GEN_IPADD ? AllowKind::ip
                                                   : AllowKind::email;
        return AlternativeName{kind, octets_of(static_cast<const ASN1_STRING*>(value))};
    }
    return std::nullopt;
}

std::string print_name(const AlternativeName& name)
{
    switch (name.kind) {
    case AllowKind::dns:
        return "DNS:" + std::string{name.octets};
    case AllowKind::ip:
        return "IP:" + print_address(name.octets);
    case AllowKind::uri:
        return "URI:" + std::string{name.octets};
    case AllowKind::email:
        return "EMAIL:" + std::string{name.octets};
    case AllowKind::spki_sha256:
        break; // not a name
    }
    return {};
}

std::string key_hash(const x509_st& certificate)
{
    unsigned char* der = nullptr;
    const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(&certificate), &der);
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int digest_size = 0;
    const bool hashed = size > 0 && EVP_Digest(der, static_cast<std::size_t>(size), digest.data(), &digest_size,
                                               EVP_sha256(), nullptr) == 1;
    OPENSSL_free(der);
    return hashed ? std::string{digest.begin(), std::next(digest.begin(), digest_size)} : std::string{};
}

std::optional<std::string> parse_hex(std::string_view text)
{
    const auto digit = [](char letter) -> unsigned {
        const auto at = std::string_view{"0123456789abcdef"}.find(letter);
        return at == std::string_view::npos ? 16U : static_cast<unsigned>(at);
    };
    std::string octets;
    const std::string digits = lower(text);
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
        const unsigned high = digit(digits[i]);
        const unsigned low = digit(digits[i + 1]);
        if (high > 15 || low > 15) {
            return std::nullopt;
        }
        octets += static_cast<char>(high << 4U | low);
    }
    return octets;
}

std::optional<std::string> parse_hash(std::string_view text)
{
    constexpr std::size_t kHash = 32;
    constexpr std::size_t kBase64 = 44; // of 32 octets, with its one '='
    if (text.size() == 2 * kHash) {
        return parse_hex(text);
    }
    if (text.size() != kBase64 || !text.ends_with('=') || text.find('=') != kBase64 - 1) {
        return std::nullopt;
    }
    const std::vector<unsigned char> encoded{text.begin(), text.end()};
    std::array<unsigned char, kHash + 1> octets{};
    if (EVP_DecodeBlock(octets.data(), encoded.data(), static_cast<int>(encoded.size())) != kHash + 1) {
        forget_library_errors();
        return std::nullopt;
    }
    return std::string{octets.begin(), std::next(octets.begin(), kHash)};
}

} // namespace

Reference make_reference(const std::string& name)
{
    const std::string address = name.find(':') != std::string::npos ? name.substr(0, name.find('%')) : name;
    if (auto octets = parse_address(address); !octets.empty()) {
        return {name, "", std::move(octets)};
    }
    return {name, without_trailing_dot(name), {}};
}

bool bears(x509_st& certificate, const Reference& reference, bool wildcards)
{
    if (!reference.address.empty()) {
        return X509_check_ip(&certificate, reference.address.data(), reference.address.size(), 0) == 1;
    }
    if (reference.host.empty()) {
        return false;
    }
    unsigned int flags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                         X509_CHECK_FLAG_SINGLE_LABEL_SUBDOMAINS;
    if (!wildcards) {
        flags |= X509_CHECK_FLAG_NO_WILDCARDS;
    }
    return X509_check_host(&certificate, reference.host.data(), reference.host.size(), flags, nullptr) == 1;
}

std::variant<AllowEntry, BadEntry> parse_allow_entry(const std::string& text)
{
    const std::size_t colon = text.find(':');
    const std::string prefix = text.substr(0, colon);
    const std::string value = colon == std::string::npos ? "" : text.substr(colon + 1);
    if (value.empty()) {
        return BadEntry{"expected DNS:, IP:, URI:, EMAIL: or SPKI-SHA256: and a value"};
    }
    if (prefix == "DNS") {
        if (value.find('*') != std::string::npos) {
            return BadEntry{"wildcards are not for the allow list: name each peer"};
        }
        return AllowEntry{AllowKind::dns, text, without_trailing_dot(lower(value))};
    }
    if (prefix == "IP") {
        const auto address = parse_address(value);
        if (address.empty()) {
            return BadEntry{"not an IP address"};
        }
        return AllowEntry{AllowKind::ip, text, {address.begin(), address.end()}};
    }
    if (prefix == "URI" || prefix == "EMAIL") {
        return AllowEntry{prefix == "URI" ? AllowKind::uri : AllowKind::email, text, value};
    }
    if (prefix == "SPKI-SHA256") {
        const auto hash = parse_hash(value);
        if (!hash) {
            return BadEntry{"expected 64 hexadecimal digits, or 44 characters of base64"};
        }
        return AllowEntry{AllowKind::spki_sha256, text, *hash};
    }
    return BadEntry{"unknown kind " + prefix + ": (expected DNS:, IP:, URI:, EMAIL: or SPKI-SHA256:)"};
}

const AllowEntry* admitting_entry(const x509_st& certificate, std::span<const AllowEntry> entries)
{
    const std::string hash = key_hash(certificate);
    std::vector<std::pair<AllowKind, std::string>> borne{{AllowKind::spki_sha256, hash}};
    const Names names = names_of(certificate);
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        if (const auto name = read_name(sk_GENERAL_NAME_value(names.get(), i))) {
            borne.emplace_back(name->kind, name->kind == AllowKind::dns ? lower(name->octets) : name->octets);
        }
    }
    const auto found = std::ranges::find_if(entries, [&](const AllowEntry& entry) {
        return !entry.value.empty() && std::ranges::find(borne, std::pair{entry.kind, entry.value}) != borne.end();
    });
    return found == entries.end() ? nullptr : &*found;
}

bool has_alternative_name(const x509_st& certificate)
{
    return X509_get_ext_by_NID(&certificate, NID_subject_alt_name, -1) >= 0;
}

bool has_common_name(const x509_st& certificate)
{
    return X509_NAME_get_index_by_NID(X509_get_subject_name(&certificate), NID_commonName, -1) >= 0;
}

PeerIdentity describe(const x509_st& certificate)
{
    PeerIdentity peer;
    peer.subject = subject_of(certificate);
    peer.issuer = issuer_of(certificate);
    const std::unique_ptr<BIGNUM, decltype(&BN_free)> serial{
        ASN1_INTEGER_to_BN(X509_get0_serialNumber(&certificate), nullptr), &BN_free};
    if (serial) {
        char* const digits = BN_bn2hex(serial.get());
        peer.serial = digits != nullptr ? lower(digits) : "";
        OPENSSL_free(digits);
    }
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    if (X509_digest(&certificate, EVP_sha256(), digest.data(), &size) == 1) {
        peer.fingerprint = lower_hex({digest.data(), size});
    }
    const Names names = names_of(certificate);
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()) && peer.names.size() < kMaxNames; ++i) {
        if (const auto name = read_name(sk_GENERAL_NAME_value(names.get(), i))) {
            peer.names.push_back(print_name(*name));
        }
    }
    return peer;
}

} // namespace transports
