// The body of an NTPv4 Server Negotiation record (RFC 8915 section 4.1.7): an address without a zone, or a host name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ntp-shim/bytes.hpp"

namespace ntp_shim {

enum class HostForm : std::uint8_t { ipv4, ipv6, name };

/// Nothing for what is none of the three: wrong characters, labels above 63 or names above 253 octets, zones.
[[nodiscard]] std::optional<HostForm> host_form(const std::string& text) noexcept;
/// The record's text, if host_form accepts it.
[[nodiscard]] std::optional<std::string> host_of(Bytes body);
/// As it is looked up: section 4.1.7 wants a name treated as fully qualified, which its final dot says to a resolver
/// with search domains. `localhost` keeps to RFC 6761: it is nobody's name in the DNS.
[[nodiscard]] std::string absolute_host(const std::string& host);

} // namespace ntp_shim
