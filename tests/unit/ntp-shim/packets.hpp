// Packets, endpoints and instants that the tests of the shims are made of.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/client_shim.hpp"
#include "ntp-shim/frame.hpp"
#include "ntp-shim/hold.hpp"
#include "ntp-shim/packet.hpp"
#include "ntp-shim/time.hpp"

namespace packets {

using namespace std::chrono_literals;
using ntp_shim::Bytes;
using Octets = std::vector<std::byte>;

/// The moment `t` after the start of a test. The two clocks are far apart, so that using the wrong one shows.
inline ntp_shim::Instant at(ntp_shim::Nanoseconds t)
{
    return {.raw = t + 1000s, .boot = t + 500000s};
}

inline Octets zeros(std::size_t count)
{
    return Octets(count);
}

/// Octets that are neither zero nor the same.
inline Octets noise(std::size_t count)
{
    Octets octets(count);
    std::uint8_t value = 0;
    std::ranges::generate(octets,
                          [&] { return static_cast<std::byte>(value = static_cast<std::uint8_t>(value + 37)); });
    return octets;
}

struct Fields {
    std::uint8_t leap = 0;
    std::uint8_t version = 4;
    std::uint8_t mode = 3;
    std::uint8_t stratum = 0;
    std::uint8_t poll = 6;
    std::uint32_t reference_id = 0;
    std::uint64_t origin = 0;
    std::uint64_t receive = 0;
    std::uint64_t transmit = 0;
    Octets tail = {};
};

inline Octets packet(const Fields& fields)
{
    Octets octets(ntp_shim::kHeaderSize + fields.tail.size());
    ntp_shim::ByteWriter writer(octets);
    writer.u8(static_cast<std::uint8_t>(fields.leap << 6 | fields.version << 3 | fields.mode));
    writer.u8(fields.stratum);
    writer.u8(fields.poll);
    writer.u8(0xec); // precision: about a microsecond
    writer.u32(0x100);
    writer.u32(0x200);
    writer.u32(fields.reference_id);
    writer.u64(0x0123456789abcdef);
    writer.u64(fields.origin);
    writer.u64(fields.receive);
    writer.u64(fields.transmit);
    writer.put(fields.tail);
    REQUIRE(writer.ok());
    return octets;
}

inline constexpr std::uint64_t kT1 = 0xeb000000'11111111;
inline constexpr std::uint64_t kT2 = 0xeb000001'40000000;
inline constexpr std::uint64_t kT3 = 0xeb000001'40100000; // T2 + 244 us

inline Octets request(Fields fields = {})
{
    if (fields.transmit == 0) {
        fields.transmit = kT1;
    }
    return packet(fields);
}

/// A request whose reply may be interleaved.
inline Octets interleaved_request()
{
    return packet({.origin = 0xaaaa, .receive = 0xbbbb, .transmit = 0xcccc});
}

inline ntp_shim::Packet parse(Bytes octets)
{
    const auto parsed = ntp_shim::Packet::parse(octets);
    REQUIRE(parsed.has_value());
    return *parsed;
}

/// What a good daemon answers.
inline Fields answer_to(Bytes asked)
{
    const auto parsed = parse(asked);
    return {.version = parsed.version,
            .mode = 4,
            .stratum = 2,
            .reference_id = 0x0a000001,
            .origin = parsed.transmit,
            .receive = kT2,
            .transmit = kT3};
}

inline std::array<std::byte, 16> ipv4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d)
{
    std::array<std::byte, 16> address{};
    ntp_shim::ByteWriter writer(address);
    writer.u64(0);
    writer.u32(0xffff);
    for (const auto octet : {a, b, c, d}) {
        writer.u8(octet);
    }
    return address;
}

inline std::array<std::byte, 16> ipv6(std::uint64_t network, std::uint64_t host)
{
    std::array<std::byte, 16> address{};
    ntp_shim::ByteWriter writer(address);
    writer.u64(network);
    writer.u64(host);
    return address;
}

inline ntp_shim::ClientEndpoint endpoint(std::uint16_t port = 40000)
{
    return {.address = ipv4(127, 0, 0, 1), .local = ipv4(127, 0, 0, 2), .scope = 0, .port = port, .listener = 0};
}

inline Octets copy(Bytes octets)
{
    return {octets.begin(), octets.end()};
}

inline ntp_shim::Frame decode(Bytes message)
{
    const auto decoded = ntp_shim::decode_frame(message);
    REQUIRE(std::holds_alternative<ntp_shim::Frame>(decoded));
    return std::get<ntp_shim::Frame>(decoded);
}

ntp_shim::Frame decode(Octets&& message) = delete; // the frame is a view of it

inline Octets encode(const ntp_shim::Frame& frame)
{
    ntp_shim::FrameBuffer buffer{};
    const auto octets = ntp_shim::encode_frame(frame, buffer);
    REQUIRE_FALSE(octets.empty());
    return copy(octets);
}

/// Why an input was dropped, as its word; "" when it was not.
template <class... Verdicts>
std::string dropped(const std::variant<Verdicts...>& verdict)
{
    const auto* drop = std::get_if<ntp_shim::Drop>(&verdict);
    return drop == nullptr ? std::string{} : std::string{ntp_shim::name(drop->reason)};
}

inline std::string word(std::optional<ntp_shim::DropReason> reason)
{
    return reason ? std::string{ntp_shim::name(*reason)} : std::string{};
}

} // namespace packets
