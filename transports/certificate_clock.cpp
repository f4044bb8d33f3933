#include "transports/certificate_clock.hpp"

#include <algorithm>

namespace transports {

namespace {

constexpr Nanoseconds kAgreement = std::chrono::minutes{1};

} // namespace

void CertificateClock::raise_floor(Nanoseconds to) noexcept
{
    floor_ = std::max(floor_, to);
}

bool CertificateClock::learn(Nanoseconds wall, Nanoseconds boot) noexcept
{
    if (wall < floor_) {
        return false;
    }
    known_ = Known{wall, boot};
    return true;
}

std::optional<Nanoseconds> CertificateClock::at(Nanoseconds wall, Nanoseconds boot) noexcept
{
    if (!known_) {
        return std::nullopt;
    }
    const auto carried = known_->wall + (boot - known_->boot);
    if (wall - carried <= kAgreement && carried - wall <= kAgreement) {
        known_ = Known{wall, boot};
        return wall;
    }
    return carried;
}

std::optional<Nanoseconds> certificate_time(const std::shared_ptr<CertificateClock>& clock) noexcept
{
    return clock ? clock->now() : std::optional{read_wall()};
}

} // namespace transports
