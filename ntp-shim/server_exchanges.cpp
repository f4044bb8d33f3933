#include "ntp-shim/server_exchanges.hpp"

#include <algorithm>

#include "ntp-shim/exchange_bounds.hpp"

namespace ntp_shim {

namespace {

bool arrived_later(const ServerExchange& one, const ServerExchange& other) noexcept
{
    return one.arrival.boot > other.arrival.boot;
}

} // namespace

ServerExchanges::ServerExchanges(const ServerPolicy& policy, Counters& counters)
    : policy_(policy), counters_(counters),
      accounts_({.exchanges = policy.limits.per_client, .per_second = policy.limits.requests_per_second_per_client},
                policy.hash_seed),
      table_(exchange_bound(policy.limits)), by_id_(policy.hash_seed), by_transmit_(policy.hash_seed),
      by_receive_(policy.hash_seed)
{}

void ServerExchanges::open_channel(ChannelNumber number, const ChannelSeed& seed)
{
    close_channel(number);
    channels_.emplace(number,
                      ServerChannel{.number = number, .stamp_offset = seed.stamp_offset, .pings = {}, .open = {}});
}

void ServerExchanges::close_channel(ChannelNumber number)
{
    auto* const closing = channel(number);
    if (closing == nullptr) {
        return;
    }
    while (!closing->open.empty()) {
        end(closing->open.front(), End::abandoned);
    }
    channels_.erase(number);
}

ServerChannel* ServerExchanges::channel(ChannelNumber number) noexcept
{
    const auto found = channels_.find(number);
    return found == channels_.end() ? nullptr : &found->second;
}

const ServerChannel* ServerExchanges::channel(ChannelNumber number) const noexcept
{
    const auto found = channels_.find(number);
    return found == channels_.end() ? nullptr : &found->second;
}

std::optional<DropReason> ServerExchanges::check_limits(const ServerChannel& channel) const noexcept
{
    if (policy_.limits.per_channel != 0 && channel.open.size() >= policy_.limits.per_channel) {
        return DropReason::channel_limit;
    }
    if (table_.is_full()) {
        return DropReason::exchange_limit;
    }
    return std::nullopt;
}

bool ServerExchanges::is_open(const ServerChannel& channel, std::uint32_t id) const
{
    const auto is_it = [&](std::uint32_t slot) { return table_[slot].channel == &channel && table_[slot].id == id; };
    return by_id_.find(id_key(by_id_, channel.number, id), is_it).has_value();
}

bool ServerExchanges::is_open(std::uint64_t transmit) const
{
    return by_transmit_.find(transmit).has_value();
}

ExchangeHandle ServerExchanges::open(const ServerExchange& exchange)
{
    const auto slot = table_.add().value();
    table_[slot] = exchange;
    by_age_.insert(table_, slot, arrived_later);
    exchange.channel->open.push_back(table_, slot);
    by_transmit_.insert(exchange.request.transmit, slot);
    if (policy_.framing == Framing::v1) {
        by_id_.insert(id_key(by_id_, exchange.channel->number, exchange.id), slot);
    }
    if (policy_.framing == Framing::datagram) {
        accounts_.open(exchange.account);
    }
    if (exchange.request.may_be_interleaved) {
        by_receive_.insert(exchange.request.receive, slot);
    }
    ++counters_.requests.forwarded;
    ++counters_.exchanges.opened;
    ++counters_.exchanges.open;
    return {.index = slot, .generation = table_.generation(slot)};
}

void ServerExchanges::end(std::uint32_t slot, End how)
{
    auto& counts = counters_.exchanges;
    --counts.open;
    switch (how) {
    case End::answered:
        ++counts.answered;
        answered_.add(table_[slot].request.transmit);
        break;
    case End::lost:
        ++counts.lost;
        break;
    case End::abandoned:
        ++counts.abandoned;
        break;
    }
    remove(slot);
}

void ServerExchanges::take_back(std::uint32_t slot)
{
    --counters_.requests.forwarded;
    --counters_.exchanges.opened;
    --counters_.exchanges.open;
    remove(slot);
}

void ServerExchanges::remove(std::uint32_t slot)
{
    const auto& exchange = table_[slot];
    by_transmit_.erase(exchange.request.transmit, slot);
    if (policy_.framing == Framing::v1) {
        by_id_.erase(id_key(by_id_, exchange.channel->number, exchange.id), slot);
    }
    if (policy_.framing == Framing::datagram) {
        accounts_.close(exchange.account);
    }
    if (exchange.request.may_be_interleaved) {
        by_receive_.erase(exchange.request.receive, slot);
    }
    by_age_.remove(table_, slot);
    exchange.channel->open.remove(table_, slot);
    table_.remove(slot);
}

std::optional<std::uint32_t> ServerExchanges::answered_by(const Packet& reply) const
{
    const auto basic = by_transmit_.find(reply.origin);
    return basic ? basic : by_receive_.find(reply.origin, [&](std::uint32_t slot) {
        return table_[slot].request.version == reply.version;
    });
}

std::optional<std::uint32_t> ServerExchanges::find(ExchangeHandle handle) const noexcept
{
    if (!table_.holds(handle.index, handle.generation)) {
        return std::nullopt;
    }
    return handle.index;
}

} // namespace ntp_shim
