#include "tests/support/wall_clock.hpp"

#include <ctime>

#include <sys/time.h>

namespace {

std::chrono::seconds offset_now{0};
unsigned long readings = 0;

} // namespace

// Found before the C library's: by this program, and by the libraries it is linked with.
extern "C" int gettimeofday(timeval* value, void* /*zone*/) noexcept
{
    timespec now{};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    value->tv_sec = now.tv_sec + offset_now.count();
    value->tv_usec = now.tv_nsec / 1000;
    ++readings;
    return 0;
}

namespace support {

SteppedWallClock::SteppedWallClock(std::chrono::seconds offset)
{
    offset_now = offset;
}

SteppedWallClock::~SteppedWallClock()
{
    offset_now = std::chrono::seconds{0};
}

void SteppedWallClock::step(std::chrono::seconds offset)
{
    offset_now = offset;
}

unsigned long wall_clock_readings() noexcept
{
    return readings;
}

} // namespace support
