#include "transports/tls_own.hpp"

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "transports/tls_files.hpp"
#include "transports/tls_names.hpp"
#include "transports/tls_verify.hpp"

namespace transports {

namespace {

using Chain = std::vector<CertificateOnFile>;

std::optional<std::string> why_not_now(const x509_st& certificate)
{
    const Nanoseconds now = read_wall();
    if (valid_until(certificate) < now) {
        return "expired on " + calendar(valid_until(certificate));
    }
    if (valid_from(certificate) > now) {
        return "not valid before " + calendar(valid_from(certificate));
    }
    return std::nullopt;
}

/// RFC 8446 section 4.4.2 allows any order behind the leaf; what we send ourselves is in order or a mistake.
std::optional<std::string> why_out_of_order(const Chain& chain)
{
    for (std::size_t i = 1; i < chain.size(); ++i) {
        x509_st& issuer = *chain[i].certificate;
        x509_st& subject = *chain[i - 1].certificate;
        if (X509_check_issued(&issuer, &subject) != X509_V_OK) {
            return subject_of(subject) + " is not issued by " + subject_of(issuer) +
                   ", which follows it (the chain goes from the leaf upwards)";
        }
    }
    return std::nullopt;
}

std::optional<std::string> why_unfit(const Chain& chain, const TlsSettings& settings)
{
    x509_st& leaf = *chain.front().certificate;
    EVP_PKEY* const key = X509_get0_pubkey(&leaf);
    if (key == nullptr) {
        return "its key cannot be read";
    }
    if (!has_usage(leaf, settings.role)) {
        const char* const wanted = settings.role == TlsRole::server ? "serverAuth" : "clientAuth";
        return std::string{"lacks extendedKeyUsage "} + wanted + ", so peers refuse it";
    }
    if (auto why = why_weak(*key, settings.policy.min_rsa_bits)) {
        return why;
    }
    if (auto why = why_unusable_key(*key, settings.policy)) {
        return why;
    }
    if (settings.check_time && !settings.clock) {
        if (auto why = why_not_now(leaf)) {
            return why;
        }
    }
    return why_out_of_order(chain);
}

std::optional<std::string> install(ssl_ctx_st& library, const Chain& chain)
{
    forget_library_errors();
    bool done = SSL_CTX_use_certificate(&library, chain.front().certificate.get()) == 1;
    for (std::size_t i = 1; done && i < chain.size(); ++i) {
        done = SSL_CTX_add1_chain_cert(&library, chain[i].certificate.get()) == 1;
    }
    return done ? std::nullopt : std::optional{take_library_errors().text};
}

std::optional<TlsProblem> use_key(ssl_ctx_st& library, const std::filesystem::path& file, x509_st& leaf)
{
    auto loaded = load_private_key(file);
    if (const auto* const failure = std::get_if<FileError>(&loaded)) {
        return TlsProblem{"key", failure->text};
    }
    const PrivateKey key = std::move(std::get<PrivateKey>(loaded));
    forget_library_errors();
    if (X509_check_private_key(&leaf, key.get()) != 1) {
        forget_library_errors();
        return TlsProblem{"key", file.string() + ": does not belong to the certificate of " + subject_of(leaf)};
    }
    if (SSL_CTX_use_PrivateKey(&library, key.get()) != 1) {
        return TlsProblem{"key", file.string() + ": " + take_library_errors().text};
    }
    return std::nullopt;
}

} // namespace

Nanoseconds use_own_certificate(ssl_ctx_st& library, const TlsSettings& settings, std::vector<TlsProblem>& problems)
{
    if (!settings.certificate) {
        if (settings.role == TlsRole::server) {
            problems.push_back({"certificate", "a server needs one"});
        } else if (settings.key) {
            problems.push_back({"certificate", "a key is given without its certificate"});
        }
        return Nanoseconds{0};
    }
    auto loaded = load_certificates(*settings.certificate);
    if (const auto* const failure = std::get_if<FileError>(&loaded)) {
        problems.push_back({"certificate", failure->text});
        return Nanoseconds{0};
    }
    const Chain& chain = std::get<Chain>(loaded);
    x509_st& leaf = *chain.front().certificate;
    auto why = why_unfit(chain, settings);
    if (!why) {
        why = install(library, chain);
    }
    if (why) {
        problems.push_back({"certificate", chain.front().file.string() + ": " + subject_of(leaf) + ": " + *why});
    }
    if (!settings.key) {
        problems.push_back({"key", "the certificate's key is not given"});
    } else if (auto problem = use_key(library, *settings.key, leaf)) {
        problems.push_back(std::move(*problem));
    }
    return valid_until(leaf);
}

} // namespace transports
