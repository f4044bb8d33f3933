// Which datagrams may be requests and which packets may answer them (design 7): predicates without state.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/drop_reason.hpp"
#include "ntp-shim/packet.hpp"

namespace ntp_shim {

/// too_short below 48 octets, too_long above 1024.
[[nodiscard]] std::optional<DropReason> check_length(Bytes datagram) noexcept;

/// The same for what may be sealed on UDP: too_long above 1280 (kMaxSealed).
[[nodiscard]] std::optional<DropReason> check_sealed_length(Bytes datagram) noexcept;

/// bad_source for port 0 and for unspecified, multicast and broadcast addresses (IPv4 as ::ffff:a.b.c.d).
[[nodiscard]] std::optional<DropReason> check_source(const std::array<std::byte, 16>& address,
                                                     std::uint16_t port) noexcept;

/// bad_version outside 1..4, bad_mode for anything but a client's request.
[[nodiscard]] std::optional<DropReason> check_request(const Packet& request) noexcept;

/// What a reply is judged against: the request as it went out, without its bytes.
struct SentRequest {
    std::uint8_t version{};
    bool is_header_only{};
    bool has_extension_fields{};
    bool may_be_interleaved{};
    std::uint16_t length{};
    std::uint64_t receive{};
    std::uint64_t transmit{};

    [[nodiscard]] static SentRequest of(const Packet& packet) noexcept;
    /// The reply's origin repeats our transmit stamp: the common case, and the only one that can be corrected.
    [[nodiscard]] bool is_basic_reply(const Packet& reply) const noexcept { return reply.origin == transmit; }
    /// Neither direction carries anything that a changed stamp would break, and T2 and T3 belong to this exchange.
    [[nodiscard]] bool is_correctable(const Packet& reply) const noexcept
    {
        return is_header_only && reply.is_header_only() && is_basic_reply(reply);
    }
};

/// What this role lets pass beyond a proper reply.
struct ReplyRules {
    bool pass_kisses = false;
    bool pass_unsynchronised = false;
};

/// Whether `reply` answers `request` with a time: bad_mode, bad_version, bad_origin, crypto_nak, kiss_of_death,
/// zero_stamp, reply_too_long or unsynchronised, the first that applies.
[[nodiscard]] std::optional<DropReason> check_reply(const SentRequest& request, const Packet& reply,
                                                    ReplyRules rules) noexcept;

/// Whether a reply refused for `reason` was nonetheless the daemon's answer, so that no better one will come. A
/// forged or misdirected one must not take the place of the right one.
[[nodiscard]] bool ends_exchange(DropReason reason) noexcept;

} // namespace ntp_shim
