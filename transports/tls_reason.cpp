#include "transports/tls_reason.hpp"

#include <array>
#include <string_view>
#include <utility>

#include <openssl/ssl.h>

namespace transports {

namespace {

constexpr std::array<std::pair<int, std::string_view>, 34> kAlerts{{
    {0, "close_notify"},
    {10, "unexpected_message"},
    {20, "bad_record_mac"},
    {21, "decryption_failed"},
    {22, "record_overflow"},
    {30, "decompression_failure"},
    {40, "handshake_failure"},
    {41, "no_certificate"},
    {42, "bad_certificate"},
    {43, "unsupported_certificate"},
    {44, "certificate_revoked"},
    {45, "certificate_expired"},
    {46, "certificate_unknown"},
    {47, "illegal_parameter"},
    {48, "unknown_ca"},
    {49, "access_denied"},
    {50, "decode_error"},
    {51, "decrypt_error"},
    {60, "export_restriction"},
    {70, "protocol_version"},
    {71, "insufficient_security"},
    {80, "internal_error"},
    {86, "inappropriate_fallback"},
    {90, "user_canceled"},
    {100, "no_renegotiation"},
    {109, "missing_extension"},
    {110, "unsupported_extension"},
    {111, "certificate_unobtainable"},
    {112, "unrecognized_name"},
    {113, "bad_certificate_status_response"},
    {114, "bad_certificate_hash_value"},
    {115, "unknown_psk_identity"},
    {116, "certificate_required"},
    {120, "no_application_protocol"},
}};

constexpr int kLastAlert = 255;

CloseReason reason_of_no_cipher(const HelloOverlap& overlap)
{
    if (overlap.suites && !overlap.groups) {
        return CloseReason::no_common_group;
    }
    if (overlap.suites && !overlap.signatures) {
        return CloseReason::no_common_signature;
    }
    return CloseReason::no_common_suite;
}

CloseReason reason_of(int ssl_reason, const HelloOverlap& overlap)
{
    switch (ssl_reason) { // int codes of the library
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_VERSION_TOO_HIGH:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_INAPPROPRIATE_FALLBACK:
        return CloseReason::protocol_version;
    case SSL_R_NO_SHARED_CIPHER:
        return reason_of_no_cipher(overlap);
    case SSL_R_NO_CIPHERS_AVAILABLE:
    case SSL_R_WRONG_CIPHER_RETURNED:
    case SSL_R_UNKNOWN_CIPHER_RETURNED:
        return CloseReason::no_common_suite;
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_WRONG_CURVE:
    case SSL_R_UNSUPPORTED_ELLIPTIC_CURVE:
        return CloseReason::no_common_group;
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_WRONG_SIGNATURE_TYPE:
        return CloseReason::no_common_signature;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return CloseReason::no_certificate;
    case SSL_R_NO_RENEGOTIATION:
    case SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED:
        return CloseReason::renegotiation;
    case SSL_R_EE_KEY_TOO_SMALL:
    case SSL_R_CA_KEY_TOO_SMALL:
    case SSL_R_CA_MD_TOO_WEAK:
        return CloseReason::weak_key;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return CloseReason::certificate_invalid;
    default:
        return CloseReason::protocol_error;
    }
}

/// Alerts that say what the two sides lack in common are told apart from the peer's judgement of us.
CloseReason reason_of_alert(int alert, bool unanswered)
{
    if (alert == SSL_AD_PROTOCOL_VERSION) {
        return CloseReason::protocol_version;
    }
    if (alert == SSL_AD_NO_APPLICATION_PROTOCOL) {
        return CloseReason::no_alpn;
    }
    // RFC 8446 section 4.1.1: the answer to a ClientHello that leaves nothing to agree on. Which list it was, the
    // alert does not say; the suites are what an operator looks at first.
    const bool nothing_common = alert == SSL_AD_HANDSHAKE_FAILURE || alert == SSL_AD_INSUFFICIENT_SECURITY;
    return nothing_common && unanswered ? CloseReason::no_common_suite : CloseReason::refused_by_peer;
}

} // namespace

std::string alert_name(int description)
{
    for (const auto& [code, text] : kAlerts) {
        if (code == description) {
            return std::string{text};
        }
    }
    return "alert_" + std::to_string(description);
}

Closed explain(const LibraryErrors& errors, const Seen& seen)
{
    if (!errors.ssl_reason) {
        return {CloseReason::protocol_error, errors.text};
    }
    const int reason = *errors.ssl_reason;
    // Above the alerts are the reasons that all of the library's parts share.
    if (reason >= SSL_AD_REASON_OFFSET && reason <= SSL_AD_REASON_OFFSET + kLastAlert) {
        const int alert = reason - SSL_AD_REASON_OFFSET;
        return {reason_of_alert(alert, seen.unanswered), "alert " + alert_name(alert)};
    }
    return {reason_of(reason, seen.overlap), errors.text};
}

} // namespace transports
