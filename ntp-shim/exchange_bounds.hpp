// What both roles' exchange tables have in common: their bound, and how a frame's exchange is named.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "ntp-shim/client_shim.hpp"
#include "ntp-shim/slot_index.hpp"

namespace ntp_shim {

inline constexpr std::uint32_t kMaxExchanges = 1U << 20; // when the configuration sets no limit, and above any it sets

[[nodiscard]] constexpr std::uint32_t exchange_bound(const ExchangeLimits& limits) noexcept
{
    return limits.exchanges == 0 ? kMaxExchanges : std::min(limits.exchanges, kMaxExchanges);
}

/// The key of an exchange id, which is unique on one channel only.
[[nodiscard]] inline std::uint64_t id_key(const SlotIndex& index, ChannelNumber channel, std::uint64_t id) noexcept
{
    return index.fold(std::array<std::uint64_t, 2>{channel, id});
}

} // namespace ntp_shim
