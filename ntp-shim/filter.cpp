#include "ntp-shim/filter.hpp"

#include <algorithm>
#include <span>

#include "ntp-shim/seal.hpp"

namespace ntp_shim {

namespace {

constexpr std::uint8_t kMinVersion = 1;
constexpr std::uint8_t kMaxVersion = 4;
constexpr std::array<std::uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}; // RFC 4291, 2.5.5.2
constexpr std::uint32_t kBroadcast = 0xffffffff;
constexpr std::uint32_t kMulticastBits = 0xe; // 224.0.0.0/4, RFC 5771

bool is_mapped(std::span<const std::byte, 16> address) noexcept
{
    return std::ranges::equal(address.first<12>(), kMappedPrefix, {},
                              [](std::byte octet) { return std::to_integer<std::uint8_t>(octet); });
}

bool is_unicast(std::span<const std::byte, 16> address) noexcept
{
    if (is_mapped(address)) {
        const auto ipv4 = ByteReader(address.last<4>()).u32();
        return ipv4 != 0 && ipv4 != kBroadcast && ipv4 >> 28 != kMulticastBits;
    }
    const bool unspecified = std::ranges::all_of(address, [](std::byte octet) { return octet == std::byte{0}; });
    const bool multicast = address.front() == std::byte{0xff}; // ff00::/8
    return !unspecified && !multicast;
}

std::optional<DropReason> check_between(Bytes datagram, std::size_t longest) noexcept
{
    if (datagram.size() < kHeaderSize) {
        return DropReason::too_short;
    }
    if (datagram.size() > longest) {
        return DropReason::too_long;
    }
    return std::nullopt;
}

} // namespace

std::optional<DropReason> check_length(Bytes datagram) noexcept
{
    return check_between(datagram, kMaxPacket);
}

std::optional<DropReason> check_sealed_length(Bytes datagram) noexcept
{
    return check_between(datagram, kMaxSealed);
}

std::optional<DropReason> check_source(const std::array<std::byte, 16>& address, std::uint16_t port) noexcept
{
    if (port == 0 || !is_unicast(address)) {
        return DropReason::bad_source;
    }
    return std::nullopt;
}

std::optional<DropReason> check_request(const Packet& request) noexcept
{
    if (request.version < kMinVersion || request.version > kMaxVersion) {
        return DropReason::bad_version;
    }
    if (request.mode != kModeClient) {
        return DropReason::bad_mode;
    }
    return std::nullopt;
}

SentRequest SentRequest::of(const Packet& packet) noexcept
{
    return {.version = packet.version,
            .is_header_only = packet.is_header_only(),
            .has_extension_fields = packet.has_extension_fields(),
            .may_be_interleaved = packet.may_be_interleaved(),
            .length = static_cast<std::uint16_t>(kHeaderSize + packet.after_header.size()),
            .receive = packet.receive,
            .transmit = packet.transmit};
}

std::optional<DropReason> check_reply(const SentRequest& request, const Packet& reply, ReplyRules rules) noexcept
{
    if (reply.mode != kModeServer) {
        return DropReason::bad_mode;
    }
    if (reply.version != request.version) {
        return DropReason::bad_version;
    }
    const bool interleaved = request.may_be_interleaved && reply.origin == request.receive;
    if (!request.is_basic_reply(reply) && !interleaved) {
        return DropReason::bad_origin;
    }
    if (reply.is_crypto_nak()) {
        return DropReason::crypto_nak;
    }
    // Before the stamps are looked at: they mean nothing in a kiss (RFC 5905 section 7.4), and some servers send zeros.
    const bool passing_kiss = reply.is_kiss() && rules.pass_kisses;
    if (reply.is_kiss() && !rules.pass_kisses) {
        return DropReason::kiss_of_death;
    }
    if (!passing_kiss && (reply.receive == 0 || reply.transmit == 0)) {
        return DropReason::zero_stamp;
    }
    if (!request.has_extension_fields && kHeaderSize + reply.after_header.size() > request.length) {
        return DropReason::reply_too_long;
    }
    if (reply.is_unsynchronised() && !rules.pass_unsynchronised && !passing_kiss) {
        return DropReason::unsynchronised;
    }
    return std::nullopt;
}

bool ends_exchange(DropReason reason) noexcept
{
    return reason == DropReason::crypto_nak || reason == DropReason::kiss_of_death ||
           reason == DropReason::unsynchronised || reason == DropReason::implausible_hold ||
           reason == DropReason::held_too_long || reason == DropReason::hold_overflow || reason == DropReason::too_old;
}

} // namespace ntp_shim
