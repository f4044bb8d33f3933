// How much one client may ask: a rate, and a number of exchanges at once. A client is an IPv4 address or an IPv6 /64.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "ntp-shim/drop_reason.hpp"
#include "ntp-shim/slot_index.hpp"
#include "ntp-shim/slot_table.hpp"
#include "ntp-shim/time.hpp"

namespace ntp_shim {

/// A token bucket that holds one second's worth, kept as the one instant at which it will be full again.
class TokenBucket {
public:
    /// Takes a token if there is one. `per_second` 0 = no limit.
    [[nodiscard]] bool take(std::uint32_t per_second, Nanoseconds now) noexcept;
    /// Full: no different from a new one.
    [[nodiscard]] bool is_full(Nanoseconds now) const noexcept { return full_at_ <= now; }

private:
    Nanoseconds full_at_{};
};

/// One record for each client that has exchanges or asked within the last second. Bounded by kMaxClients: when so many
/// ask in one second, the one idle for longest is forgotten, which gives it a full bucket again and no more.
class ClientAccounts {
public:
    static constexpr std::uint32_t kMaxClients = 65536;

    struct Limits { // 0 = no limit
        std::uint32_t exchanges{};
        std::uint32_t per_second{};
    };
    ClientAccounts(const Limits& limits, std::uint64_t seed);

    using Number = std::uint32_t; // names an account until it is idle
    /// Finds or makes the account, and takes one token: nothing means rate_limited. The number is good until the next
    /// admit, or as long as the account has exchanges. `now` is on the boot clock.
    [[nodiscard]] std::optional<Number> admit(const std::array<std::byte, 16>& address, Nanoseconds now);
    [[nodiscard]] bool may_open(Number account) const noexcept;
    void open(Number account) noexcept;
    void close(Number account) noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return accounts_.size(); }

private:
    struct Account {
        std::uint64_t key{};
        TokenBucket bucket;
        std::uint32_t exchanges{};
        SlotLink idle;
    };
    [[nodiscard]] std::optional<Number> find_or_add(std::uint64_t key);
    void forget(Number account);
    void prune(Nanoseconds now);

    Limits limits_;
    SlotTable<Account> accounts_{kMaxClients};
    SlotIndex by_key_;
    SlotList<Account, &Account::idle> idle_; // without exchanges; the one that asked longest ago first
};

} // namespace ntp_shim
