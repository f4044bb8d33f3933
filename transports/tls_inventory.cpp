#include "transports/tls_inventory.hpp"

#include <array>
#include <ctime>
#include <utility>

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "transports/tls_state.hpp"

namespace transports {

namespace {

HeldCertificate held(const x509_st& certificate)
{
    PeerIdentity identity = describe(certificate);
    return {std::move(identity.subject),     std::move(identity.issuer), std::move(identity.serial),
            std::move(identity.fingerprint), valid_from(certificate),    valid_until(certificate)};
}

std::string name_text(const X509_NAME* name)
{
    const Owned<bio_st> text{BIO_new(BIO_s_mem())};
    char* data = nullptr;
    if (!text || X509_NAME_print_ex(text.get(), name, 0, XN_FLAG_RFC2253) < 0) {
        return {};
    }
    const long size = BIO_get_mem_data(text.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

HeldList held(const X509_CRL& list)
{
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    X509_CRL_digest(&list, EVP_sha256(), digest.data(), &size);
    HeldList out{name_text(X509_CRL_get_issuer(&list)), lower_hex({digest.data(), size}), std::nullopt};
    std::tm parts{};
    if (const ASN1_TIME* const next = X509_CRL_get0_nextUpdate(&list);
        next != nullptr && ASN1_TIME_to_tm(next, &parts) == 1) {
        out.next_update = std::chrono::seconds{timegm(&parts)};
    }
    return out;
}

std::string spki_sha256(X509& certificate)
{
    unsigned char* der = nullptr;
    const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(&certificate), &der);
    if (size <= 0) {
        return {};
    }
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int digest_size = 0;
    EVP_Digest(der, static_cast<std::size_t>(size), digest.data(), &digest_size, EVP_sha256(), nullptr);
    OPENSSL_free(der);
    return lower_hex({digest.data(), digest_size});
}

const STACK_OF(X509) * chain_of(SSL_CTX& library)
{
    STACK_OF(X509)* chain = nullptr;
    SSL_CTX_get0_chain_certs(&library, &chain);
    return chain;
}

/// The issuer of our leaf: behind it in its file, or among the anchors.
Certificate issuer_of_own(SSL_CTX& library, X509& leaf)
{
    const STACK_OF(X509)* const chain = chain_of(library);
    if (sk_X509_num(chain) > 0) {
        X509* const next = sk_X509_value(chain, 0);
        X509_up_ref(next);
        return Certificate{next};
    }
    const STACK_OF(X509_OBJECT)* const held = X509_STORE_get0_objects(SSL_CTX_get_cert_store(&library));
    for (int i = 0; i < sk_X509_OBJECT_num(held); ++i) {
        X509* const candidate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(held, i));
        if (candidate != nullptr && X509_check_issued(candidate, &leaf) == X509_V_OK) {
            X509_up_ref(candidate);
            return Certificate{candidate};
        }
    }
    return nullptr;
}

} // namespace

TlsInventory inventory_of(const TlsContext& context)
{
    SSL_CTX& library = *context.state().library;
    TlsInventory out;
    if (X509* const leaf = SSL_CTX_get0_certificate(&library)) {
        out.own = held(*leaf);
        out.key = spki_sha256(*leaf);
        const STACK_OF(X509)* const chain = chain_of(library);
        for (int i = 0; i < sk_X509_num(chain); ++i) {
            out.chain.push_back(held(*sk_X509_value(chain, i)));
        }
    }
    const STACK_OF(X509_OBJECT)* const objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(&library));
    for (int i = 0; i < sk_X509_OBJECT_num(objects); ++i) {
        X509_OBJECT* const object = sk_X509_OBJECT_value(objects, i);
        if (const X509* const anchor = X509_OBJECT_get0_X509(object)) {
            out.anchors.push_back(held(*anchor));
        } else if (const X509_CRL* const list = X509_OBJECT_get0_X509_CRL(object)) {
            out.lists.push_back(held(*list));
        }
    }
    return out;
}

bool same_own_certificate(const TlsContext& one, const TlsContext& other)
{
    const X509* const first = SSL_CTX_get0_certificate(one.state().library.get());
    const X509* const second = SSL_CTX_get0_certificate(other.state().library.get());
    return first == second || (first != nullptr && second != nullptr && X509_cmp(first, second) == 0);
}

std::optional<OcspQuestion> own_question(const TlsContext& context)
{
    SSL_CTX& library = *context.state().library;
    X509* const leaf = SSL_CTX_get0_certificate(&library);
    const Certificate issuer = leaf == nullptr ? nullptr : issuer_of_own(library, *leaf);
    if (!issuer) {
        return std::nullopt;
    }
    const TlsSettings& settings = context.settings();
    OcspQuestion question = make_question(*leaf, *issuer, {settings.check_time, settings.policy.min_rsa_bits});
    return question.url.empty() ? std::nullopt : std::optional{std::move(question)};
}

} // namespace transports
