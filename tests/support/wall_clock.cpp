#include "tests/support/wall_clock.hpp"

#include <atomic>
#include <ctime>

#include <sys/time.h>

namespace {

std::atomic<long> offset_now = 0; // seconds, as the next
std::atomic<long> offset_of_time = 0;
std::atomic<unsigned long> readings = 0;

} // namespace

// Found before the C library's: by this program, and by the libraries it is linked with.
extern "C" int gettimeofday(timeval* value, void* /*zone*/) noexcept
{
    timespec now{};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    value->tv_sec = now.tv_sec + offset_now;
    value->tv_usec = now.tv_nsec / 1000;
    ++readings;
    return 0;
}

extern "C" time_t time(time_t* value) noexcept
{
    timespec now{};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    const time_t seconds = now.tv_sec + offset_of_time;
    if (value != nullptr) {
        *value = seconds;
    }
    return seconds;
}

namespace support {

SteppedWallClock::SteppedWallClock(std::chrono::seconds offset)
{
    offset_now = offset.count();
}

SteppedWallClock::~SteppedWallClock()
{
    offset_now = 0;
}

void SteppedWallClock::step(std::chrono::seconds offset)
{
    offset_now = offset.count();
}

SteppedTime::~SteppedTime()
{
    offset_of_time = 0;
}

void SteppedTime::step(std::chrono::seconds offset)
{
    offset_of_time = offset.count();
}

unsigned long wall_clock_readings() noexcept
{
    return readings;
}

} // namespace support
