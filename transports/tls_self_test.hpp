// Known-answer tests of the cryptographic primitives, and the switch to the library's FIPS provider; before anything
// else uses them.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace transports {

/// `offered` are the names of all that the process may come to use: suites, groups, signatures, algorithms of SSH,
/// digests of keys. Hash, HMAC and key derivation are always tested, the rest where a name asks for it. The name of the
/// first primitive that does not give what it must; absent = all do.
[[nodiscard]] std::optional<std::string> find_broken_primitive(std::span<const std::string> offered);
/// Which are tested, in order.
[[nodiscard]] std::vector<std::string_view> primitives_tested(std::span<const std::string> offered);

/// From here on the library uses approved algorithms of its FIPS provider only, in the whole process and for good. Why
/// it cannot; the process must then not go on.
[[nodiscard]] std::optional<std::string> require_fips_provider();

/// Whether `signature` over `text` was made with the private key of `public_key` (a PEM file): RSA or ECDSA with
/// SHA-256, as `openssl dgst -sha256 -sign` makes them, or Ed25519. The error text; absent = it was.
[[nodiscard]] std::optional<std::string> verify_signature(const std::string& public_key, std::string_view text,
                                                          std::string_view signature);

} // namespace transports
