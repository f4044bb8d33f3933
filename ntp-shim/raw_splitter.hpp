// Raw framing (what stunnel + socat produce): cuts the records of one peer's byte stream back into NTP packets.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "ntp-shim/counters.hpp"
#include "ntp-shim/time.hpp"

namespace ntp_shim {

/// A record of n x 48 octets whose blocks each begin with an allowed version and mode is n packets; any other record
/// of at least 48 octets is one packet; a shorter one waits for its rest at most 50 ms (design 5). Bounded: it never
/// keeps more than one packet's worth.
class RawSplitter {
public:
    enum class Direction { requests, replies }; // which modes are allowed: 3, or 4
    explicit RawSplitter(Direction direction);

    /// The packets that `record` completes; views live until the next call, or as long as `record`. Never empty spans.
    /// Call expire first: what is kept is completed by any record that comes.
    [[nodiscard]] std::span<const std::span<const std::byte>> split(std::span<const std::byte> record, Instant now);
    /// Whether a partial packet became too old (it is forgotten; the caller counts raw_partial, received and dropped).
    [[nodiscard]] bool expire(Instant now);
    [[nodiscard]] std::optional<Nanoseconds> next_deadline() const; // on the boot clock
    [[nodiscard]] bool partial() const noexcept;

private:
    [[nodiscard]] bool is_blocks(std::span<const std::byte> record) const noexcept;

    Direction direction_;
    std::vector<std::byte> kept_;
    std::vector<std::span<const std::byte>> packets_;
    std::optional<Nanoseconds> deadline_;
};

} // namespace ntp_shim
