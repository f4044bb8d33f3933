#include "transports/tls_trust.hpp"

#include <string>
#include <variant>

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "transports/tls_files.hpp"
#include "transports/tls_verify.hpp"

namespace transports {

namespace {

void add_anchors(X509_STORE& store, const std::vector<CertificateOnFile>& anchors, std::vector<TlsProblem>* problems)
{
    for (const auto& [file, certificate] : anchors) {
        if (const auto why = why_not_anchor(*certificate)) {
            if (problems != nullptr) {
                problems->push_back({"ca", file.string() + ": " + subject_of(*certificate) + ": " + *why});
            }
        } else if (X509_STORE_add_cert(&store, certificate.get()) != 1 && problems != nullptr) {
            problems->push_back({"ca", file.string() + ": " + take_library_errors().text});
        }
    }
    forget_library_errors();
}

} // namespace

void trust_authorities(ssl_ctx_st& library, const TlsSettings& settings, std::vector<TlsProblem>& problems)
{
    const bool server = settings.role == TlsRole::server;
    if (server && settings.client_certificate == ClientCertificate::none) {
        return; // nobody is verified
    }
    if (server && !settings.ca) {
        problems.push_back({"ca", "needed to verify clients"});
        return;
    }
    // The system's directory is read whole and now: OpenSSL's own lookup would open files in the middle of a handshake.
    auto loaded = load_certificates(settings.ca ? *settings.ca : system_trust_directory());
    if (const auto* const failure = std::get_if<FileError>(&loaded)) {
        const char* const hint = settings.ca ? "" : " (no ca is given, and this is the system's trust store)";
        problems.push_back({"ca", failure->text + hint});
        return;
    }
    add_anchors(*SSL_CTX_get_cert_store(&library), std::get<std::vector<CertificateOnFile>>(loaded),
                settings.ca ? &problems : nullptr);
}

void add_revocation_lists(ssl_ctx_st& library, const TlsSettings& settings, std::vector<TlsProblem>& problems)
{
    if (settings.revocation == Revocation::none) {
        return;
    }
    for (const std::filesystem::path& path : settings.crl) {
        auto loaded = load_revocation_lists(path);
        if (const auto* const failure = std::get_if<FileError>(&loaded)) {
            problems.push_back({"crl", failure->text});
            continue;
        }
        for (const RevocationList& list : std::get<std::vector<RevocationList>>(loaded)) {
            if (X509_STORE_add_crl(SSL_CTX_get_cert_store(&library), list.get()) != 1) {
                problems.push_back({"crl", path.string() + ": " + take_library_errors().text});
            }
        }
    }
}

} // namespace transports
