#include "ntp-shim/client_exchanges.hpp"

#include <algorithm>
#include <utility>

#include "ntp-shim/exchange_bounds.hpp"

namespace ntp_shim {

namespace {

bool arrived_later(const ClientExchange& one, const ClientExchange& other) noexcept
{
    return one.arrival.boot > other.arrival.boot;
}

} // namespace

ClientExchanges::ClientExchanges(const ClientPolicy& policy, Counters& counters)
    : policy_(policy), counters_(counters),
      accounts_({.exchanges = policy.limits.per_client, .per_second = policy.limits.requests_per_second_per_client},
                policy.hash_seed),
      table_(exchange_bound(policy.limits)), by_client_(policy.hash_seed), by_id_(policy.hash_seed)
{}

std::variant<std::uint32_t, DropReason> ClientExchanges::add(const Arrived& request, ClientAccounts::Number account)
{
    const auto key = client_key(request.from, request.packet.transmit);
    replace(key, request.from, request.packet.transmit);
    if (const auto reason = check_limits(account)) {
        return *reason;
    }
    const auto slot = table_.add();
    if (!slot) {
        return DropReason::exchange_limit;
    }
    auto& exchange = table_[*slot];
    exchange.client = request.from;
    exchange.request = SentRequest::of(request.packet);
    exchange.sent = exchange.request;
    exchange.fields = ClientFields::of(request.packet);
    exchange.arrival = request.at;
    exchange.account = account;
    exchange.client_key = key;
    std::ranges::copy(request.datagram.first(kHeaderSize), exchange.header.begin());
    if (!exchange.request.is_header_only) {
        keep_datagram(*slot, request.datagram);
    }
    accounts_.open(account);
    by_client_.insert(key, *slot);
    waiting_.insert(table_, *slot, arrived_later);
    ++counters_.requests.waiting;
    return *slot;
}

std::optional<DropReason> ClientExchanges::check_limits(ClientAccounts::Number account) const noexcept
{
    if (!accounts_.may_open(account)) {
        return DropReason::client_limit;
    }
    if (table_.is_full()) {
        return DropReason::exchange_limit;
    }
    return std::nullopt;
}

std::uint64_t ClientExchanges::client_key(const ClientEndpoint& client, std::uint64_t transmit) const noexcept
{
    ByteReader address(client.address);
    ByteReader local(client.local);
    const std::array<std::uint64_t, 6> words{
        address.u64(), address.u64(),
        local.u64(),   local.u64(),
        transmit,      std::uint64_t{client.scope} << 32 | std::uint64_t{client.port} << 16 | client.listener};
    return by_client_.fold(words);
}

void ClientExchanges::replace(std::uint64_t key, const ClientEndpoint& client, std::uint64_t transmit)
{
    const auto repeated = by_client_.find(key, [&](std::uint32_t slot) {
        return table_[slot].request.transmit == transmit && table_[slot].client == client;
    });
    if (!repeated) {
        return;
    }
    if (table_[*repeated].channel == nullptr) {
        refuse(*repeated, DropReason::replaced);
    } else {
        end(*repeated, ExchangeEnd::replaced);
    }
}

void ClientExchanges::keep_datagram(std::uint32_t slot, Bytes datagram)
{
    if (const auto before = find(long_owner_); before && table_[*before].channel == nullptr) {
        const auto octets = Bytes{long_datagram_}.first(table_[*before].request.length);
        table_[*before].spilled.assign(octets.begin(), octets.end());
    }
    std::ranges::copy(datagram, long_datagram_.begin());
    long_owner_ = handle(slot);
}

Bytes ClientExchanges::datagram(std::uint32_t slot) const noexcept
{
    const auto& exchange = table_[slot];
    if (exchange.request.is_header_only) {
        return exchange.header;
    }
    return handle(slot) == long_owner_ ? Bytes{long_datagram_}.first(exchange.request.length) : exchange.spilled;
}

void ClientExchanges::leave(std::uint32_t slot, Instant now)
{
    auto& exchange = table_[slot];
    exchange.handed_over = now;
    exchange.forward_hold = to_ticks(now.raw - exchange.arrival.raw);
}

void ClientExchanges::seal(std::uint32_t slot, const SentRequest& sent, SealMemoryPointer memory)
{
    table_[slot].sent = sent;
    table_[slot].seal = std::move(memory);
}

void ClientExchanges::hand_over(std::uint32_t slot, ClientChannel& channel, Instant now)
{
    auto& exchange = table_[slot];
    exchange.handed_over = now;
    exchange.forward_hold = to_ticks(now.raw - exchange.arrival.raw);
    exchange.channel = &channel;
    waiting_.remove(table_, slot);
    open_.insert(table_, slot, arrived_later);
    channel.open.push_back(table_, slot);
    if (policy_.framing != Framing::raw) {
        exchange.id = policy_.framing == Framing::v1 ? channel.next_id++ : exchange.sent.transmit;
        by_id_.insert(id_key(by_id_, channel.number, exchange.id), slot);
    }
    --counters_.requests.waiting;
    ++counters_.requests.forwarded;
    ++counters_.exchanges.opened;
    ++counters_.exchanges.open;
}

void ClientExchanges::refuse(std::uint32_t slot, DropReason reason)
{
    if (table_[slot].channel == nullptr) {
        --counters_.requests.waiting;
    } else {
        --counters_.requests.forwarded;
        --counters_.exchanges.opened;
        --counters_.exchanges.open;
    }
    counters_.requests.drop(reason);
    remove(slot);
}

void ClientExchanges::end(std::uint32_t slot, ExchangeEnd how)
{
    const auto& exchange = table_[slot];
    auto& channel = *exchange.channel;
    auto& counts = counters_.exchanges;
    --counts.open;
    switch (how) {
    case ExchangeEnd::answered:
        ++counts.answered;
        channel.answered.add(policy_.framing == Framing::v1 ? exchange.id : exchange.sent.transmit);
        break;
    case ExchangeEnd::lost:
        ++counts.lost;
        ++channel.unanswered;
        channel.liveness.lost();
        break;
    case ExchangeEnd::replaced:
        ++counts.replaced;
        break;
    case ExchangeEnd::abandoned:
        ++counts.abandoned;
        break;
    }
    remove(slot);
}

void ClientExchanges::remove(std::uint32_t slot)
{
    const auto& exchange = table_[slot];
    by_client_.erase(exchange.client_key, slot);
    accounts_.close(exchange.account);
    if (exchange.channel == nullptr) {
        waiting_.remove(table_, slot);
    } else {
        open_.remove(table_, slot);
        exchange.channel->open.remove(table_, slot);
        if (policy_.framing != Framing::raw) {
            by_id_.erase(id_key(by_id_, exchange.channel->number, exchange.id), slot);
        }
    }
    table_.remove(slot);
}

void ClientExchanges::open_channel(ChannelNumber number, const ChannelSeed& seed, Instant now)
{
    close_channel(number);
    channels_.emplace(number, ClientChannel{.number = number,
                                            .next_id = seed.first_id,
                                            .stamp_offset = seed.stamp_offset,
                                            .liveness = Liveness(now.boot, policy_.max_round_trip),
                                            .open = {},
                                            .answered = {}});
}

void ClientExchanges::close_channel(ChannelNumber number)
{
    auto* closing = channel(number);
    if (closing == nullptr) {
        return;
    }
    while (!closing->open.empty()) {
        end(closing->open.front(), ExchangeEnd::abandoned);
    }
    channels_.erase(number);
}

ClientChannel* ClientExchanges::channel(ChannelNumber number) noexcept
{
    const auto found = channels_.find(number);
    return found == channels_.end() ? nullptr : &found->second;
}

const ClientChannel* ClientExchanges::channel(ChannelNumber number) const noexcept
{
    const auto found = channels_.find(number);
    return found == channels_.end() ? nullptr : &found->second;
}

std::optional<std::uint32_t> ClientExchanges::by_id(const ClientChannel& channel, std::uint64_t id) const
{
    return by_id_.find(id_key(by_id_, channel.number, id),
                       [&](std::uint32_t slot) { return table_[slot].channel == &channel && table_[slot].id == id; });
}

std::optional<std::uint32_t> ClientExchanges::find(ExchangeHandle handle) const noexcept
{
    if (!table_.holds(handle.index, handle.generation)) {
        return std::nullopt;
    }
    return handle.index;
}

ExchangeHandle ClientExchanges::handle(std::uint32_t slot) const noexcept
{
    return {.index = slot, .generation = table_.generation(slot)};
}

} // namespace ntp_shim
