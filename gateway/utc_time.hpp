// Wall-clock time in records: UTC, RFC 3339, microseconds.
#pragma once

#include <chrono>
#include <string>

namespace gateway {

[[nodiscard]] std::string utc_time(std::chrono::nanoseconds since_unix_epoch); // "2026-01-02T03:04:05.678901Z"
[[nodiscard]] std::string utc_time_now();

} // namespace gateway
