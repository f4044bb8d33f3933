#include "transports/tls_verify.hpp"

#include <algorithm>
#include <map>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/tls1.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "transports/tls_names.hpp"
#include "transports/tls_openssl.hpp"

namespace transports {

namespace {

/// What the callback of one verification remembers.
struct Run {
    bool tolerate_undetermined;               // for now
    std::vector<const X509_CRL*> disbelieved; // broken or wrongly signed: they neither revoke nor clear
    std::map<int, int> doubts;                // depth -> the first error
};

bool is_revocation_doubt(int error)
{
    switch (error) { // int codes of the library
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD:
    case X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD:
    case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
    case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
    case X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION:
    case X509_V_ERR_DIFFERENT_CRL_SCOPE:
    case X509_V_ERR_CRL_PATH_VALIDATION_ERROR:
        return true;
    default:
        return false;
    }
}

/// A list that is merely old still tells the truth about what it lists.
bool is_only_old(int error)
{
    return error == X509_V_ERR_CRL_HAS_EXPIRED || error == X509_V_ERR_CRL_NOT_YET_VALID;
}

int on_problem(int accepted, X509_STORE_CTX* store)
{
    const int error = X509_STORE_CTX_get_error(store);
    auto* const run = static_cast<Run*>(X509_STORE_CTX_get_app_data(store));
    if (accepted == 1 || (error != X509_V_ERR_CERT_REVOKED && !is_revocation_doubt(error))) {
        return accepted;
    }
    // Revocation is for what an anchor issued; the anchor itself is trusted because it is configured.
    const int depth = X509_STORE_CTX_get_error_depth(store);
    if (depth > 0 && depth + 1 == sk_X509_num(X509_STORE_CTX_get0_chain(store))) {
        return 1;
    }
    const X509_CRL* const list = X509_STORE_CTX_get0_current_crl(store);
    if (error == X509_V_ERR_CERT_REVOKED) {
        return std::ranges::find(run->disbelieved, list) != run->disbelieved.end() ? 1 : 0;
    }
    if (!run->tolerate_undetermined) {
        return 0;
    }
    // OpenSSL forgets which list it is at when it minds its age: one that is old and broken too may still revoke.
    if (list != nullptr && !is_only_old(error)) {
        run->disbelieved.push_back(list);
    }
    run->doubts.emplace(depth, error);
    return 1;
}

CloseReason reason_of_purpose(X509& certificate, TlsRole role)
{
    const bool constrained = (X509_get_extension_flags(&certificate) & EXFLAG_XKUSAGE) != 0;
    return constrained && !has_usage(certificate, role) ? CloseReason::eku_wrong : CloseReason::certificate_invalid;
}

CloseReason reason_of(int error, bool leaf)
{
    switch (error) { // int codes of the library
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return CloseReason::certificate_expired;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return CloseReason::certificate_not_yet_valid;
    case X509_V_ERR_CERT_REVOKED:
        return leaf ? CloseReason::certificate_revoked : CloseReason::issuer_revoked;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return CloseReason::self_signed;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        return CloseReason::unknown_ca;
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE:
        return CloseReason::bad_signature;
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
        return CloseReason::invalid_ca;
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
        return CloseReason::path_too_long;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        return CloseReason::weak_key;
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_NOT_YET_VALID:
        return CloseReason::crl_stale;
    default:
        return is_revocation_doubt(error) ? CloseReason::revocation_undetermined : CloseReason::certificate_invalid;
    }
}

/// The code that makes OpenSSL send the alert we mean.
int alert_code(CloseReason reason)
{
    if (reason == CloseReason::certificate_expired) {
        return X509_V_ERR_CERT_HAS_EXPIRED;
    }
    if (reason == CloseReason::certificate_revoked || reason == CloseReason::issuer_revoked) {
        return X509_V_ERR_CERT_REVOKED;
    }
    if (reason == CloseReason::unknown_ca || reason == CloseReason::self_signed) {
        return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
    }
    return X509_V_ERR_CERT_REJECTED; // bad_certificate
}

std::string quoted(X509& certificate)
{
    const std::string subject = subject_of(certificate);
    return subject.empty() ? "the certificate without a subject" : subject;
}

Closed refuse(CloseReason reason, X509& certificate, const std::string& why)
{
    return {reason, quoted(certificate) + ": " + why};
}

/// Adds what an operator needs to see beside the library's words.
std::string detail_of(CloseReason reason, X509& certificate)
{
    if (reason == CloseReason::certificate_expired) {
        return ", it ended " + calendar(valid_until(certificate));
    }
    if (reason == CloseReason::certificate_not_yet_valid) {
        return ", it begins " + calendar(valid_from(certificate));
    }
    if (reason == CloseReason::unknown_ca) {
        return ", it names the issuer " + issuer_of(certificate);
    }
    return "";
}

Closed refusal_of_library(X509_STORE_CTX& store, TlsRole role)
{
    const int error = X509_STORE_CTX_get_error(&store);
    X509* current = X509_STORE_CTX_get_current_cert(&store);
    if (current == nullptr) {
        current = X509_STORE_CTX_get0_cert(&store);
    }
    if (current == nullptr) {
        return {CloseReason::certificate_invalid, X509_verify_cert_error_string(error)};
    }
    const bool leaf = X509_STORE_CTX_get_error_depth(&store) == 0;
    if (X509_get0_pubkey(current) == nullptr) { // for which the library has no word but "too weak"
        return refuse(CloseReason::certificate_invalid, *current, "its key cannot be read");
    }
    const CloseReason reason =
        error == X509_V_ERR_INVALID_PURPOSE ? reason_of_purpose(*current, role) : reason_of(error, leaf);
    return refuse(reason, *current, X509_verify_cert_error_string(error) + detail_of(reason, *current));
}

bool has_explicit_curve(EVP_PKEY& key)
{
    int is_explicit = 0;
    return EVP_PKEY_get_base_id(&key) == EVP_PKEY_EC &&
           EVP_PKEY_get_int_param(&key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &is_explicit) == 1 &&
           is_explicit != 0;
}

/// OpenSSL looks at no more than the handshake's own signature (RFC 8446 section 4.2.3 speaks of the chain as well).
std::optional<Closed> judge_signature(X509& certificate, X509& issuer, const std::vector<std::string>& offered)
{
    if (auto why = why_unoffered_signature(certificate, offered)) {
        return refuse(CloseReason::weak_signature, certificate, *why);
    }
    for (X509* const signer : {&certificate, &issuer}) {
        if (auto why = why_unoffered_curve(*X509_get0_pubkey(signer), offered)) {
            return refuse(CloseReason::weak_key, *signer, *why);
        }
    }
    return std::nullopt;
}

std::optional<Closed> judge_keys(X509_STORE_CTX& store, const VerifyRules& rules)
{
    const STACK_OF(X509)* const chain = X509_STORE_CTX_get0_chain(&store);
    const int count = sk_X509_num(chain);
    for (int depth = 0; depth < count; ++depth) {
        X509* const certificate = sk_X509_value(chain, depth);
        EVP_PKEY* const key = X509_get0_pubkey(certificate);
        if (key == nullptr) {
            return refuse(CloseReason::certificate_invalid, *certificate, "its key cannot be read");
        }
        const bool anchor = depth > 0 && depth + 1 == count;
        if (anchor) {
            continue; // judged when it was loaded, and by OpenSSL's security level
        }
        if (auto why = why_weak(*key, rules.min_rsa_bits)) {
            return refuse(CloseReason::weak_key, *certificate, *why);
        }
        X509* const issuer = sk_X509_value(chain, std::min(depth + 1, count - 1)); // itself when it is alone
        if (auto refusal = judge_signature(*certificate, *issuer, rules.signatures)) {
            return refusal;
        }
    }
    return std::nullopt;
}

std::optional<Closed> judge_leaf(X509& leaf, TlsRole role)
{
    const ASN1_BIT_STRING* issuer_id = nullptr;
    const ASN1_BIT_STRING* subject_id = nullptr;
    X509_get0_uids(&leaf, &issuer_id, &subject_id);
    if (issuer_id != nullptr || subject_id != nullptr) {
        // RFC 5280 section 4.1.2.8: conforming authorities must not make them.
        return refuse(CloseReason::certificate_invalid, leaf, "it carries a unique identifier");
    }
    if ((X509_get_extension_flags(&leaf) & EXFLAG_XKUSAGE) == 0) {
        return refuse(CloseReason::eku_missing, leaf, "it has no extendedKeyUsage");
    }
    if (!has_usage(leaf, role)) {
        return refuse(CloseReason::eku_wrong, leaf, "its extendedKeyUsage does not name the role");
    }
    if (X509_NAME_entry_count(X509_get_subject_name(&leaf)) == 0 && !has_alternative_name(leaf)) {
        return refuse(CloseReason::no_subject, leaf, "it has no subjectAltName either");
    }
    return std::nullopt;
}

Verdict refused(Closed why)
{
    return {std::move(why), {}, {}};
}

Verdict judge_name(X509& leaf, const VerifyRules& rules, const Reference& reference)
{
    if (bears(leaf, reference, rules.wildcards)) {
        return {std::nullopt, reference.name, {}};
    }
    if (!has_alternative_name(leaf) && has_common_name(leaf)) {
        return refused(refuse(CloseReason::name_only_in_subject, leaf,
                              "it has no subjectAltName, and the common name is not looked at"));
    }
    return refused(refuse(CloseReason::name_mismatch, leaf, "it does not bear the name " + reference.name));
}

Verdict judge_client(X509& leaf, const VerifyRules& rules)
{
    if (rules.allow.empty()) {
        return {};
    }
    if (const AllowEntry* const entry = admitting_entry(leaf, rules.allow)) {
        return {std::nullopt, entry->text, {}};
    }
    return refused(refuse(CloseReason::not_on_allow_list, leaf, "no entry of the allow list admits it"));
}

Verdict judge(X509_STORE_CTX& store, const VerifyRules& rules, const Reference& reference)
{
    const TlsRole peer = rules.role == TlsRole::client ? TlsRole::server : TlsRole::client;
    if (X509_verify_cert(&store) != 1) {
        return refused(refusal_of_library(store, peer));
    }
    const STACK_OF(X509)* const chain = X509_STORE_CTX_get0_chain(&store);
    X509& leaf = *sk_X509_value(chain, 0);
    X509& anchor = *sk_X509_value(chain, sk_X509_num(chain) - 1);
    if (const auto why = why_not_anchor(anchor)) {
        return refused(refuse(CloseReason::invalid_ca, anchor, *why));
    }
    if (auto refusal = judge_keys(store, rules)) {
        return refused(std::move(*refusal));
    }
    if (auto refusal = judge_leaf(leaf, peer)) {
        return refused(std::move(*refusal));
    }
    return rules.role == TlsRole::client ? judge_name(leaf, rules, reference) : judge_client(leaf, rules);
}

struct StatusRules {
    const VerifyRules& rules;
    const Run& run;
    bool by_lists; // they were looked at
    StatusSource* source;
};

/// RFC 7633: the issuer wants the certificate shown with a response, and nobody to settle for less.
bool must_be_stapled(X509& leaf)
{
    auto* const features = static_cast<TLS_FEATURE*>(X509_get_ext_d2i(&leaf, NID_tlsfeature, nullptr, nullptr));
    bool found = false;
    for (int i = 0; i < sk_ASN1_INTEGER_num(features); ++i) {
        found = found || ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == TLSEXT_TYPE_status_request;
    }
    TLS_FEATURE_free(features);
    return found;
}

/// Why the status of a certificate is not known, if it is not.
std::optional<Closed> doubt_about(X509& certificate, int depth, const StatusRules& by, const StatusSaid& said)
{
    const auto listed = by.run.doubts.find(depth);
    const bool cleared_by_list = by.by_lists && listed == by.run.doubts.end();
    if (cleared_by_list || (said.finding && said.finding->status == OcspStatus::good)) {
        return std::nullopt;
    }
    const bool by_list = listed != by.run.doubts.end();
    if (said.finding && (said.finding->status != OcspStatus::no_responder || !by_list)) {
        return refuse(reason_of(said.finding->status, depth == 0), certificate, said.finding->text);
    }
    if (by_list) {
        return refuse(reason_of(listed->second, depth == 0), certificate,
                      X509_verify_cert_error_string(listed->second));
    }
    if (by.source == nullptr) {
        return std::nullopt; // soft, and nowhere to look
    }
    return refuse(CloseReason::revocation_undetermined, certificate, "no staple speaks of an intermediate authority");
}

void judge_status(X509_STORE_CTX& store, const StatusRules& by, Verdict& verdict)
{
    const STACK_OF(X509)* const chain = X509_STORE_CTX_get0_chain(&store);
    for (int depth = 0; depth + 1 < sk_X509_num(chain); ++depth) {
        X509& certificate = *sk_X509_value(chain, depth);
        StatusSaid said;
        if (by.source != nullptr) {
            said = by.source->status_of(certificate, *sk_X509_value(chain, depth + 1), depth == 0);
        }
        if (said.finding && said.finding->status == OcspStatus::revoked) {
            verdict.refusal = refuse(reason_of(said.finding->status, depth == 0), certificate, said.finding->text);
            return;
        }
        if (said.awaited) {
            continue;
        }
        auto doubt = doubt_about(certificate, depth, by, said);
        // Neither a list nor a response that says nothing will do.
        const bool broken_promise = depth == 0 && by.rules.role == TlsRole::client && said.finding &&
                                    said.finding->status != OcspStatus::good && must_be_stapled(certificate);
        if (broken_promise) {
            doubt = refuse(reason_of(said.finding->status, true), certificate,
                           "its issuer promises that it comes with a response: " + said.finding->text);
        }
        if (doubt && (broken_promise || by.rules.revocation == Revocation::require)) {
            verdict.refusal = std::move(doubt);
            return;
        }
        if (doubt && verdict.undetermined.empty()) {
            verdict.undetermined = std::string{name(doubt->reason)};
        }
    }
}

} // namespace

Verdict verify_chain(x509_store_ctx_st& store, const VerifyRules& rules, const Reference& reference,
                     StatusSource* status)
{
    Run run{rules.revocation == Revocation::soft || status != nullptr, {}, {}};
    X509_STORE_CTX_set_app_data(&store, &run);
    X509_STORE_CTX_set_verify_cb(&store, on_problem);
    unsigned long flags = 0;
    // Without any list OpenSSL would only look for what is not there; require wants to hear so.
    const bool by_lists = rules.revocation != Revocation::none && rules.has_revocation_lists;
    if (by_lists || (rules.revocation == Revocation::require && status == nullptr)) {
        flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
    }
    const auto time = certificate_time(rules.clock);
    if (!rules.check_time || !time) {
        flags |= X509_V_FLAG_NO_CHECK_TIME;
    } else if (rules.clock) {
        X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(&store),
                                   std::chrono::duration_cast<std::chrono::seconds>(*time).count());
    }
    X509_STORE_CTX_set_flags(&store, flags);
    Verdict verdict = judge(store, rules, reference);
    if (!verdict.refusal && rules.revocation != Revocation::none) {
        judge_status(store, {rules, run, by_lists, status}, verdict);
    }
    // A tolerated problem leaves its code behind, which would be taken for the result.
    X509_STORE_CTX_set_error(&store, verdict.refusal ? alert_code(verdict.refusal->reason) : X509_V_OK);
    X509_STORE_CTX_set_app_data(&store, nullptr);
    forget_library_errors();
    return verdict;
}

