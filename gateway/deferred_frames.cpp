#include "gateway/deferred_frames.hpp"

#include <utility>

#include "ntp-shim/frame.hpp"

namespace gateway {

namespace {

bool is_reply(std::span<const std::byte> frame)
{
    const auto decoded = ntp_shim::decode_frame(frame);
    const auto* found = std::get_if<ntp_shim::Frame>(&decoded);
    return found != nullptr && found->type == ntp_shim::FrameType::reply;
}

} // namespace

bool DeferredFrames::keep(std::span<const std::byte> frame, transports::Instant now)
{
    if (kept_.size() >= kMost) {
        return false;
    }
    kept_.push_back({{frame.begin(), frame.end()}, now});
    return true;
}

std::vector<DeferredFrames::Frame> DeferredFrames::take(transports::Instant now, transports::Nanoseconds max_age)
{
    std::vector<Frame> out;
    for (Kept& kept : std::exchange(kept_, {})) {
        Frame frame{std::move(kept.octets), false, false};
        frame.is_reply = is_reply(frame.octets);
        // The age by the clock that a suspended host's time counts on, the hold by the one that nobody slews.
        frame.late =
            now.boot - kept.since.boot > max_age || !ntp_shim::hold_longer(frame.octets, now.raw - kept.since.raw);
        if (frame.is_reply || !frame.late) {
            out.push_back(std::move(frame));
        }
    }
    return out;
}

} // namespace gateway
