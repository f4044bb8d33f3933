// How long a client waits between key establishments (RFC 8915 section 4.2).
#pragma once

#include <chrono>
#include <cstdint>

namespace ntp_shim {

/// min(10 s x 1.5^(n-1), 5 days) after the nth attempt in a row; an attempt counts until what it established was used.
class KeBackoff {
public:
    static constexpr std::chrono::seconds kFirst{10};
    static constexpr std::chrono::seconds kMost{432000};

    /// Before an attempt that begins now.
    void attempt() noexcept;
    /// The next protocol worked with what the last attempt established: the only thing that resets the interval.
    void used() noexcept { attempts_ = 0; }

    /// From the last attempt's begin to the next; `jitter`: random bits, which lengthen it by up to a quarter, so that
    /// a fleet that starts at once does not come back at once.
    [[nodiscard]] std::chrono::milliseconds interval(std::uint64_t jitter) const noexcept;
    [[nodiscard]] std::uint32_t attempts() const noexcept { return attempts_; }
    /// From a file: as if so many attempts had been made.
    void restore(std::uint32_t attempts) noexcept;

private:
    std::uint32_t attempts_ = 0;
};

} // namespace ntp_shim
