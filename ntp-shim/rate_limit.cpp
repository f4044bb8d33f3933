#include "ntp-shim/rate_limit.hpp"

#include <algorithm>
#include <span>

#include "ntp-shim/bytes.hpp"

namespace ntp_shim {

namespace {

constexpr Nanoseconds kSecond = std::chrono::seconds{1};
// Two for each datagram: the table shrinks twice as fast as strangers can fill it.
constexpr int kPrunedAtOnce = 2;

/// An IPv4 address with its ::ffff mark, else the /64. The two cannot meet: no IPv6 network begins with 16 zero bits
/// and 16 ones.
std::uint64_t account_key(const std::array<std::byte, 16>& address) noexcept
{
    ByteReader reader(address);
    const auto network = reader.u64();
    const auto host = reader.u64();
    const bool mapped = network == 0 && host >> 32 == 0xffff;
    return mapped ? host : network;
}

} // namespace

bool TokenBucket::take(std::uint32_t per_second, Nanoseconds now) noexcept
{
    if (per_second == 0) {
        return true;
    }
    const auto token = kSecond / per_second;
    const auto full_at = std::max(full_at_, now);
    if (full_at - now > kSecond - token) {
        return false;
    }
    full_at_ = full_at + token;
    return true;
}

ClientAccounts::ClientAccounts(const Limits& limits, std::uint64_t seed) : limits_(limits), by_key_(seed)
{}

std::optional<ClientAccounts::Number> ClientAccounts::admit(const std::array<std::byte, 16>& address, Nanoseconds now)
{
    prune(now);
    const auto account = find_or_add(account_key(address));
    if (!account || !accounts_[*account].bucket.take(limits_.per_second, now)) {
        return std::nullopt;
    }
    return account;
}

bool ClientAccounts::may_open(Number account) const noexcept
{
    return limits_.exchanges == 0 || accounts_[account].exchanges < limits_.exchanges;
}

void ClientAccounts::open(Number account) noexcept
{
    if (accounts_[account].exchanges++ == 0) {
        idle_.remove(accounts_, account);
    }
}

void ClientAccounts::close(Number account) noexcept
{
    if (--accounts_[account].exchanges == 0) {
        idle_.push_back(accounts_, account);
    }
}

std::optional<ClientAccounts::Number> ClientAccounts::find_or_add(std::uint64_t key)
{
    if (const auto known = by_key_.find(key)) {
        if (accounts_[*known].exchanges == 0) { // it asked last
            idle_.remove(accounts_, *known);
            idle_.push_back(accounts_, *known);
        }
        return known;
    }
    if (accounts_.is_full()) {
        if (idle_.empty()) {
            return std::nullopt; // every account has an open exchange: the newcomer waits
        }
        forget(idle_.front());
    }
    const auto made = accounts_.add();
    if (made) {
        accounts_[*made].key = key;
        by_key_.insert(key, *made);
        idle_.push_back(accounts_, *made);
    }
    return made;
}

void ClientAccounts::forget(Number account)
{
    idle_.remove(accounts_, account);
    by_key_.erase(accounts_[account].key, account);
    accounts_.remove(account);
}

void ClientAccounts::prune(Nanoseconds now)
{
    for (int pruned = 0; pruned < kPrunedAtOnce && !idle_.empty(); ++pruned) {
        if (!accounts_[idle_.front()].bucket.is_full(now)) {
            return;
        }
        forget(idle_.front());
    }
}

} // namespace ntp_shim
