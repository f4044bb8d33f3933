// The wall clock as everything in this process sees it that asks by gettimeofday: OpenSSL's DTLS timer does; and, as
// another clock, who asks by time: its HTTP client does, and its verification of certificates.
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

/// As it comes until it is stepped, and again when this object is gone; one at a time.
class SteppedTime {
public:
    SteppedTime() = default;
    ~SteppedTime();
    SteppedTime(const SteppedTime&) = delete;
    SteppedTime& operator=(const SteppedTime&) = delete;
    void step(std::chrono::seconds offset);
};

/// How often it was asked: a test that steps a clock nobody looks at proves nothing.
[[nodiscard]] unsigned long wall_clock_readings() noexcept;

} // namespace support
