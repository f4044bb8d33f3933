// What an NTS client keeps over a restart (RFC 8915 section 5.7): unused cookies, their keys, whom they are for, and
// how often key establishment has failed. The file is deleted when it is read, since no cookie may be used twice.
//
//   "ntpgate-nts-state 2", "target TEXT", "attempts NUMBER NOT-BEFORE", then, with cookies:
//   "server ADDRESS PORT KE-ADDRESS", "established SECONDS", "valid-until SECONDS", "trust DIGEST", "aead ID",
//   "c2s KEY", "s2c KEY", "cookie OCTETS" lines
//
// Of version 1, which says neither until when nor on whose word its cookies are good, only the attempts are read.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "ntp-shim/nts_session.hpp"

namespace ntp_shim {

struct NtsClientState {
    std::string target; // the key-establishment server as configured
    std::uint32_t attempts = 0;
    std::chrono::seconds not_before{}; // wall clock; 0 = at once
    std::string address;               // of the NTP server; empty = no session
    std::uint16_t port{};
    std::string ke_address;             // where the key establishment was
    std::chrono::seconds established{}; // wall clock
    std::chrono::seconds valid_until{}; // wall clock: the end of the certificate that it rests on
    std::string trust;                  // whom its owner trusted then: 64 hexadecimal digits, compared only
    std::optional<NtsSession> session;
};

[[nodiscard]] std::string write_state(const NtsClientState& state);
/// The error names the line, never what stands on it.
[[nodiscard]] std::variant<NtsClientState, std::string> parse_state(std::string_view text);

} // namespace ntp_shim
