#include "transports/tls_ocsp.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include <openssl/ocsp.h>
#include <openssl/rsa.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "transports/tls_openssl.hpp"
#include "transports/tls_verify.hpp"

namespace transports {

namespace {

constexpr Nanoseconds kTolerance = std::chrono::minutes{1}; // between the responder's clock and ours
constexpr Nanoseconds kWithoutEnd = std::chrono::hours{1};  // how long a response without nextUpdate is believed
constexpr int kWeakestDigest = 28;                          // octets: SHA-224; SHA-1 signs no response
constexpr int kSecurityLevel = 2;                           // of the library: what peers' certificates must reach

struct OcspFree {
    void operator()(OCSP_RESPONSE* object) const noexcept { OCSP_RESPONSE_free(object); }
    void operator()(OCSP_BASICRESP* object) const noexcept { OCSP_BASICRESP_free(object); }
    void operator()(OCSP_CERTID* object) const noexcept { OCSP_CERTID_free(object); }
    void operator()(X509_STORE* object) const noexcept { X509_STORE_free(object); }
    void operator()(STACK_OF(X509) * object) const noexcept { sk_X509_free(object); }
};
template <class T>
using Handle = std::unique_ptr<T, OcspFree>;

Certificate decode(const std::vector<unsigned char>& der)
{
    const unsigned char* at = der.data();
    return Certificate{d2i_X509(nullptr, &at, static_cast<long>(der.size()))};
}

std::vector<unsigned char> encode(const x509_st& certificate)
{
    unsigned char* der = nullptr;
    const int size = i2d_X509(&certificate, &der);
    std::vector<unsigned char> out;
    if (size > 0) {
        out.assign(der, std::next(der, size));
        OPENSSL_free(der);
    }
    return out;
}

std::string responder_of(x509_st& certificate)
{
    std::string found;
    STACK_OF(OPENSSL_STRING)* const all = X509_get1_ocsp(&certificate);
    for (int i = 0; i < sk_OPENSSL_STRING_num(all) && found.empty(); ++i) {
        const std::string url = sk_OPENSSL_STRING_value(all, i);
        // The URL becomes a line of a request: octets that could end one are no part of it.
        const bool plain = std::ranges::all_of(url, [](char octet) { return octet > ' ' && octet < '\x7f'; });
        found = url.starts_with("http://") && plain ? url : std::string{};
    }
    X509_email_free(all);
    return found;
}

std::string hash_of(const x509_st& certificate)
{
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    X509_digest(&certificate, EVP_sha256(), digest.data(), &size);
    return lower_hex({digest.data(), size});
}

OcspFinding doubt(OcspStatus status, std::string text)
{
    return {status, std::move(text), {}};
}

std::string library_text(const char* otherwise)
{
    const std::string text = take_library_errors().text;
    return text.empty() ? otherwise : text;
}

/// Wall clock; nothing when there is no such time, or it is none.
std::optional<Nanoseconds> moment(const ASN1_GENERALIZEDTIME* time)
{
    std::tm parts{};
    if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) {
        return std::nullopt;
    }
    return std::chrono::seconds{timegm(&parts)};
}

/// The digest of a signature; undefined where the algorithm has none of its own choosing (Ed25519).
int digest_of(const X509_ALGOR& algorithm)
{
    int digest = NID_undef;
    const int kind = OBJ_obj2nid(algorithm.algorithm);
    if (kind != NID_rsassaPss) {
        return OBJ_find_sigid_algs(kind, &digest, nullptr) == 1 ? digest : NID_undef;
    }
    // RFC 4055 section 3.1: it is in the parameters, and SHA-1 where they do not name one.
    auto* const parameters = static_cast<RSA_PSS_PARAMS*>(
        algorithm.parameter == nullptr
            ? nullptr
            : ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_PSS_PARAMS), algorithm.parameter));
    digest = parameters != nullptr && parameters->hashAlgorithm != nullptr
                 ? OBJ_obj2nid(parameters->hashAlgorithm->algorithm)
                 : NID_sha1;
    RSA_PSS_PARAMS_free(parameters);
    return digest;
}

