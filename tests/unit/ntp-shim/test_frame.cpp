#include "ntp-shim/frame.hpp"

#include <string>

#include "tests/unit/ntp-shim/packets.hpp"

using ntp_shim::decode_frame;
using ntp_shim::DropReason;
using ntp_shim::encode_frame;
using ntp_shim::Frame;
using ntp_shim::FrameBuffer;
using ntp_shim::FrameType;
using namespace packets;

namespace {

std::string fault(Bytes message)
{
    const auto decoded = decode_frame(message);
    const auto* reason = std::get_if<DropReason>(&decoded);
    return reason == nullptr ? std::string{} : std::string{name(*reason)};
}

Octets changed(Octets message, std::size_t position, std::uint8_t value)
{
    message.at(position) = static_cast<std::byte>(value);
    return message;
}

bool can_encode(const Frame& frame)
{
    FrameBuffer buffer{};
    return !encode_frame(frame, buffer).empty();
}

const Octets kPacket = noise(48);

Frame reply_frame()
{
    return {.type = FrameType::reply,
            .id = 0x01020304,
            .sent = 0x1112131415161718,
            .arrived = 0x2122232425262728,
            .forward_hold = 0x31323334,
            .backward_hold = 0x41424344,
            .packet = kPacket};
}

} // namespace

TEST_SUITE_BEGIN("frame");

TEST_CASE("a frame's octets are those of the layout")
{
    const auto octets = encode(reply_frame());
    REQUIRE(octets.size() == 80);
    const auto expected = std::to_array<std::uint8_t>({0x12, 0,    0,    0,    0x01, 0x02, 0x03, 0x04, 0x11, 0x12, 0x13,
                                                       0x14, 0x15, 0x16, 0x17, 0x18, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26,
                                                       0x27, 0x28, 0x31, 0x32, 0x33, 0x34, 0x41, 0x42, 0x43, 0x44});
    CHECK(std::ranges::equal(Bytes{octets}.first(32), expected, {},
                             [](std::byte octet) { return std::to_integer<std::uint8_t>(octet); }));
    CHECK(std::ranges::equal(Bytes{octets}.subspan(32), kPacket));
}

TEST_CASE("every type is decoded to what was encoded")
{
    const auto octets = encode(reply_frame());
    const auto frame = decode(octets);
    CHECK(frame.type == FrameType::reply);
    CHECK(frame.id == 0x01020304);
    CHECK(frame.sent == 0x1112131415161718);
    CHECK(frame.arrived == 0x2122232425262728);
    CHECK(frame.forward_hold == 0x31323334);
    CHECK(frame.backward_hold == 0x41424344);
    CHECK(std::ranges::equal(frame.packet, kPacket));
    for (const auto type : {FrameType::ping, FrameType::pong, FrameType::goodbye}) {
        const auto message = encode({.type = type, .id = 7, .sent = 9, .packet = {}});
        const auto control = decode(message);
        CHECK(control.type == type);
        CHECK(control.id == 7);
        CHECK(control.sent == 9);
    }
    const auto asked = encode({.type = FrameType::request, .id = 1, .sent = 2, .packet = kPacket});
    const auto request = decode(asked);
    CHECK(request.type == FrameType::request);
}

TEST_CASE("a frame with a packet has 80 to 1056 octets")
{
    const auto with_packet = [](std::size_t octets) {
        auto message = encode(reply_frame());
        message.resize(32 + octets);
        return fault(message);
    };
    CHECK(with_packet(0) == "bad_frame");
    CHECK(with_packet(47) == "bad_frame");
    CHECK(with_packet(48).empty());
    CHECK(with_packet(1024).empty());
    CHECK(with_packet(1025) == "bad_frame");
}

TEST_CASE("a frame without a packet has exactly 32 octets")
{
    const auto ping = encode({.type = FrameType::ping, .packet = {}});
    CHECK(ping.size() == 32);
    CHECK(fault(ping).empty());
    CHECK(fault(Bytes{ping}.first(31)) == "bad_frame");
    CHECK(fault({}) == "bad_frame");
    auto longer = ping;
    longer.resize(33);
    CHECK(fault(longer) == "bad_frame");
    longer.resize(80);
    CHECK(fault(longer) == "bad_frame");
}

TEST_CASE("an unknown version, an unknown type and reserved bits are refused")
{
    const auto good = encode(reply_frame());
    CHECK(fault(changed(good, 0, 0x02)) == "bad_frame");
    CHECK(fault(changed(good, 0, 0x22)) == "bad_frame");
    CHECK(fault(changed(good, 0, 0x10)) == "bad_frame");
    CHECK(fault(changed(good, 0, 0x16)) == "bad_frame");
    CHECK(fault(changed(good, 1, 0x01)) == "bad_frame");
    CHECK(fault(changed(good, 2, 0x80)) == "bad_frame");
    CHECK(fault(changed(good, 3, 0x01)) == "bad_frame");
}

TEST_CASE("a field that a type does not use is zero")
{
    const auto request = encode({.type = FrameType::request, .packet = kPacket});
    const auto pong = encode({.type = FrameType::pong, .arrived = 5, .packet = {}});
    const auto ping = encode({.type = FrameType::ping, .packet = {}});
    for (const std::size_t position : {16U, 23U, 24U, 27U, 28U, 31U}) {
        CHECK(fault(changed(request, position, 1)) == "bad_frame");
        CHECK(fault(changed(ping, position, 1)) == "bad_frame");
    }
    CHECK(fault(changed(pong, 16, 1)).empty());
    CHECK(fault(changed(pong, 24, 1)) == "bad_frame");
    CHECK(fault(changed(pong, 31, 1)) == "bad_frame");
}

TEST_CASE("the largest hold is just below a second; all ones are refused")
{
    auto frame = reply_frame();
    frame.forward_hold = 0xfffffffe;
    frame.backward_hold = 0xfffffffe;
    const auto largest = encode(frame);
    CHECK(fault(largest).empty());
    CHECK(fault(changed(largest, 27, 0xff)) == "hold_overflow");
    CHECK(fault(changed(largest, 31, 0xff)) == "hold_overflow");
}

TEST_CASE("what would be refused is not encoded")
{
    CHECK(can_encode(reply_frame()));
    auto frame = reply_frame();
    frame.forward_hold = 0xffffffff;
    CHECK_FALSE(can_encode(frame));
    frame = reply_frame();
    frame.type = FrameType::request; // with holds
    CHECK_FALSE(can_encode(frame));
    frame = reply_frame();
    frame.packet = Bytes{kPacket}.first(47);
    CHECK_FALSE(can_encode(frame));
    const auto too_long = noise(1025);
    frame.packet = too_long;
    CHECK_FALSE(can_encode(frame));
    CHECK_FALSE(can_encode({.type = FrameType::ping, .packet = kPacket}));
    CHECK_FALSE(can_encode({.type = static_cast<FrameType>(6), .packet = {}}));
}

TEST_SUITE_END();
