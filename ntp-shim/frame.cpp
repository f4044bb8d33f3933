#include "ntp-shim/frame.hpp"

#include <algorithm>

#include "ntp-shim/hold.hpp"

namespace ntp_shim {

namespace {

constexpr unsigned kFrameVersion = 1;

bool carries_packet(FrameType type) noexcept
{
    return type == FrameType::request || type == FrameType::reply;
}

bool has_valid_length(const Frame& frame) noexcept
{
    if (carries_packet(frame.type)) {
        return frame.packet.size() >= kHeaderSize && frame.packet.size() <= kMaxPacket;
    }
    return frame.packet.empty();
}

bool leaves_unused_fields_zero(const Frame& frame) noexcept
{
    const bool may_have_arrival = frame.type == FrameType::reply || frame.type == FrameType::pong;
    const bool may_have_holds = frame.type == FrameType::reply;
    return (may_have_arrival || frame.arrived == 0) &&
           (may_have_holds || (frame.forward_hold == 0 && frame.backward_hold == 0));
}

bool is_known(FrameType type) noexcept
{
    return type >= FrameType::request && type <= FrameType::goodbye;
}

} // namespace

std::variant<Frame, DropReason> decode_frame(Bytes message) noexcept
{
    ByteReader reader(message);
    Frame frame;
    const auto first = reader.u8();
    const auto flags = reader.u8();
    const auto reserved = reader.u16();
    frame.type = static_cast<FrameType>(first & 0xf);
    frame.id = reader.u32();
    frame.sent = reader.u64();
    frame.arrived = reader.u64();
    frame.forward_hold = reader.u32();
    frame.backward_hold = reader.u32();
    frame.packet = reader.rest();
    if (!reader.ok() || first >> 4 != kFrameVersion || flags != 0 || reserved != 0 || !is_known(frame.type) ||
        !has_valid_length(frame) || !leaves_unused_fields_zero(frame)) {
        return DropReason::bad_frame;
    }
    if (frame.forward_hold == kHoldOverflow || frame.backward_hold == kHoldOverflow) {
        return DropReason::hold_overflow;
    }
    return frame;
}

Bytes encode_frame(const Frame& frame, FrameBuffer& buffer) noexcept
{
    if (!is_known(frame.type) || !has_valid_length(frame) || !leaves_unused_fields_zero(frame) ||
        frame.forward_hold == kHoldOverflow || frame.backward_hold == kHoldOverflow) {
        return {};
    }
    ByteWriter writer(buffer);
    writer.u8(static_cast<std::uint8_t>(kFrameVersion << 4 | static_cast<unsigned>(frame.type)));
    writer.u8(0);
    writer.u16(0);
    writer.u32(frame.id);
    writer.u64(frame.sent);
    writer.u64(frame.arrived);
    writer.u32(frame.forward_hold);
    writer.u32(frame.backward_hold);
    writer.put(frame.packet);
    return writer.written();
}

bool hold_longer(std::span<std::byte> frame, Nanoseconds waited) noexcept
{
    const auto decoded = decode_frame(frame);
    const auto* found = std::get_if<Frame>(&decoded);
    if (found == nullptr || (found->type != FrameType::reply && found->type != FrameType::pong)) {
        return false;
    }
    Frame later = *found;
    const Ticks wait = to_ticks(waited);
    if (later.type == FrameType::reply) {
        const std::int64_t hold = std::int64_t{later.backward_hold} + wait.count();
        if (hold >= std::int64_t{kHoldOverflow}) {
            return false;
        }
        later.backward_hold = static_cast<std::uint32_t>(hold);
    }
    later.sent += static_cast<std::uint64_t>(wait.count());
    FrameBuffer buffer{};
    const Bytes encoded = encode_frame(later, buffer);
    std::copy(encoded.begin(), encoded.end(), frame.begin());
    return !encoded.empty();
}

} // namespace ntp_shim