bool has_weak_digest(const X509_ALGOR& algorithm)
{
    const int digest = digest_of(algorithm);
    if (digest == NID_undef) {
        return false;
    }
    const EVP_MD* const kind = EVP_get_digestbynid(digest);
    return kind == nullptr || EVP_MD_get_size(kind) < kWeakestDigest;
}

/// Why who signed, or how, is not good enough; nothing when it is.
std::optional<std::string> why_not_signed(OCSP_BASICRESP& response, const OcspQuestion& question, x509_st& issuer)
{
    // The issuer was verified with its chain; to whom it delegates is for it alone to say.
    const Handle<X509_STORE> trust{X509_STORE_new()};
    const Handle<STACK_OF(X509)> known{sk_X509_new_null()};
    if (!trust || !known || X509_STORE_add_cert(trust.get(), &issuer) != 1 || sk_X509_push(known.get(), &issuer) <= 0) {
        return library_text("no memory");
    }
    unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN;
    flags |= question.limits.check_time ? 0UL : X509_V_FLAG_NO_CHECK_TIME;
    X509_STORE_set_flags(trust.get(), flags);
    X509_VERIFY_PARAM_set_auth_level(X509_STORE_get0_param(trust.get()), kSecurityLevel);
    if (OCSP_basic_verify(&response, known.get(), trust.get(), OCSP_NOEXPLICIT) != 1) {
        return library_text("not signed by the issuer, nor by whom it has named for it");
    }
    X509* signer = nullptr;
    EVP_PKEY* key = nullptr;
    if (OCSP_resp_get0_signer(&response, &signer, known.get()) != 1 || (key = X509_get0_pubkey(signer)) == nullptr) {
        return library_text("its signer has no key");
    }
    if (has_weak_digest(*OCSP_resp_get0_tbs_sigalg(&response))) {
        return "signed with a digest that is too weak";
    }
    return why_weak(*key, question.limits.min_rsa_bits);
}

/// The part about our certificate. Its id may be built with another digest than we would take.
OCSP_SINGLERESP* find_single(OCSP_BASICRESP& response, x509_st& certificate, x509_st& issuer)
{
    for (int i = 0; i < OCSP_resp_count(&response); ++i) {
        OCSP_SINGLERESP* const single = OCSP_resp_get0(&response, i);
        auto* const id = const_cast<OCSP_CERTID*>(OCSP_SINGLERESP_get0_id(single)); // read only, but not declared so
        ASN1_OBJECT* digest = nullptr;
        OCSP_id_get0_info(nullptr, &digest, nullptr, nullptr, id);
        const EVP_MD* const kind = EVP_get_digestbyobj(digest);
        const Handle<OCSP_CERTID> ours{kind == nullptr ? nullptr : OCSP_cert_to_id(kind, &certificate, &issuer)};
        if (ours && OCSP_id_cmp(ours.get(), id) == 0) {
            return single;
        }
    }
    return nullptr;
}

OcspFinding judge_single(OCSP_SINGLERESP& single, bool check_time)
{
    int cause = -1;
    ASN1_GENERALIZEDTIME* since = nullptr;
    ASN1_GENERALIZEDTIME* this_update = nullptr;
    ASN1_GENERALIZEDTIME* next_update = nullptr;
    const int status = OCSP_single_get0_status(&single, &cause, &since, &this_update, &next_update);
    const auto from = moment(this_update);
    if (!from || (next_update != nullptr && !moment(next_update))) {
        return doubt(OcspStatus::invalid, "its times cannot be read");
    }
    const Nanoseconds until = next_update != nullptr ? *moment(next_update) : *from + kWithoutEnd;
    const Nanoseconds now = read_wall();
    if (check_time && *from > now + kTolerance) {
        return doubt(OcspStatus::stale, "the response begins " + calendar(*from));
    }
    if (check_time && until + kTolerance < now) {
        return doubt(OcspStatus::stale, "the response ended " + calendar(until));
    }
    if (status == V_OCSP_CERTSTATUS_GOOD) {
        return {OcspStatus::good, {}, until + kTolerance};
    }
    if (status == V_OCSP_CERTSTATUS_REVOKED) {
        std::string text = "revoked, says the responder";
        if (const auto when = moment(since)) {
            text += ", since " + calendar(*when);
        }
        if (cause >= 0) {
            text += std::string{" ("} + OCSP_crl_reason_str(cause) + ")";
        }
        return {OcspStatus::revoked, text, until + kTolerance};
    }
    return {OcspStatus::unknown, "the responder does not know the certificate", until + kTolerance};
}

