// The time that certificates are judged by where the system's clock is not to be believed yet (design 12, bootstrap).
//
//   unknown --learn--> known: carried on by the boot clock, and by the wall clock as long as the two agree
#pragma once

#include <memory>
#include <optional>

#include "transports/clock.hpp"

namespace transports {

class CertificateClock {
public:
    /// No time before `floor` (since 1970) is ever right.
    explicit CertificateClock(Nanoseconds floor) noexcept : floor_{floor} {}

    [[nodiscard]] Nanoseconds floor() const noexcept { return floor_; }
    void raise_floor(Nanoseconds to) noexcept;

    [[nodiscard]] bool is_known() const noexcept { return known_.has_value(); }
    /// `wall`: what the time was at `boot`. False, and nothing is learnt, when it lies before the floor.
    [[nodiscard]] bool learn(Nanoseconds wall, Nanoseconds boot) noexcept;
    /// Nothing before there is anything known.
    [[nodiscard]] std::optional<Nanoseconds> now() noexcept { return at(read_wall(), read_boot()); }
    /// For the reading of both clocks given. A wall clock that has come to within a minute of what is known is
    /// followed, so that years of an undisciplined boot clock do not add up; one that was stepped away is not.
    [[nodiscard]] std::optional<Nanoseconds> at(Nanoseconds wall, Nanoseconds boot) noexcept;

private:
    struct Known {
        Nanoseconds wall{};
        Nanoseconds boot{};
    };
    Nanoseconds floor_;
    std::optional<Known> known_;
};

/// What a certificate's end is compared with: the wall clock where there is no `clock`; nothing while it is unknown.
[[nodiscard]] std::optional<Nanoseconds> certificate_time(const std::shared_ptr<CertificateClock>& clock) noexcept;

} // namespace transports
