// Frames that wait for their channel's new keys. They leave with the wait added to their hold, or not at all.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "transports/clock.hpp"

namespace gateway {

class DeferredFrames {
public:
    static constexpr std::size_t kMost = 256;
    /// Keeps a copy of a reply or pong made just now; false when there are too many already.
    [[nodiscard]] bool keep(std::span<const std::byte> frame, transports::Instant now);

    struct Frame {
        std::vector<std::byte> octets;
        bool is_reply = false;
        bool late = false; // a reply that has waited too long, and is not to be sent; late pongs are forgotten
    };
    /// All of them, in order, ready to leave now.
    [[nodiscard]] std::vector<Frame> take(transports::Instant now, transports::Nanoseconds max_age);
    [[nodiscard]] bool empty() const noexcept { return kept_.empty(); }

private:
    struct Kept {
        std::vector<std::byte> octets;
        transports::Instant since;
    };
    std::vector<Kept> kept_;
};

} // namespace gateway
