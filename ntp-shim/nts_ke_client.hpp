// The key-establishment client's judgement (RFC 8915 section 4): what it asks for, and which answers it takes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ntp-shim/nts_aead.hpp"
#include "ntp-shim/nts_records.hpp"

namespace ntp_shim {

inline constexpr std::size_t kMaxKeResponse = 65536; // section 4: SHOULD accept that much
inline constexpr std::size_t kMaxCookie = 1024;      // a request with it must stay a datagram of NTP

struct KeOffer {
    std::vector<AeadId> aeads = built_in_aeads(); // in order of preference, at least one
    std::optional<std::string> host_wish;
    std::optional<std::uint16_t> port_wish; // only together with a host
};
[[nodiscard]] std::vector<std::byte> make_request(const KeOffer& offer);

/// Why a response is not taken; an enumerator prints as itself.
enum class KeFault : std::uint8_t {
    incomplete,       // ended before End of Message
    malformed,        // what no server may send: lengths, order, repetitions
    critical_unknown, // a critical record of a type we do not know
    error_record,     // the server refused; `code` says why
    warning_record,
    no_common_protocol, // the server does not speak NTPv4
    no_common_aead,     // of what we offered it has none
    aead_not_offered,   // it chose one that we did not offer
    no_cookie,          // none that a request can carry
    bad_server,         // neither address nor name, or port 0
};
[[nodiscard]] std::string_view name(KeFault fault) noexcept;

struct KeRefusal {
    KeFault fault{};
    std::uint16_t code{}; // of an Error or Warning record, or the AEAD that was chosen
};

struct KeResult {
    AeadId aead{};
    bool compliant_export = false;
    std::vector<std::vector<std::byte>> cookies; // 1 to 8
    std::optional<std::string> host;             // absent: the address of the key establishment
    std::uint16_t port = 123;
};
[[nodiscard]] std::variant<KeResult, KeRefusal> judge_response(Bytes message, const KeOffer& offer);

/// One line for each of the first records as it came, in words and in octets, also of a message that is not whole;
/// cookies, and records of unknown types, by their length only. For eyes, never for parsing.
[[nodiscard]] std::vector<std::string> describe_message(Bytes message);

} // namespace ntp_shim
