// A read-only view of an NTP packet (RFC 5905 section 7.3): the header's fields and what follows it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ntp-shim/bytes.hpp"

namespace ntp_shim {

inline constexpr std::size_t kHeaderSize = 48;  // RFC 5905: the header without extension fields and MAC
inline constexpr std::size_t kMaxPacket = 1024; // our own bound for a packet without an NTS seal (design 7)
inline constexpr std::uint8_t kModeClient = 3;  // RFC 5905 figure 10
inline constexpr std::uint8_t kModeServer = 4;
inline constexpr std::uint8_t kLeapUnknown = 3; // the clock is not synchronised
inline constexpr std::uint8_t kMaxStratum = 16; // 16 and up: not synchronised

/// The stamp fields a head-end may rewrite; the values are octet offsets.
enum class StampField : std::uint8_t { origin = 24, receive = 32, transmit = 40 };

/// The parsed header. `after_header` and the packet it was parsed from share their lifetime.
struct Packet {
    std::uint8_t leap{};
    std::uint8_t version{};
    std::uint8_t mode{};
    std::uint8_t stratum{};
    std::uint8_t poll{};
    std::uint8_t precision{};
    std::uint32_t reference_id{};
    std::uint64_t origin{};
    std::uint64_t receive{};
    std::uint64_t transmit{};
    Bytes after_header; // extension fields and MAC, not interpreted

    /// Nothing when `data` is shorter than a header; every longer input parses.
    [[nodiscard]] static std::optional<Packet> parse(Bytes data) noexcept;

    /// Protected, or possibly so, end to end: a stamp changed on the way would break it.
    [[nodiscard]] bool is_header_only() const noexcept { return after_header.empty(); }
    /// RFC 7822: version 4, and what follows is more than a MAC of 20 or 24 octets or a crypto-NAK.
    [[nodiscard]] bool has_extension_fields() const noexcept;
    /// RFC 5905 section 9.2: exactly four zero octets after the header.
    [[nodiscard]] bool is_crypto_nak() const noexcept;
    /// RFC 5905 section 7.4: stratum 0 and a reference id of ASCII letters, left-justified and zero-filled.
    [[nodiscard]] bool is_kiss() const noexcept;
    [[nodiscard]] bool is_unsynchronised() const noexcept;
    /// A request whose reply may be interleaved (RFC 9769): its three stamps are non-zero and different.
    [[nodiscard]] bool may_be_interleaved() const noexcept;
};

/// Overwrites one stamp of `packet`, which holds at least a header.
void write_stamp(std::span<std::byte> packet, StampField field, std::uint64_t value) noexcept;

} // namespace ntp_shim
