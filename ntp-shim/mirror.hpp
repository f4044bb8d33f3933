// `upstream: mirror` (design 6.8): answers from the system clock that a daemon on this host disciplines, with that
// daemon's header, for as long as the two agree.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "ntp-shim/packet.hpp"
#include "ntp-shim/time.hpp"

namespace ntp_shim {

struct MirrorPolicy {
    Nanoseconds max_offset = std::chrono::milliseconds{1};
    unsigned max_missed = 5; // polls in a row
    unsigned good_polls = 3; // in a row, before the first answer and after every fault
};

/// Why a mirror does not answer; an enumerator prints as itself.
enum class MirrorFault : std::uint8_t {
    starting,       // not yet enough good polls
    unsynchronised, // leap 3, stratum 0 or 16 and up
    offset,         // daemon and system clock differ by more than max_offset
    missed,         // the daemon does not answer, or so slowly that its answers say nothing
    clock_step,     // the system clock jumped
};
[[nodiscard]] std::string_view name(MirrorFault fault) noexcept;

/// The system clock and the one nobody slews, read together.
struct ClockPair {
    Nanoseconds wall{};
    Nanoseconds raw{};
};

class Mirror {
public:
    explicit Mirror(const MirrorPolicy& policy) : policy_(policy) {}

    /// One poll: the daemon's reply, and the system clock's readings around it.
    struct Poll {
        Bytes reply;
        Nanoseconds sent_wall{};
        ClockPair received;
    };
    void on_poll(const Poll& poll);
    void on_missed();

    /// Before each answer and poll: notices a step of the system clock by comparing it with the raw one.
    void on_clock(const ClockPair& now);
    /// The system clock was stepped, by however little, as the kernel tells: slewing looks like a step as small as
    /// that.
    void on_step();

    [[nodiscard]] std::optional<MirrorFault> fault() const noexcept { return fault_; }

    struct Arrived {
        Bytes request;           // a header at least, mode 3
        std::uint64_t receive{}; // NTP timestamps of the system clock
        std::uint64_t transmit{};
        Nanoseconds raw{};
    };
    /// Nothing while there is a fault, or when T3 would lie before T2.
    [[nodiscard]] std::optional<std::array<std::byte, kHeaderSize>> answer(const Arrived& arrived) const;

private:
    void fail(MirrorFault fault);

    MirrorPolicy policy_;
    std::optional<MirrorFault> fault_ = MirrorFault::starting;
    std::array<std::byte, kHeaderSize> header_{}; // the daemon's last good reply
    Nanoseconds offset_{};                        // daemon minus system clock, at that poll
    Nanoseconds polled_{};                        // raw
    unsigned good_ = 0;
    unsigned missed_ = 0;
    std::optional<ClockPair> last_clock_;
};

} // namespace ntp_shim
