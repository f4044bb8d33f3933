// Owning handles for OpenSSL's objects, its error queue, and its times and names as ours; includes none of its headers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "transports/clock.hpp"

// OpenSSL's own tags, so that only tls_*.cpp needs its headers.
struct asn1_string_st;
struct bio_st;
struct evp_pkey_st;
struct ssl_ctx_st;
struct ssl_st;
struct X509_crl_st;
struct X509_name_st;
struct x509_st;

namespace transports {

struct OpenSslFree {
    void operator()(bio_st* object) const noexcept;
    void operator()(evp_pkey_st* object) const noexcept;
    void operator()(ssl_ctx_st* object) const noexcept;
    void operator()(ssl_st* object) const noexcept;
    void operator()(X509_crl_st* object) const noexcept;
    void operator()(x509_st* object) const noexcept;
};
template <class T>
using Owned = std::unique_ptr<T, OpenSslFree>;
using Certificate = Owned<x509_st>;
using RevocationList = Owned<X509_crl_st>;
using PrivateKey = Owned<evp_pkey_st>;

/// What OpenSSL left in this thread's error queue, oldest first; taking it empties the queue.
struct LibraryErrors {
    std::string text;              // "unsupported protocol; ..."; empty when there was none
    std::optional<int> ssl_reason; // of the first error that libssl itself raised: SSL_R_..., or 1000 + alert received
};
[[nodiscard]] LibraryErrors take_library_errors();
/// A library error that nobody asked about must not be blamed on the next call.
void forget_library_errors() noexcept;

/// RFC 2253; control characters and non-ASCII come escaped.
[[nodiscard]] std::string subject_of(const x509_st& certificate);
[[nodiscard]] std::string issuer_of(const x509_st& certificate);
/// Wall clock; clamped to what Nanoseconds can hold (RFC 5280 allows the year 9999).
[[nodiscard]] Nanoseconds valid_from(const x509_st& certificate);
[[nodiscard]] Nanoseconds valid_until(const x509_st& certificate);
/// "2031-12-31 23:59:59 UTC".
[[nodiscard]] std::string calendar(Nanoseconds wall);

[[nodiscard]] std::string lower_hex(std::span<const unsigned char> octets);

} // namespace transports
