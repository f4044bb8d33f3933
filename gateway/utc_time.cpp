#include "gateway/utc_time.hpp"

#include <ctime>

#include <fmt/format.h>

#include "transports/clock.hpp"

namespace gateway {

std::string utc_time(std::chrono::nanoseconds since_unix_epoch)
{
    const auto whole = std::chrono::floor<std::chrono::seconds>(since_unix_epoch);
    const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(since_unix_epoch - whole);
    const std::time_t seconds = whole.count();
    std::tm parts{};
    if (gmtime_r(&seconds, &parts) == nullptr) {
        return "?";
    }
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                       parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, micros.count());
}

std::string utc_time_now()
{
    return utc_time(transports::read_wall());
}

} // namespace gateway
