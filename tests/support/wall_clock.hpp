// The wall clock as everything in this process sees it that asks by gettimeofday or time: OpenSSL's DTLS timer
// and its HTTP client do.
#pragma once

#include <chrono>

namespace support {

/// Steps it for as long as this object lives; one at a time.
class SteppedWallClock {
public:
    explicit SteppedWallClock(std::chrono::seconds offset);
    ~SteppedWallClock();
    SteppedWallClock(const SteppedWallClock&) = delete;
    SteppedWallClock& operator=(const SteppedWallClock&) = delete;
    void step(std::chrono::seconds offset);
};

/// How often it was asked: a test that steps a clock nobody looks at proves nothing.
[[nodiscard]] unsigned long wall_clock_readings() noexcept;

} // namespace support
