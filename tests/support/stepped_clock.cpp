// Preloaded into a program, it steps that program's wall clock, and no other clock, while it runs.
//
// STEPPED_CLOCK names a file of eight octets: the step in nanoseconds, in the host's byte order, looked at anew at each
// reading. Kernel time stamps of received datagrams are not stepped: to the program they look as they do when the real
// clock is stepped after they were taken.
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <ctime>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

namespace {

constexpr long kSecond = 1000000000;

const std::atomic<std::int64_t>* map_step()
{
    const char* path = std::getenv("STEPPED_CLOCK");
    const int file = path == nullptr ? -1 : ::open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        std::abort(); // preloaded for nothing: the test would prove nothing
    }
    void* mapped = ::mmap(nullptr, sizeof(std::int64_t), PROT_READ, MAP_SHARED, file, 0);
    ::close(file);
    if (mapped == MAP_FAILED) {
        std::abort();
    }
    return static_cast<const std::atomic<std::int64_t>*>(mapped);
}

std::int64_t step()
{
    static const std::atomic<std::int64_t>* const mapped = map_step();
    return mapped->load(std::memory_order_relaxed);
}

timespec stepped_wall(clockid_t clock)
{
    timespec read{};
    (void)::syscall(SYS_clock_gettime, clock, &read);
    const std::int64_t shifted = static_cast<std::int64_t>(read.tv_sec) * kSecond + read.tv_nsec + step();
    return {shifted / kSecond, shifted % kSecond};
}

} // namespace

extern "C" {

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, timespec* out) noexcept
{
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        *out = stepped_wall(clock);
        return 0;
    }
    return static_cast<int>(::syscall(SYS_clock_gettime, clock, out));
}

__attribute__((visibility("default"))) int gettimeofday(timeval* out, void*) noexcept
{
    const timespec read = stepped_wall(CLOCK_REALTIME);
    *out = {read.tv_sec, read.tv_nsec / 1000};
    return 0;
}

__attribute__((visibility("default"))) time_t time(time_t* out) noexcept
{
    const time_t seconds = stepped_wall(CLOCK_REALTIME).tv_sec;
    if (out != nullptr) {
        *out = seconds;
    }
    return seconds;
}
}
