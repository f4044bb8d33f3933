#include <array>
#include <chrono>
#include <vector>

#include <doctest/doctest.h>

#include "gateway/deferred_frames.hpp"
#include "ntp-shim/frame.hpp"

using namespace gateway;
using namespace std::chrono_literals;

namespace {

std::vector<std::byte> frame_of(ntp_shim::FrameType type)
{
    static const std::array<std::byte, 48> kPacket{};
    const bool reply = type == ntp_shim::FrameType::reply;
    const ntp_shim::Frame frame{.type = type,
                                .id = 7,
                                .sent = std::uint64_t{1} << 32U,
                                .arrived = 5,
                                .forward_hold = reply ? 3U : 0U,
                                .backward_hold = reply ? 1U << 30U : 0U,
                                .packet = reply ? ntp_shim::Bytes{kPacket} : ntp_shim::Bytes{}};
    ntp_shim::FrameBuffer buffer{};
    const auto octets = ntp_shim::encode_frame(frame, buffer);
    return {octets.begin(), octets.end()};
}

transports::Instant at(std::chrono::nanoseconds moment)
{
    return {moment, moment};
}

ntp_shim::Frame read(const std::vector<std::byte>& octets)
{
    const auto decoded = ntp_shim::decode_frame(octets);
    REQUIRE(std::holds_alternative<ntp_shim::Frame>(decoded));
    return std::get<ntp_shim::Frame>(decoded);
}

} // namespace

TEST_SUITE_BEGIN("deferred_frames");

TEST_CASE("the wait becomes part of a reply's backward hold, and moves its send stamp")
{
    DeferredFrames deferred;
    const auto reply = frame_of(ntp_shim::FrameType::reply);
    const auto pong = frame_of(ntp_shim::FrameType::pong);
    REQUIRE(deferred.keep(reply, at(1s)));
    REQUIRE(deferred.keep(pong, at(1s)));
    const auto taken = deferred.take(at(1s + 250ms), 500ms);
    REQUIRE(taken.size() == 2);
    CHECK(taken[0].is_reply);
    CHECK_FALSE(taken[0].late);
    const auto later = read(taken[0].octets);
    CHECK(later.backward_hold == (1U << 30U) * 2U); // a quarter of a second, and another
    CHECK(later.sent == (std::uint64_t{1} << 32U) + (1U << 30U));
    CHECK(later.forward_hold == 3);
    CHECK(later.arrived == 5);
    CHECK_FALSE(taken[1].is_reply);
    CHECK(read(taken[1].octets).sent == (std::uint64_t{1} << 32U) + (1U << 30U));
    CHECK(deferred.empty());
}

TEST_CASE("what has waited longer than max-age, or would hold a second, is late")
{
    DeferredFrames deferred;
    REQUIRE(deferred.keep(frame_of(ntp_shim::FrameType::reply), at(0s)));
    CHECK_FALSE(deferred.take(at(500ms), 500ms).front().late);
    REQUIRE(deferred.keep(frame_of(ntp_shim::FrameType::reply), at(0s)));
    CHECK(deferred.take(at(500ms + 1ns), 500ms).front().late);
    REQUIRE(deferred.keep(frame_of(ntp_shim::FrameType::reply), at(0s)));
    CHECK(deferred.take(at(750ms), 900ms).front().late); // with the quarter that it had
    REQUIRE(deferred.keep(frame_of(ntp_shim::FrameType::pong), at(0s)));
    CHECK(deferred.take(at(501ms), 500ms).empty());
}

TEST_CASE("there are never more than there may be")
{
    DeferredFrames deferred;
    const auto reply = frame_of(ntp_shim::FrameType::reply);
    for (std::size_t i = 0; i < DeferredFrames::kMost; ++i) {
        REQUIRE(deferred.keep(reply, at(0s)));
    }
    CHECK_FALSE(deferred.keep(reply, at(0s)));
    CHECK(deferred.take(at(1ms), 500ms).size() == DeferredFrames::kMost);
    CHECK(deferred.keep(reply, at(0s)));
}

TEST_CASE("other frames do not wait: their stamps would be wrong")
{
    auto ping = frame_of(ntp_shim::FrameType::pong);
    ping[0] = static_cast<std::byte>(0x13);
    ping[23] = std::byte{0};
    CHECK_FALSE(ntp_shim::hold_longer(ping, 1ms));
    std::vector<std::byte> nonsense(10);
    CHECK_FALSE(ntp_shim::hold_longer(nonsense, 1ms));
}

TEST_SUITE_END();
