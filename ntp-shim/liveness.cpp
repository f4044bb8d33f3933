#include "ntp-shim/liveness.hpp"

#include <algorithm>

namespace ntp_shim {

namespace {

constexpr auto kNever = Nanoseconds::max();
constexpr unsigned kPingsBeforeDeath = 3;

} // namespace

void Liveness::heard(Nanoseconds boot) noexcept
{
    last_heard_ = std::max(last_heard_, boot);
    pings_unanswered_ = 0;
}

void Liveness::answered(Nanoseconds round_trip) noexcept
{
    note_round_trip(round_trip);
    loss_unasked_ = false;
    in_doubt_ = false;
    is_silent_ = false;
    alive_since_.reset();
}

bool Liveness::may_ping(Nanoseconds boot) const noexcept
{
    return !last_ping_ || boot - *last_ping_ >= kMinPingSpacing;
}

void Liveness::ping_sent(std::uint32_t id, Instant now, std::optional<Nanoseconds> oldest) noexcept
{
    in_doubt_ = in_doubt_ || loss_unasked_ || (oldest && now.boot - *oldest >= patience());
    loss_unasked_ = false;
    last_ping_ = now.boot;
    ++pings_unanswered_;
    pings_.at(next_ping_) = {.id = id, .sent = now.raw, .awaited = true};
    next_ping_ = (next_ping_ + 1) % pings_.size();
}

bool Liveness::pong_received(std::uint32_t id, Instant arrival) noexcept
{
    const auto ping = std::ranges::find_if(pings_, [id](const Ping& one) { return one.awaited && one.id == id; });
    if (ping == pings_.end()) {
        return false;
    }
    ping->awaited = false;
    note_round_trip(arrival.raw - ping->sent);
    if (in_doubt_ && !alive_since_) {
        alive_since_ = arrival.boot;
    }
    return true;
}

Health Liveness::check(std::optional<Nanoseconds> oldest, Nanoseconds keepalive, Nanoseconds now) noexcept
{
    const auto next_due = due(oldest, keepalive);
    if (now < next_due.at) {
        return Health::good;
    }
    is_silent_ = is_silent_ || next_due.what == Health::upstream_silent;
    return next_due.what;
}

Liveness::Due Liveness::due(std::optional<Nanoseconds> oldest, Nanoseconds keepalive) const noexcept
{
    if (last_ping_ && pings_unanswered_ > 0) {
        const auto what = pings_unanswered_ < kPingsBeforeDeath ? Health::ping_due : Health::dead;
        return {.at = *last_ping_ + ping_wait(), .what = what};
    }
    const auto silent_at = in_doubt_ && alive_since_ && !is_silent_ ? *alive_since_ + kPingInterval : kNever;
    auto ping_at = keepalive > Nanoseconds::zero() ? last_heard_ + keepalive : kNever;
    if (oldest) {
        ping_at = std::min(ping_at, *oldest + patience());
    }
    if (loss_unasked_) {
        ping_at = Nanoseconds::zero();
    }
    if (last_ping_) {
        ping_at = std::max(ping_at, *last_ping_ + (is_silent_ ? kSilentPingInterval : kPingInterval));
    }
    if (silent_at <= ping_at) {
        return {.at = silent_at, .what = silent_at == kNever ? Health::good : Health::upstream_silent};
    }
    return {.at = ping_at, .what = Health::ping_due};
}

Nanoseconds Liveness::patience() const noexcept
{
    return std::max(kMinPatience, best_round_trip_ ? 4 * *best_round_trip_ : Nanoseconds::zero());
}

Nanoseconds Liveness::ping_wait() const noexcept
{
    return best_round_trip_ ? std::max(kMinPingWait, *best_round_trip_) : first_wait_;
}

void Liveness::note_round_trip(Nanoseconds round_trip) noexcept
{
    const auto sane = std::max(round_trip, Nanoseconds::zero());
    best_round_trip_ = best_round_trip_ ? std::min(*best_round_trip_, sane) : sane;
}

} // namespace ntp_shim