struct Parties {
    Certificate certificate;
    Certificate issuer;
};

/// `request`, when there was one, has a nonce that a response may repeat but not contradict (RFC 9654).
OcspFinding judge(std::span<const unsigned char> octets, const OcspQuestion& question, OCSP_REQUEST* request)
{
    forget_library_errors();
    const unsigned char* at = octets.data();
    const Handle<OCSP_RESPONSE> response{
        octets.size() > kMaxOcspResponse ? nullptr : d2i_OCSP_RESPONSE(nullptr, &at, static_cast<long>(octets.size()))};
    if (!response || at != octets.data() + octets.size()) {
        forget_library_errors();
        return doubt(OcspStatus::invalid, "the response is broken");
    }
    if (const int said = OCSP_response_status(response.get()); said != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        return doubt(OcspStatus::invalid, std::string{"the responder says "} + OCSP_response_status_str(said));
    }
    const Handle<OCSP_BASICRESP> basic{OCSP_response_get1_basic(response.get())};
    const Parties parties{decode(question.certificate), decode(question.issuer)};
    if (!basic || !parties.certificate || !parties.issuer) {
        return doubt(OcspStatus::invalid, library_text("the response is broken"));
    }
    if (auto why = why_not_signed(*basic, question, *parties.issuer)) {
        return doubt(OcspStatus::bad_signature, "the response is not believed: " + *why);
    }
    if (request != nullptr && OCSP_check_nonce(request, basic.get()) == 0) {
        return doubt(OcspStatus::invalid, "the response answers another request");
    }
    OCSP_SINGLERESP* const single = find_single(*basic, *parties.certificate, *parties.issuer);
    if (single == nullptr) {
        return doubt(OcspStatus::invalid, "the response is about other certificates");
    }
    return judge_single(*single, question.limits.check_time);
}

} // namespace

bool is_conclusive(OcspStatus status) noexcept
{
    return status == OcspStatus::good || status == OcspStatus::revoked;
}

CloseReason reason_of(OcspStatus status, bool leaf) noexcept
{
    switch (status) {
    case OcspStatus::revoked:
        return leaf ? CloseReason::certificate_revoked : CloseReason::issuer_revoked;
    case OcspStatus::unknown:
        return CloseReason::ocsp_unknown;
    case OcspStatus::missing:
        return CloseReason::ocsp_missing;
    case OcspStatus::unreachable:
        return CloseReason::ocsp_unreachable;
    case OcspStatus::stale:
        return CloseReason::ocsp_stale;
    case OcspStatus::bad_signature:
        return CloseReason::ocsp_bad_signature;
    case OcspStatus::invalid:
        return CloseReason::ocsp_invalid;
    case OcspStatus::good:
    case OcspStatus::no_responder:
        break;
    }
    return CloseReason::revocation_undetermined;
}

std::string question_key(const x509_st& certificate, const x509_st& issuer)
{
    return hash_of(certificate) + hash_of(issuer);
}

OcspQuestion make_question(x509_st& certificate, x509_st& issuer, const OcspLimits& limits)
{
    return {question_key(certificate, issuer), responder_of(certificate), encode(certificate), encode(issuer), limits};
}

OcspFinding judge_response(std::span<const unsigned char> response, const OcspQuestion& question,
                           ocsp_request_st* asked)
{
    OcspFinding finding = judge(response, question, asked);
    forget_library_errors();
    return finding;
}

} // namespace transports
