// What every head-end is given to work with, and owns no part of.
#pragma once

#include <cstdint>

#include "gateway/audit.hpp"
#include "gateway/log.hpp"
#include "gateway/own_listeners.hpp"
#include "gateway/random.hpp"
#include "transports/admission.hpp"
#include "transports/loop.hpp"

namespace gateway {

/// `limits.exchanges` of the process, counted over all its tunnels.
struct ExchangeBudget {
    std::uint32_t limit = 0; // 0 = none
    std::uint64_t open = 0;
    [[nodiscard]] bool spent() const noexcept { return limit != 0 && open >= limit; }
};

struct Services {
    transports::Loop& loop;
    Log& log;
    Audit& audit;
    Random& random;
    transports::Admission& admission;
    ExchangeBudget& exchanges;
    const OwnListeners* own = nullptr; // of a process that has listeners
};

} // namespace gateway
