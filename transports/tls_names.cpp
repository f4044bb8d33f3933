#include "transports/tls_names.hpp"

#include <algorithm>
#include <array>
#include <span>

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "transports/tls_openssl.hpp"

namespace transports {

namespace {

struct Suite {
    std::string iana;
    std::string library;
    std::uint16_t code{};
    bool tls13{};
    int exchange{};       // NID_kx_...
    int authentication{}; // NID_auth_...
    int bits{};
};

struct Group {
    std::string_view iana;
    std::uint16_t code;
    std::string_view curve; // of an EC key on it; empty when there is none
};

enum class Kind : std::uint8_t { rsa, rsa_pss, ec, ed25519, ed448 };

struct Signature {
    std::string_view iana;
    std::uint16_t code;
    Kind kind;
    std::string_view curve; // TLS 1.3 binds it to the scheme, TLS 1.2 does not
    bool tls13;             // may sign a TLS 1.3 handshake, not only certificates
    bool sha1;
};

// RFC 8446 section 4.2.7 and RFC 7919; what OpenSSL 3.0 has.
constexpr std::array kGroups{
    Group{"x25519", 29, ""},
    Group{"secp256r1", 23, "prime256v1"},
    Group{"secp384r1", 24, "secp384r1"},
    Group{"secp521r1", 25, "secp521r1"},
    Group{"x448", 30, ""},
    Group{"ffdhe2048", 256, ""},
    Group{"ffdhe3072", 257, ""},
    Group{"ffdhe4096", 258, ""},
    Group{"ffdhe6144", 259, ""},
    Group{"ffdhe8192", 260, ""},
};

// RFC 8446 section 4.2.3.
constexpr std::array kSignatures{
    Signature{"ecdsa_secp256r1_sha256", 0x0403, Kind::ec, "prime256v1", true, false},
    Signature{"ecdsa_secp384r1_sha384", 0x0503, Kind::ec, "secp384r1", true, false},
    Signature{"ecdsa_secp521r1_sha512", 0x0603, Kind::ec, "secp521r1", true, false},
    Signature{"ed25519", 0x0807, Kind::ed25519, "", true, false},
    Signature{"ed448", 0x0808, Kind::ed448, "", true, false},
    Signature{"rsa_pss_rsae_sha256", 0x0804, Kind::rsa, "", true, false},
    Signature{"rsa_pss_rsae_sha384", 0x0805, Kind::rsa, "", true, false},
    Signature{"rsa_pss_rsae_sha512", 0x0806, Kind::rsa, "", true, false},
    Signature{"rsa_pss_pss_sha256", 0x0809, Kind::rsa_pss, "", true, false},
    Signature{"rsa_pss_pss_sha384", 0x080A, Kind::rsa_pss, "", true, false},
    Signature{"rsa_pss_pss_sha512", 0x080B, Kind::rsa_pss, "", true, false},
    Signature{"rsa_pkcs1_sha256", 0x0401, Kind::rsa, "", false, false},
    Signature{"rsa_pkcs1_sha384", 0x0501, Kind::rsa, "", false, false},
    Signature{"rsa_pkcs1_sha512", 0x0601, Kind::rsa, "", false, false},
    Signature{"rsa_pkcs1_sha1", 0x0201, Kind::rsa, "", false, true},
    Signature{"ecdsa_sha1", 0x0203, Kind::ec, "", false, true},
};

// Asking the library keeps the names right for whatever it was built with.
std::vector<Suite> list_suites()
{
    std::vector<Suite> suites;
    const Owned<ssl_ctx_st> context{SSL_CTX_new(TLS_method())};
    if (!context) {
        return suites;
    }
    SSL_CTX_set_security_level(context.get(), 0);
    (void)SSL_CTX_set_cipher_list(context.get(), "ALL:COMPLEMENTOFALL"); // a failure leaves fewer names known
    (void)SSL_CTX_set_ciphersuites(context.get(),
                                   "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:"
                                   "TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256");
    const STACK_OF(SSL_CIPHER)* const all = SSL_CTX_get_ciphers(context.get());
    for (int i = 0; i < sk_SSL_CIPHER_num(all); ++i) {
        const SSL_CIPHER* const cipher = sk_SSL_CIPHER_value(all, i);
        const char* const iana = SSL_CIPHER_standard_name(cipher);
        if (iana == nullptr) {
            continue;
        }
        suites.push_back({iana, SSL_CIPHER_get_name(cipher), SSL_CIPHER_get_protocol_id(cipher),
                          SSL_CIPHER_get_kx_nid(cipher) == NID_kx_any, SSL_CIPHER_get_kx_nid(cipher),
                          SSL_CIPHER_get_auth_nid(cipher), SSL_CIPHER_get_bits(cipher, nullptr)});
    }
    forget_library_errors();
    return suites;
}

const Suite* find_suite(const std::string& iana_name)
{
    static const std::vector<Suite> kSuites = list_suites();
    const auto found = std::ranges::find(kSuites, iana_name, &Suite::iana);
    return found == kSuites.end() ? nullptr : &*found;
}

template <class Table>
auto find_named(const Table& table, std::string_view iana_name) -> decltype(table.data())
{
    for (const auto& row : table) {
        if (row.iana == iana_name) {
            return &row;
        }
    }
    return nullptr;
}

std::optional<std::uint16_t> version_code(std::string_view version)
{
    if (version == "TLS1.3") {
        return kTls13;
    }
    // RFC 6347: DTLS 1.2 is TLS 1.2 on datagrams, with its suites and signatures.
    if (version == "TLS1.2" || version == "DTLS1.2") {
        return kTls12;
    }
    return std::nullopt;
}

bool offers(const TlsPolicy& policy, std::uint16_t version)
{
    return std::ranges::any_of(policy.versions, [&](const auto& text) { return version_code(text) == version; });
}

} // namespace

std::string why_unusable_suite(const std::string& iana_name)
{
    const Suite* const suite = find_suite(iana_name);
    if (suite == nullptr) {
        return "not a cipher suite that this build knows";
    }
    if (suite->tls13 && suite->bits >= 112) {
        return {};
    }
    if (suite->authentication != NID_auth_ecdsa && suite->authentication != NID_auth_rsa && !suite->tls13) {
        return "does not authenticate the server by a certificate";
    }
    if (suite->exchange != NID_kx_ecdhe && !suite->tls13) {
        return "only ECDHE key exchange is supported";
    }
    return suite->bits < 112 ? "weaker than the 112 bits that OpenSSL's security level 2 asks for" : "";
}

std::string why_unusable_group(const std::string& iana_name)
{
    return find_named(kGroups, iana_name) == nullptr ? "not a group that this build knows" : "";
}

std::string why_unusable_signature(const std::string& iana_name)
{
    const Signature* const signature = find_named(kSignatures, iana_name);
    if (signature == nullptr) {
        return "not a signature scheme that this build knows";
    }
    return signature->sha1 ? "SHA-1 is below OpenSSL's security level 2" : "";
}

namespace {

struct NameList {
    std::string_view setting;
    const std::vector<std::string>& names;
    std::string (*why_unusable)(const std::string&);
};

void check_names(const NameList& list, std::vector<TlsProblem>& problems)
{
    if (list.names.empty()) {
        problems.push_back({std::string{list.setting}, "none is given"});
    }
    for (auto it = list.names.begin(); it != list.names.end(); ++it) {
        if (const std::string why = list.why_unusable(*it); !why.empty()) {
            problems.push_back({std::string{list.setting}, *it + ": " + why});
        } else if (std::find(list.names.begin(), it, *it) != it) {
            problems.push_back({std::string{list.setting}, *it + ": named twice"});
        }
    }
}

std::string why_unusable_version(const std::string& version)
{
    return version_code(version) ? "" : "not a version that this build offers (TLS1.2, TLS1.3, DTLS1.2)";
}

void append(std::string& list, std::string_view name)
{
    if (!list.empty()) {
        list += ':';
    }
    list += name;
}

void compile_suites(const TlsPolicy& policy, CompiledPolicy& compiled)
{
    for (const std::string& iana : policy.suites) {
        const Suite& suite = *find_suite(iana);
        // Suites of a version that was narrowed away stay silent: a profile lists both kinds.
        if (offers(policy, suite.tls13 ? kTls13 : kTls12)) {
            append(suite.tls13 ? compiled.suites13 : compiled.suites12, suite.library);
            compiled.suite_codes.push_back(suite.code);
        }
    }
}

} // namespace

std::optional<CompiledPolicy> compile_policy(const TlsPolicy& policy, std::vector<TlsProblem>& problems)
{
    const std::size_t before = problems.size();
    check_names({"versions", policy.versions, why_unusable_version}, problems);
    check_names({"suites", policy.suites, why_unusable_suite}, problems);
    check_names({"groups", policy.groups, why_unusable_group}, problems);
    check_names({"signatures", policy.signatures, why_unusable_signature}, problems);
    if (problems.size() != before) {
        return std::nullopt;
    }
    CompiledPolicy compiled;
    compiled.lowest = offers(policy, kTls12) ? kTls12 : kTls13;
    compiled.highest = offers(policy, kTls13) ? kTls13 : kTls12;
    compile_suites(policy, compiled);
    for (const auto& [version, list] : {std::pair{kTls13, &compiled.suites13}, std::pair{kTls12, &compiled.suites12}}) {
        if (offers(policy, version) && list->empty()) {
            const char* const text = version == kTls13 ? "TLS1.3" : "TLS1.2";
            problems.push_back({"suites", std::string{"none belongs to "} + text + ", which versions offers"});
        }
    }
    for (const std::string& iana : policy.groups) {
        append(compiled.groups, iana);
        compiled.group_codes.push_back(find_named(kGroups, iana)->code);
    }
    for (const std::string& iana : policy.signatures) {
        append(compiled.signatures, iana);
        compiled.signature_codes.push_back(find_named(kSignatures, iana)->code);
    }
    if (problems.size() != before) {
        return std::nullopt;
    }
    return compiled;
}

namespace {

struct KeyKind {
    std::optional<Kind> kind;
    std::string curve;
    std::string text;
};

KeyKind kind_of(EVP_PKEY& key)
{
    switch (EVP_PKEY_get_base_id(&key)) {
    case EVP_PKEY_RSA:
        return {Kind::rsa, "", "RSA"};
    case EVP_PKEY_RSA_PSS:
        return {Kind::rsa_pss, "", "RSA-PSS"};
    case EVP_PKEY_ED25519:
        return {Kind::ed25519, "", "Ed25519"};
    case EVP_PKEY_ED448:
        return {Kind::ed448, "", "Ed448"};
    case EVP_PKEY_EC: {
        std::array<char, 64> curve{};
        if (EVP_PKEY_get_group_name(&key, curve.data(), curve.size(), nullptr) != 1) {
            return {std::nullopt, "", "EC without a named curve"};
        }
        return {Kind::ec, curve.data(), std::string{"ECDSA "} + curve.data()};
    }
    default: // an int of the library, not an enumeration of ours
        return {std::nullopt, "", "unsupported"};
    }
}

bool signs_tls13(const KeyKind& key, const TlsPolicy& policy)
{
    return offers(policy, kTls13) && std::ranges::any_of(policy.signatures, [&](const std::string& iana) {
               const Signature* const scheme = find_named(kSignatures, iana);
               return scheme != nullptr && scheme->tls13 && scheme->kind == key.kind && scheme->curve == key.curve;
           });
}

bool signs_tls12(const KeyKind& key, const TlsPolicy& policy)
{
    const bool rsa = key.kind == Kind::rsa || key.kind == Kind::rsa_pss;
    // OpenSSL 3.0 finds suites for these in TLS 1.2 only.
    const bool streams_only = key.kind == Kind::rsa_pss || key.kind == Kind::ed25519 || key.kind == Kind::ed448;
    if (streams_only && std::ranges::count(policy.versions, "DTLS1.2") > 0) {
        return false;
    }
    const bool suite_fits = std::ranges::any_of(policy.suites, [&](const std::string& iana) {
        const Suite* const suite = find_suite(iana);
        return suite != nullptr && !suite->tls13 && suite->authentication == (rsa ? NID_auth_rsa : NID_auth_ecdsa);
    });
    const bool scheme_fits = std::ranges::any_of(policy.signatures, [&](const std::string& iana) {
        const Signature* const scheme = find_named(kSignatures, iana);
        return scheme != nullptr && scheme->kind == key.kind;
    });
    // RFC 8422 section 5.3: the curve of the certificate's key is one of the negotiated groups.
    const bool group_fits = key.kind != Kind::ec || std::ranges::any_of(policy.groups, [&](const std::string& iana) {
                                const Group* const group = find_named(kGroups, iana);
                                return group != nullptr && group->curve == key.curve;
                            });
    return offers(policy, kTls12) && suite_fits && scheme_fits && group_fits;
}

} // namespace

std::vector<std::uint16_t> signing_codes(evp_pkey_st& key, const TlsPolicy& policy)
{
    const KeyKind kind = kind_of(key);
    std::vector<std::uint16_t> codes;
    for (const std::string& iana : policy.signatures) {
        const Signature* const scheme = find_named(kSignatures, iana);
        if (scheme != nullptr && scheme->kind == kind.kind) {
            codes.push_back(scheme->code);
        }
    }
    return codes;
}

std::optional<std::string> why_unusable_key(evp_pkey_st& key, const TlsPolicy& policy)
{
    std::vector<TlsProblem> told_by_now;
    if (!compile_policy(policy, told_by_now)) {
        return std::nullopt; // no key fits a policy that is broken, and that is not the key's fault
    }
    const KeyKind kind = kind_of(key);
    if (kind.kind && (signs_tls13(kind, policy) || signs_tls12(kind, policy))) {
        return std::nullopt;
    }
    return "its key (" + kind.text + ") fits none of the suites and signatures offered";
}

namespace {

/// The hash at the end of an IANA name; RFC 8410 has none of its own.
std::string_view hash_word(int digest)
{
    switch (digest) { // int codes of the library
    case NID_sha1:
        return "sha1";
    case NID_sha256:
        return "sha256";
    case NID_sha384:
        return "sha384";
    case NID_sha512:
        return "sha512";
    default:
        return "";
    }
}

/// TLS 1.2 binds no curve to a hash, and the certificates of most authorities do not either: the curve is asked apart.
bool describes(const Signature& scheme, int digest, int key)
{
    const std::string_view hash = hash_word(digest);
    const bool hashed = !hash.empty() && scheme.iana.ends_with(hash);
    switch (key) { // int codes of the library
    case EVP_PKEY_RSA:
        return hashed && scheme.iana.starts_with("rsa_pkcs1");
    case EVP_PKEY_RSA_PSS:
        return hashed && scheme.iana.starts_with("rsa_pss");
    case EVP_PKEY_EC:
        return hashed && scheme.kind == Kind::ec;
    case EVP_PKEY_ED25519:
        return scheme.kind == Kind::ed25519;
    case EVP_PKEY_ED448:
        return scheme.kind == Kind::ed448;
    default:
        return false;
    }
}

} // namespace

std::optional<std::string> why_unoffered_signature(x509_st& certificate, const std::vector<std::string>& signatures)
{
    int digest = NID_undef;
    int key = NID_undef;
    const bool known = X509_get_signature_info(&certificate, &digest, &key, nullptr, nullptr) == 1;
    const bool offered = known && std::ranges::any_of(signatures, [&](const std::string& iana) {
                             const Signature* const scheme = find_named(kSignatures, iana);
                             return scheme != nullptr && describes(*scheme, digest, key);
                         });
    if (offered) {
        return std::nullopt;
    }
    const char* const name = OBJ_nid2ln(X509_get_signature_nid(&certificate));
    return std::string{"it is signed with "} + (name != nullptr ? name : "an unknown algorithm") +
           ", which is not offered";
}

std::optional<std::string> why_unoffered_curve(evp_pkey_st& key, const std::vector<std::string>& signatures)
{
    const KeyKind kind = kind_of(key);
    const bool offered = kind.kind != Kind::ec || std::ranges::any_of(signatures, [&](const std::string& iana) {
                             const Signature* const scheme = find_named(kSignatures, iana);
                             return scheme != nullptr && scheme->kind == Kind::ec && scheme->curve == kind.curve;
                         });
    return offered ? std::nullopt : std::optional{kind.text + " key, on a curve that is not offered"};
}

} // namespace transports
