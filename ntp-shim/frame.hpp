// Frame v1, one message between two head-ends (design 5): its layout, encoder and decoder.
//
//   0: version (4 bits, = 1) | type (4 bits)     1: flags, zero      2..3: zero     4..7: exchange id
//   8..15   send stamp      the sender's clock at hand-over, 32.32 s
//   16..23  arrival stamp   reply, pong: when the request or ping arrived, on the replier's clock; else 0
//   24..27  forward hold    reply: from the arrival stamp to hand-over to the daemon, 0.32 s; else 0
//   28..31  backward hold   reply: from the daemon's answer received to the send stamp, 0.32 s; else 0
//   32..    NTP packet, 48..1024 octets (request, reply); nothing (ping, pong, goodbye)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/drop_reason.hpp"
#include "ntp-shim/packet.hpp"
#include "ntp-shim/time.hpp"

namespace ntp_shim {

inline constexpr std::size_t kFrameHeaderSize = 32;
inline constexpr std::size_t kMaxFrame = kFrameHeaderSize + kMaxPacket;

enum class FrameType : std::uint8_t { request = 1, reply = 2, ping = 3, pong = 4, goodbye = 5 };

/// A decoded frame; `packet` is a view of the message it came from. Integers are in host order.
struct Frame {
    FrameType type{};
    std::uint32_t id{};
    std::uint64_t sent{};
    std::uint64_t arrived{};
    std::uint32_t forward_hold{};
    std::uint32_t backward_hold{};
    Bytes packet;
};

using FrameBuffer = std::array<std::byte, kMaxFrame>;

/// bad_frame: a length, version, type, reserved bit or unused field that v1 does not have; hold_overflow: a hold of a
/// second or more. The packet's own content is not looked at.
[[nodiscard]] std::variant<Frame, DropReason> decode_frame(Bytes message) noexcept;

/// The frame as octets in `buffer`; empty when decode_frame would refuse the result.
[[nodiscard]] Bytes encode_frame(const Frame& frame, FrameBuffer& buffer) noexcept;

/// A reply or pong that its channel could not take when it was made, and takes `waited` later: the send stamp moves by
/// that, and so does the end of a reply's backward hold. False, and nothing changed, when `frame` is neither of the
/// two, or the hold would be a second or more.
[[nodiscard]] bool hold_longer(std::span<std::byte> frame, Nanoseconds waited) noexcept;

} // namespace ntp_shim
