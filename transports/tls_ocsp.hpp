// The Online Certificate Status Protocol (RFC 6960): what is asked about one certificate, how long a responder may take
// to answer, and whether its answer is to be believed.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "transports/channel.hpp"
#include "transports/clock.hpp"

struct ocsp_request_st;
struct x509_st;

namespace transports {

/// A response as it was sent.
using OcspBytes = std::shared_ptr<const std::vector<unsigned char>>;

enum class OcspStatus : std::uint8_t {
    good,
    revoked,
    unknown,       // the responder knows nothing of the certificate
    missing,       // no response was stapled, though it was asked for
    unreachable,   // the responder gave no response: name, connection, HTTP, time
    stale,         // not of this time
    bad_signature, // altered, or signed by somebody who may not answer for the issuer
    invalid,       // broken, about something else, or the responder says that it cannot answer
    no_responder,  // the certificate names none that can be asked
};
[[nodiscard]] bool is_conclusive(OcspStatus status) noexcept; // good or revoked

struct OcspFinding {
    OcspStatus status{};
    std::string text;            // what is behind it; empty when good
    Nanoseconds believe_until{}; // wall clock; of a believed response
};

/// Why a certificate is refused, or its status is not known; `leaf`: it is the peer's own.
[[nodiscard]] CloseReason reason_of(OcspStatus status, bool leaf) noexcept;

struct OcspLimits {
    bool check_time = true;
    std::uint16_t min_rsa_bits = 2048; // of the responder's key
};

/// What is asked: self-contained, so that it can be asked and judged on another thread.
struct OcspQuestion {
    std::string key;                        // the certificate and its issuer by their hashes
    std::string url;                        // of the responder
    std::vector<unsigned char> certificate; // DER
    std::vector<unsigned char> issuer;
    OcspLimits limits;
};
struct OcspAnswer {
    std::string key;
    OcspFinding finding;
};

/// `url` is empty when the certificate names no responder that can be asked in the clear over HTTP; whose response is
/// signed, and would be no better under TLS.
[[nodiscard]] OcspQuestion make_question(x509_st& certificate, x509_st& issuer, const OcspLimits& limits);
[[nodiscard]] std::string question_key(const x509_st& certificate, const x509_st& issuer);

/// A response is believed when it is signed by the issuer, or by whom the issuer has
/// named for it (RFC 6960 section 4.2.2.2), is about this certificate, and is of this time: a minute's difference
/// between two clocks is allowed, and without nextUpdate it is good for an hour.
/// `asked`: the request whose nonce it may repeat, but not contradict (RFC 9654); null when it was not ours.
[[nodiscard]] OcspFinding judge_response(std::span<const unsigned char> response, const OcspQuestion& question,
                                         ocsp_request_st* asked = nullptr);

struct OcspFetched {
    OcspFinding finding;
    OcspBytes response; // whenever there is one
};
/// Asks the responder and judges what it says; blocks for at most `patience`, and for what the look-up of the
/// responder's name takes. Whatever the environment says of proxies, none is used, and no redirection is followed.
[[nodiscard]] OcspFetched fetch_response(const OcspQuestion& question, Nanoseconds patience);

/// Octets of the longest response; what is longer counts as invalid, or unreachable when it is fetched.
inline constexpr std::size_t kMaxOcspResponse = 65536;

} // namespace transports
