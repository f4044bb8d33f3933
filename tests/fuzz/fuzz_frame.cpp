// Frame v1 has one spelling: what is decoded encodes to the same octets, and what is encoded decodes to the same frame.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/frame.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using fuzz::require;
using ntp_shim::Bytes;
using ntp_shim::Frame;
using ntp_shim::FrameType;

bool carries_packet(const Frame& frame)
{
    return frame.type == FrameType::request || frame.type == FrameType::reply;
}

/// The frame as it reaches the encoder; with the planted bug, a carrier that alters an octet of it.
Bytes in_transit(Bytes packet, std::vector<std::byte>& altered)
{
    if (!fuzz::kPlantedBug || packet.empty()) {
        return packet;
    }
    altered.assign(packet.begin(), packet.end());
    altered.back() ^= std::byte{1};
    return altered;
}

void check_decoded(Bytes message)
{
    const auto decoded = ntp_shim::decode_frame(message);
    const auto* frame = std::get_if<Frame>(&decoded);
    if (frame == nullptr) {
        const auto reason = std::get<ntp_shim::DropReason>(decoded);
        require(reason == ntp_shim::DropReason::bad_frame || reason == ntp_shim::DropReason::hold_overflow,
                "a frame is refused under one of two words");
        return;
    }
    require(message.size() == (carries_packet(*frame) ? 32 + frame->packet.size() : 32), "every octet has a meaning");
    require(message.size() == 32 || (message.size() >= 80 && message.size() <= 1056), "the length is one of v1's");
    require(std::to_integer<unsigned>(message[0]) >> 4 == 1, "the version is 1");
    require(message[1] == std::byte{0} && message[2] == std::byte{0} && message[3] == std::byte{0},
            "reserved bits are zero");
    require(frame->forward_hold != 0xffffffff && frame->backward_hold != 0xffffffff, "no hold is a second or more");
    auto again = *frame;
    std::vector<std::byte> altered;
    again.packet = in_transit(frame->packet, altered);
    ntp_shim::FrameBuffer buffer{};
    require(std::ranges::equal(ntp_shim::encode_frame(again, buffer), message),
            "encoding what was decoded gives it back");
}

void check_encoded(ntp_shim::ByteReader reader)
{
    Frame frame;
    frame.type = static_cast<FrameType>(reader.u8() & 0xf);
    frame.id = reader.u32();
    frame.sent = reader.u64();
    frame.arrived = reader.u64();
    frame.forward_hold = reader.u32();
    frame.backward_hold = reader.u32();
    frame.packet = reader.rest();
    ntp_shim::FrameBuffer buffer{};
    const auto message = ntp_shim::encode_frame(frame, buffer);
    if (message.empty()) {
        return; // no frame of v1
    }
    const auto decoded = ntp_shim::decode_frame(message);
    const auto* again = std::get_if<Frame>(&decoded);
    require(again != nullptr, "what is encoded is accepted");
    require(again->type == frame.type && again->id == frame.id && again->sent == frame.sent &&
                again->arrived == frame.arrived && again->forward_hold == frame.forward_hold &&
                again->backward_hold == frame.backward_hold && std::ranges::equal(again->packet, frame.packet),
            "decoding what was encoded gives it back");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const auto input = std::as_bytes(std::span{data, size});
    check_decoded(input);
    check_encoded(ntp_shim::ByteReader(input));
    return 0;
}
