#include "ntp-shim/packet.hpp"

#include <algorithm>

namespace ntp_shim {

namespace {

// Sizes that RFC 7822 section 7.5 reserves for what is no extension field.
constexpr std::size_t kCryptoNakSize = 4;
constexpr std::size_t kMinExtensionField = 16;
constexpr std::size_t kMacSize128 = 20;
constexpr std::size_t kMacSize160 = 24;

constexpr bool is_printable(std::uint8_t octet) noexcept
{
    return octet > 0x20 && octet < 0x7f;
}

} // namespace

std::optional<Packet> Packet::parse(Bytes data) noexcept
{
    ByteReader reader(data);
    Packet packet;
    const auto first = reader.u8();
    packet.leap = static_cast<std::uint8_t>(first >> 6);
    packet.version = static_cast<std::uint8_t>(first >> 3 & 0x7);
    packet.mode = static_cast<std::uint8_t>(first & 0x7);
    packet.stratum = reader.u8();
    packet.poll = reader.u8();
    packet.precision = reader.u8();
    (void)reader.u64(); // root delay and root dispersion: the client's business
    packet.reference_id = reader.u32();
    (void)reader.u64(); // reference time: likewise
    packet.origin = reader.u64();
    packet.receive = reader.u64();
    packet.transmit = reader.u64();
    packet.after_header = reader.rest();
    if (!reader.ok()) {
        return std::nullopt;
    }
    return packet;
}

bool Packet::has_extension_fields() const noexcept
{
    const auto size = after_header.size();
    return version == 4 && size >= kMinExtensionField && size != kMacSize128 && size != kMacSize160;
}

bool Packet::is_crypto_nak() const noexcept
{
    return after_header.size() == kCryptoNakSize &&
           std::ranges::all_of(after_header, [](std::byte octet) { return octet == std::byte{0}; });
}

bool Packet::is_kiss() const noexcept
{
    if (stratum != 0) {
        return false;
    }
    auto rest = reference_id;
    unsigned letters = 0;
    while (letters < 4 && is_printable(static_cast<std::uint8_t>(rest >> 24))) {
        rest <<= 8;
        ++letters;
    }
    return letters > 0 && rest == 0;
}

bool Packet::is_unsynchronised() const noexcept
{
    return leap == kLeapUnknown || stratum == 0 || stratum >= kMaxStratum;
}

bool Packet::may_be_interleaved() const noexcept
{
    return origin != 0 && receive != 0 && transmit != 0 && origin != receive && origin != transmit &&
           receive != transmit;
}

void write_stamp(std::span<std::byte> packet, StampField field, std::uint64_t value) noexcept
{
    ByteWriter(packet.subspan(static_cast<std::size_t>(field), sizeof value)).u64(value);
}

} // namespace ntp_shim
