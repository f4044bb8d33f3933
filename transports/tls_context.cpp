#include "transports/tls_context.hpp"

#include <algorithm>
#include <utility>

#include <openssl/crypto.h>
#include <openssl/ssl.h>

#include "transports/tls_own.hpp"
#include "transports/tls_state.hpp"
#include "transports/tls_trust.hpp"

namespace transports {

namespace {

using Problems = std::vector<TlsProblem>;

// A chain of nine certificates of 7 KiB; what more does a peer want to say.
constexpr long kMaxChainOctets = 64L * 1024L;
constexpr int kSecurityLevel = 2;

void set_protections(SSL_CTX& library)
{
    SSL_CTX_set_security_level(&library, kSecurityLevel); // openssl.cnf may have lowered it
    SSL_CTX_clear_options(&library, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_LEGACY_SERVER_CONNECT |
                                        SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION | SSL_OP_ALLOW_NO_DHE_KEX |
                                        SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_EXTENDED_MASTER_SECRET);
    SSL_CTX_set_options(&library, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                      SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(&library, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_session_cache_mode(&library, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(&library, 0);
    SSL_CTX_set_max_early_data(&library, 0);
    SSL_CTX_set_read_ahead(&library, 0); // one record a read, and none behind our back
    SSL_CTX_set_max_cert_list(&library, kMaxChainOctets);
    SSL_CTX_set_verify_depth(&library, kMaxIntermediates);
}

bool set_policy(SSL_CTX& library, const CompiledPolicy& policy, bool datagrams)
{
    // A TLS 1.3 context must not keep OpenSSL's default list for a version that it does not offer.
    const char* const suites12 = policy.suites12.empty() ? nullptr : policy.suites12.c_str();
    return SSL_CTX_set_min_proto_version(&library, datagrams ? DTLS1_2_VERSION : policy.lowest) == 1 &&
           SSL_CTX_set_max_proto_version(&library, datagrams ? DTLS1_2_VERSION : policy.highest) == 1 &&
           SSL_CTX_set_ciphersuites(&library, policy.suites13.c_str()) == 1 &&
           (suites12 == nullptr || SSL_CTX_set_cipher_list(&library, suites12) == 1) &&
           SSL_CTX_set1_groups_list(&library, policy.groups.c_str()) == 1 &&
           SSL_CTX_set1_sigalgs_list(&library, policy.signatures.c_str()) == 1 &&
           SSL_CTX_set1_client_sigalgs_list(&library, policy.signatures.c_str()) == 1;
}

const SSL_METHOD* method_of(const TlsSettings& settings)
{
    if (settings.datagrams) {
        return settings.role == TlsRole::client ? DTLS_client_method() : DTLS_server_method();
    }
    return settings.role == TlsRole::client ? TLS_client_method() : TLS_server_method();
}

/// dtls_wire.cpp has OpenSSL's timer in its hand; from 3.2 on it is elsewhere.
void check_timer(Problems& problems)
{
    if (OPENSSL_version_major() != 3 || OPENSSL_version_minor() > 1) {
        problems.push_back(
            {"versions", std::string{"DTLS needs OpenSSL 3.0 or 3.1, whose timer a step of the wall clock "
                                     "can be kept from; this is "} +
                             OpenSSL_version(OPENSSL_VERSION)});
    }
}

void check_versions(const TlsSettings& settings, Problems& problems)
{
    for (const std::string& version : settings.policy.versions) {
        if (version.starts_with("DTLS") != settings.datagrams) {
            problems.push_back({"versions", version + (settings.datagrams ? ": not for datagrams (expected DTLS1.2)"
                                                                          : ": only for datagrams")});
        }
    }
}

int verify_mode(const TlsSettings& settings)
{
    if (settings.role == TlsRole::client) {
        return SSL_VERIFY_PEER;
    }
    switch (settings.client_certificate) {
    case ClientCertificate::required:
        return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    case ClientCertificate::optional:
        return SSL_VERIFY_PEER;
    case ClientCertificate::none:
        return SSL_VERIFY_NONE;
    }
    return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
}

void offer_protocol(SSL_CTX& library, const TlsSettings& settings, Problems& problems)
{
    if (!settings.alpn) {
        return;
    }
    const std::string& name = *settings.alpn;
    if (name.empty() || name.size() > 255) {
        problems.push_back({"alpn", "an application protocol has 1 to 255 octets"});
        return;
    }
    std::vector<unsigned char> wire{static_cast<unsigned char>(name.size())};
    wire.insert(wire.end(), name.begin(), name.end());
    // The one call of libssl that gives 0 for success.
    if (settings.role == TlsRole::client &&
        SSL_CTX_set_alpn_protos(&library, wire.data(), static_cast<unsigned int>(wire.size())) != 0) {
        problems.push_back({"alpn", take_library_errors().text});
    }
}

VerifyRules make_rules(const TlsSettings& settings, Problems& problems)
{
    VerifyRules rules{settings.role,
                      settings.revocation,
                      !settings.crl.empty(),
                      settings.ocsp,
                      settings.check_time,
                      settings.clock,
                      settings.policy.wildcards,
                      settings.policy.min_rsa_bits,
                      {},
                      settings.policy.signatures};
    const bool verifies_clients =
        settings.role == TlsRole::server && settings.client_certificate != ClientCertificate::none;
    if (!settings.allow.empty() && !verifies_clients) {
        problems.push_back({"allow", "only a server that asks for client certificates has an allow list"});
    }
    for (const std::string& text : settings.allow) {
        auto entry = parse_allow_entry(text);
        if (const auto* const bad = std::get_if<BadEntry>(&entry)) {
            problems.push_back({"allow", text + ": " + bad->text});
        } else {
            rules.allow.push_back(std::move(std::get<AllowEntry>(entry)));
        }
    }
    return rules;
}

} // namespace

TlsContext::TlsContext(std::unique_ptr<State> state) : state_{std::move(state)}
{}

TlsContext::~TlsContext() = default;

const TlsSettings& TlsContext::settings() const noexcept
{
    return state_->settings;
}

Nanoseconds TlsContext::own_valid_until() const noexcept
{
    return state_->own_valid_until;
}

std::variant<std::shared_ptr<const TlsContext>, Problems> TlsContext::create(const TlsSettings& settings)
{
    Problems problems;
    forget_library_errors();
    const bool client = settings.role == TlsRole::client;
    Owned<ssl_ctx_st> library{SSL_CTX_new(method_of(settings))};
    if (!library) {
        return Problems{{"tls", take_library_errors().text}};
    }
    set_protections(*library);
    if (settings.datagrams) {
        check_timer(problems);
        // With encrypt-then-MAC, OpenSSL 3.0 ends a DTLS association over any forged record of a CBC suite; without it
        // such a record is discarded, as RFC 6347 section 4.1.2.7 wants it.
        SSL_CTX_set_options(library.get(), SSL_OP_NO_QUERY_MTU | SSL_OP_COOKIE_EXCHANGE | SSL_OP_NO_ENCRYPT_THEN_MAC);
    }
    SSL_CTX_set_verify(library.get(), verify_mode(settings), nullptr);
    check_versions(settings, problems);
    auto policy = compile_policy(settings.policy, problems);
    if (policy && !set_policy(*library, *policy, settings.datagrams)) {
        problems.push_back({"suites", take_library_errors().text});
    }
    offer_protocol(*library, settings, problems);
    trust_authorities(*library, settings, problems);
    add_revocation_lists(*library, settings, problems);
    VerifyRules rules = make_rules(settings, problems);
    const Nanoseconds until = use_own_certificate(*library, settings, problems);
    if (!problems.empty()) {
        return problems;
    }
    if (EVP_PKEY* const key = SSL_CTX_get0_privatekey(library.get()); key != nullptr && !client) {
        policy->signature_codes = signing_codes(*key, settings.policy);
    }
    auto state =
        std::make_unique<State>(State{settings, std::move(*policy), std::move(rules), until, std::move(library)});
    install_callbacks(*state);
    return std::shared_ptr<const TlsContext>{new TlsContext{std::move(state)}};
}

} // namespace transports
