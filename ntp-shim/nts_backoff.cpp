#include "ntp-shim/nts_backoff.hpp"

#include <algorithm>

namespace ntp_shim {

namespace {

constexpr std::uint32_t kEnough = 32; // 10 s x 1.5^31 is beyond the largest interval

} // namespace

void KeBackoff::attempt() noexcept
{
    attempts_ = std::min(attempts_ + 1, kEnough);
}

void KeBackoff::restore(std::uint32_t attempts) noexcept
{
    attempts_ = std::min(attempts, kEnough);
}

std::chrono::milliseconds KeBackoff::interval(std::uint64_t jitter) const noexcept
{
    if (attempts_ == 0) {
        return std::chrono::milliseconds{0};
    }
    const std::chrono::milliseconds most = kMost;
    std::chrono::milliseconds interval = kFirst;
    for (std::uint32_t n = 1; n < attempts_ && interval < most; ++n) {
        interval = interval * 3 / 2;
    }
    interval = std::min(interval, most);
    return interval + std::chrono::milliseconds{jitter % (static_cast<std::uint64_t>(interval.count()) / 4 + 1)};
}

} // namespace ntp_shim
