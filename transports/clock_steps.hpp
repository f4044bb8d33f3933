// Steps of the wall clock, as the kernel tells of them (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET): slewing is not
// told, a suspended host that wakes is.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "transports/clock.hpp"
#include "transports/loop.hpp"

namespace transports {

struct ClockStep {
    Nanoseconds before{}; // what the wall clock would say now, had it not been stepped
    Nanoseconds after{};  // what it says
};

class ClockSteps {
public:
    /// `stepped` is called on the loop, once for each notice; steps that follow within one turn are one.
    ClockSteps(Loop& loop, std::function<void(const ClockStep&)> stepped);
    ~ClockSteps();
    ClockSteps(const ClockSteps&) = delete;
    ClockSteps& operator=(const ClockSteps&) = delete;

    /// Why no notice can come; absent = they do.
    [[nodiscard]] const std::optional<std::string>& problem() const noexcept { return problem_; }
    /// To be called every second or so: between two calls a slewed clock drifts, which no step is.
    void follow();

private:
    void arm();
    [[nodiscard]] bool noticed() const noexcept;
    void tell();

    std::function<void(const ClockStep&)> stepped_;
    int descriptor_ = -1;
    Nanoseconds difference_{}; // wall clock minus boot clock
    std::optional<std::string> problem_;
    std::unique_ptr<Poll> poll_;
};

} // namespace transports
