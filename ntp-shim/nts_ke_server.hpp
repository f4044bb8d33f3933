// The key-establishment server's judgement (RFC 8915 section 4): what a request asks for, and what is answered.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ntp-shim/nts_aead.hpp"
#include "ntp-shim/nts_records.hpp"

namespace ntp_shim {

inline constexpr std::size_t kMaxKeRequest = 16384; // section 4: at least 1024 must be accepted
inline constexpr std::size_t kCookiesGiven = 8;     // section 4.1.6: SHOULD

/// An NTP server that a key establishment server may send its clients to.
struct NtpServerOffer {
    std::string host; // as the record shall say it: address without zone, or name; empty = where the client is
    std::uint16_t port = 123;
};

struct KeServerPolicy {
    std::vector<AeadId> aeads = built_in_aeads(); // in no order: the client's preference decides
    std::vector<NtpServerOffer> servers;          // empty = this address, port 123
};

/// What both sides settled on.
struct KeAgreement {
    bool ntpv4 = false;
    std::optional<AeadId> aead;             // nothing = no common one; then there are no keys and no cookies
    bool compliant_export = false;          // record 1024 was there
    std::optional<std::string> host_wish;   // record 6 of the request
    std::optional<std::uint16_t> port_wish; // record 7
};

/// `message` as it came; a partial or broken one is a bad request.
[[nodiscard]] std::variant<KeAgreement, KeError> judge_request(Bytes message, const KeServerPolicy& policy);

/// The server for this client: the one it wishes where we have that, else one that its session's address family
/// reaches, `turn` choosing among several. Nothing: no record is needed.
[[nodiscard]] const NtpServerOffer* choose_server(const KeServerPolicy& policy, const KeAgreement& agreement,
                                                  bool ipv6_session, std::uint64_t turn) noexcept;

[[nodiscard]] std::vector<std::byte> make_response(const KeAgreement& agreement, const NtpServerOffer* server,
                                                   const std::vector<std::vector<std::byte>>& cookies);
[[nodiscard]] std::vector<std::byte> make_error(KeError error);

/// Section 5.1: protocol id, AEAD id, direction.
inline constexpr const char* kExporterLabel = "EXPORTER-network-time-security";
using ExporterContext = std::array<std::byte, 5>;
enum class Direction : std::uint8_t { client_to_server = 0, server_to_client = 1 };
/// chrony 4.4 to 4.6 export keys for AEAD 30 under the identifier 15; both sides say by record 1024 that they do not.
[[nodiscard]] ExporterContext exporter_context(AeadId aead, bool compliant_export, Direction direction) noexcept;

} // namespace ntp_shim
