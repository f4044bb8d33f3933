#include "transports/clock_steps.hpp"

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include <sys/timerfd.h>
#include <unistd.h>

namespace transports {

namespace {

// The wall reading between two boot readings, for a difference that no interruption makes wrong by much.
Nanoseconds wall_minus_boot() noexcept
{
    const Nanoseconds before = read_boot();
    const Nanoseconds wall = read_wall();
    return wall - (before + (read_boot() - before) / 2);
}

} // namespace

ClockSteps::ClockSteps(Loop& loop, std::function<void(const ClockStep&)> stepped)
    : stepped_{std::move(stepped)}, descriptor_{timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK)}
{
    if (descriptor_ < 0) {
        problem_ = std::string{"timerfd_create: "} + std::strerror(errno);
        return;
    }
    poll_ = std::make_unique<Poll>(loop, descriptor_, [this](int) {
        if (noticed()) {
            tell();
        }
    });
    arm();
    if (!problem_) {
        poll_->watch(UV_READABLE);
    }
}

ClockSteps::~ClockSteps()
{
    poll_.reset();
    if (descriptor_ >= 0) {
        close(descriptor_);
    }
}

void ClockSteps::arm()
{
    itimerspec never{};
    never.it_value.tv_sec = std::int64_t{1} << 40; // only the cancellation is of interest
    if (timerfd_settime(descriptor_, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, nullptr) != 0) {
        problem_ = std::string{"timerfd_settime: "} + std::strerror(errno);
        return;
    }
    difference_ = wall_minus_boot();
}

bool ClockSteps::noticed() const noexcept
{
    // Reading takes the notice away: whoever sees it tells it.
    std::array<std::byte, sizeof(std::uint64_t)> expirations{};
    return read(descriptor_, expirations.data(), expirations.size()) >= 0 || errno == ECANCELED;
}

void ClockSteps::follow()
{
    if (problem_) {
        return;
    }
    const Nanoseconds difference = wall_minus_boot();
    if (noticed()) {
        tell();
    } else {
        difference_ = difference;
    }
}

void ClockSteps::tell()
{
    const Nanoseconds before = difference_;
    arm();
    const Nanoseconds now = read_boot();
    stepped_({now + before, now + difference_});
    if (problem_) {
        poll_->watch(0);
    }
}

} // namespace transports