std::optional<std::string> why_not_anchor(x509_st& certificate)
{
    const std::uint32_t flags = X509_get_extension_flags(&certificate);
    if ((flags & EXFLAG_INVALID) != 0) {
        return "its extensions are broken";
    }
    if ((flags & EXFLAG_BCONS) == 0 || (flags & EXFLAG_CA) == 0) {
        return "not a certificate authority (basicConstraints CA:TRUE is missing)";
    }
    if (X509_check_ca(&certificate) != 1) {
        return "not a certificate authority (its keyUsage lacks keyCertSign)";
    }
    EVP_PKEY* const key = X509_get0_pubkey(&certificate);
    if (key == nullptr) {
        return "its key cannot be read";
    }
    if (has_explicit_curve(*key)) {
        return "explicit elliptic curve parameters";
    }
    return std::nullopt;
}

bool has_usage(x509_st& certificate, TlsRole role)
{
    // Without the extension OpenSSL answers "all", which is exactly what must not pass.
    const std::uint32_t wanted = role == TlsRole::server ? XKU_SSL_SERVER : XKU_SSL_CLIENT;
    return (X509_get_extension_flags(&certificate) & EXFLAG_XKUSAGE) != 0 &&
           (X509_get_extended_key_usage(&certificate) & wanted) != 0;
}

std::optional<std::string> why_weak(evp_pkey_st& key, std::uint16_t min_rsa_bits)
{
    const int type = EVP_PKEY_get_base_id(&key);
    const int bits = EVP_PKEY_get_bits(&key);
    if ((type == EVP_PKEY_RSA || type == EVP_PKEY_RSA_PSS) && bits < min_rsa_bits) {
        return "RSA key of " + std::to_string(bits) + " bits (at least " + std::to_string(min_rsa_bits) + ")";
    }
    return std::nullopt;
}

} // namespace transports
