#include "tests/support/test_ocsp.hpp"

#include <ctime>
#include <memory>
#include <stdexcept>
#include <string>

#include <openssl/ocsp.h>
#include <openssl/pem.h>

#include "transports/tls_openssl.hpp"

namespace support {

namespace {

using transports::Certificate;
using transports::Owned;

struct Free {
    void operator()(OCSP_BASICRESP* object) const noexcept { OCSP_BASICRESP_free(object); }
    void operator()(OCSP_RESPONSE* object) const noexcept { OCSP_RESPONSE_free(object); }
    void operator()(OCSP_CERTID* object) const noexcept { OCSP_CERTID_free(object); }
    void operator()(ASN1_TIME* object) const noexcept { ASN1_TIME_free(object); }
};
template <class T>
using Held = std::unique_ptr<T, Free>;

void require(bool done)
{
    if (!done) {
        throw std::runtime_error{"the test's OCSP response cannot be made"};
    }
}

Owned<bio_st> text_of(const std::string& pem)
{
    return Owned<bio_st>{BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))};
}

Certificate certificate_of(const Identity& identity)
{
    return Certificate{PEM_read_bio_X509(text_of(identity.certificate()).get(), nullptr, nullptr, nullptr)};
}

Held<ASN1_TIME> moment(std::chrono::seconds from_now)
{
    return Held<ASN1_TIME>{ASN1_TIME_adj(nullptr, std::time(nullptr), 0, static_cast<long>(from_now.count()))};
}

int status_of(Said said)
{
    switch (said) {
    case Said::good:
        return V_OCSP_CERTSTATUS_GOOD;
    case Said::revoked:
        return V_OCSP_CERTSTATUS_REVOKED;
    case Said::unknown:
        break;
    }
    return V_OCSP_CERTSTATUS_UNKNOWN;
}

} // namespace

std::vector<unsigned char> ocsp_response(const Identity& certificate, const Identity& issuer, const ResponseWish& wish)
{
    const Identity& signer = wish.signer != nullptr ? *wish.signer : issuer;
    const Certificate about = certificate_of(certificate);
    const Certificate by = certificate_of(issuer);
    const Certificate signing = certificate_of(signer);
    const transports::PrivateKey key{PEM_read_bio_PrivateKey(text_of(signer.key()).get(), nullptr, nullptr, nullptr)};
    const Held<OCSP_BASICRESP> basic{OCSP_BASICRESP_new()};
    const Held<OCSP_CERTID> id{OCSP_cert_to_id(wish.sha256_id ? EVP_sha256() : EVP_sha1(), about.get(), by.get())};
    const auto starts = moment(wish.starts);
    const auto ends = wish.ends ? moment(*wish.ends) : nullptr;
    const auto since = wish.said == Said::revoked ? moment(std::chrono::hours{-1}) : nullptr;
    require(OCSP_basic_add1_status(basic.get(), id.get(), status_of(wish.said), OCSP_REVOKED_STATUS_KEYCOMPROMISE,
                                   since.get(), starts.get(), ends.get()) != nullptr);
    require(OCSP_basic_sign(basic.get(), signing.get(), key.get(), wish.sha1 ? EVP_sha1() : EVP_sha256(), nullptr,
                            wish.with_signer ? 0 : OCSP_NOCERTS) == 1);
    const Held<OCSP_RESPONSE> whole{OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic.get())};
    unsigned char* der = nullptr;
    const int size = i2d_OCSP_RESPONSE(whole.get(), &der);
    require(size > 0);
    std::vector<unsigned char> out{der, std::next(der, size)};
    OPENSSL_free(der);
    return out;
}

transports::OcspQuestion ocsp_question(const Identity& certificate, const Identity& issuer)
{
    const Certificate about = certificate_of(certificate);
    const Certificate by = certificate_of(issuer);
    return transports::make_question(*about, *by, {});
}

} // namespace support
