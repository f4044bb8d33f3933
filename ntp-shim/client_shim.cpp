#include "ntp-shim/client_shim.hpp"

#include <algorithm>
#include <utility>

#include "ntp-shim/client_state.hpp"
#include "ntp-shim/filter.hpp"

namespace ntp_shim {

namespace {

// A deadline itself is still in time; what is due happens one step of the clock after it.
constexpr Nanoseconds kStep{1};

} // namespace

ClientShim::ClientShim(const ClientPolicy& policy, Counters& counters, ClientSeal* seal)
    : state_(std::make_unique<State>(policy, counters, seal))
{}
ClientShim::~ClientShim() = default;

std::variant<ExchangeHandle, Drop> ClientShim::on_client_datagram(const ClientEndpoint& from, Bytes datagram,
                                                                  Instant arrival, Instant now, bool channel_open)
{
    ++state_->counters.requests.received;
    const auto taken = [&]() -> std::variant<State::Slot, DropReason> {
        if (const auto reason = check_length(datagram)) {
            return *reason;
        }
        const auto packet = Packet::parse(datagram);
        if (!packet) {
            return DropReason::too_short;
        }
        return state_->take({.from = from, .datagram = datagram, .packet = *packet, .at = earlier(arrival, now)},
                            channel_open);
    }();
    if (const auto* reason = std::get_if<DropReason>(&taken)) {
        state_->counters.requests.drop(*reason);
        return Drop{*reason};
    }
    return state_->exchanges.handle(std::get<State::Slot>(taken));
}

std::variant<ClientShim::State::Slot, DropReason> ClientShim::State::take(const ClientExchanges::Arrived& request,
                                                                          bool channel_open)
{
    if (const auto reason = check_source(request.from.address, request.from.port)) {
        return *reason;
    }
    if (const auto reason = check_request(request.packet)) {
        return *reason;
    }
    const auto account = exchanges.accounts().admit(request.from.address, request.at.boot);
    if (!account) {
        return DropReason::rate_limited;
    }
    if (seal != nullptr && !request.packet.is_header_only()) {
        return DropReason::sealed_already; // re-issued, it would lose what its client waits for
    }
    if (!channel_open && !request.packet.is_header_only()) {
        return DropReason::not_correctable;
    }
    return exchanges.add(request, *account);
}

std::variant<Bytes, Drop> ClientShim::hand_over(ExchangeHandle exchange, ChannelNumber channel, Instant now,
                                                std::uint64_t fresh_stamp)
{
    const auto slot = state_->exchanges.find(exchange);
    if (!slot || state_->exchanges[*slot].channel != nullptr) {
        return Drop{DropReason::no_exchange}; // stale: it was counted when it ended
    }
    auto* const to = state_->exchanges.channel(channel);
    auto reason = state_->check_hand_over(*slot, to, now);
    if (!reason && state_->seal != nullptr) {
        reason = state_->seal_request(*slot, fresh_stamp);
    }
    if (reason || to == nullptr) {
        state_->exchanges.refuse(*slot, reason.value_or(DropReason::channel_lost));
        return Drop{reason.value_or(DropReason::channel_lost)};
    }
    state_->exchanges.hand_over(*slot, *to, now);
    const auto packet = state_->seal == nullptr ? state_->exchanges.datagram(*slot)
                                                : Bytes{state_->sealed}.first(state_->exchanges[*slot].sent.length);
    if (state_->policy.framing != Framing::v1) {
        std::ranges::copy(packet, state_->message.begin());
        return Bytes{state_->message}.first(packet.size());
    }
    const Frame frame{.type = FrameType::request,
                      .id = static_cast<std::uint32_t>(state_->exchanges[*slot].id),
                      .sent = stamp_of(now.raw) + to->stamp_offset,
                      .packet = packet};
    return encode_frame(frame, state_->message);
}

/// Writes what goes out in the request's place into `sealed`. Its reply is known by a stamp that nobody can guess.
std::optional<DropReason> ClientShim::State::seal_request(Slot slot, std::uint64_t fresh_stamp)
{
    const auto header = std::span{sealed}.first<kHeaderSize>();
    write_reissued(header, seal->version(), fresh_stamp == 0 ? 1 : fresh_stamp);
    auto outcome = seal->seal(sealed);
    if (const auto* reason = std::get_if<DropReason>(&outcome)) {
        return *reason;
    }
    auto& made = std::get<ClientSeal::Sealed>(outcome);
    auto sent = SentRequest::of(Packet::parse(header).value_or(Packet{}));
    sent.length = static_cast<std::uint16_t>(made.length);
    exchanges.seal(slot, sent, std::move(made.memory));
    return std::nullopt;
}

std::optional<DropReason> ClientShim::State::check_hand_over(Slot slot, const ClientChannel* channel, Instant now) const
{
    const auto& exchange = exchanges[slot];
    if (channel == nullptr) {
        return DropReason::channel_lost;
    }
    if (now.boot - exchange.arrival.boot > policy.max_age) {
        return DropReason::too_old;
    }
    if (!exchange.request.is_header_only && now.raw - exchange.arrival.raw > policy.max_uncorrected) {
        return DropReason::held_too_long; // its reply could not be delivered any more
    }
    if (policy.framing == Framing::raw && !channel->open.empty()) {
        return DropReason::raw_busy;
    }
    if (policy.limits.per_channel != 0 && channel->open.size() >= policy.limits.per_channel) {
        return DropReason::channel_limit;
    }
    return std::nullopt;
}

void ClientShim::leave(ExchangeHandle exchange, Instant now)
{
    if (const auto slot = state_->exchanges.find(exchange); slot && state_->exchanges[*slot].channel != nullptr) {
        state_->exchanges.leave(*slot, now);
    }
}

void ClientShim::refuse(ExchangeHandle exchange, DropReason reason)
{
    if (const auto slot = state_->exchanges.find(exchange)) {
        state_->exchanges.refuse(*slot, reason);
    }
}

std::optional<ExchangeHandle> ClientShim::next_waiting(Instant now)
{
    state_->expire_waiting(now.boot);
    const auto slot = state_->exchanges.oldest_waiting();
    if (slot == kNoSlot) {
        return std::nullopt;
    }
    return state_->exchanges.handle(slot);
}

void ClientShim::open_channel(ChannelNumber channel, const ChannelSeed& seed, Instant now)
{
    state_->exchanges.open_channel(channel, seed, now);
}

void ClientShim::close_channel(ChannelNumber channel)
{
    state_->exchanges.close_channel(channel);
}

std::size_t ClientShim::outstanding(ChannelNumber channel) const
{
    const auto* const found = std::as_const(state_->exchanges).channel(channel);
    return found == nullptr ? 0 : found->open.size();
}

std::variant<Deliver, Control, Drop> ClientShim::on_message(ChannelNumber channel, Bytes message, Instant arrival,
                                                            Instant now)
{
    auto& ledger = state_->counters.replies;
    ++ledger.received;
    auto* const from = state_->exchanges.channel(channel);
    auto judgement = State::Judgement{DropReason::no_exchange};
    if (from != nullptr) {
        const auto at = earlier(arrival, now);
        judgement = state_->policy.framing == Framing::v1 ? state_->on_frame(*from, message, at, now)
                                                          : state_->on_packet(*from, message, at, now);
    }
    if (const auto* delivery = std::get_if<Deliver>(&judgement)) {
        ++ledger.forwarded;
        return *delivery;
    }
    if (const auto* control = std::get_if<Control>(&judgement)) {
        ++ledger.control;
        return *control;
    }
    const auto reason = std::get<DropReason>(judgement);
    ledger.drop(reason);
    return Drop{reason, std::exchange(state_->kiss, 0)};
}

Health ClientShim::health(ChannelNumber channel, Nanoseconds keepalive, Instant now)
{
    auto* const found = state_->exchanges.channel(channel);
    if (found == nullptr || state_->policy.framing == Framing::raw) {
        return Health::good;
    }
    return found->liveness.check(State::oldest_hand_over(state_->exchanges, *found), keepalive, now.boot);
}

Bytes ClientShim::make_ping(ChannelNumber channel, Instant now)
{
    auto* const found = state_->exchanges.channel(channel);
    if (found == nullptr || state_->policy.framing == Framing::raw || !found->liveness.may_ping(now.boot)) {
        return {};
    }
    const auto id = found->next_id++;
    found->liveness.ping_sent(id, now, State::oldest_hand_over(state_->exchanges, *found));
    const Frame ping{.type = FrameType::ping, .id = id, .sent = stamp_of(now.raw) + found->stamp_offset, .packet = {}};
    return encode_frame(ping, state_->message);
}

unsigned ClientShim::unanswered(ChannelNumber channel) const
{
    const auto* const found = std::as_const(state_->exchanges).channel(channel);
    return found == nullptr ? 0 : found->unanswered;
}

std::optional<Nanoseconds> ClientShim::State::oldest_hand_over(const ClientExchanges& exchanges,
                                                               const ClientChannel& channel)
{
    if (channel.open.empty()) {
        return std::nullopt;
    }
    return exchanges[channel.open.front()].handed_over.boot;
}

void ClientShim::State::expire_waiting(Nanoseconds boot)
{
    for (auto slot = exchanges.oldest_waiting(); slot != kNoSlot; slot = exchanges.oldest_waiting()) {
        if (boot - exchanges[slot].arrival.boot <= policy.max_age) {
            return;
        }
        exchanges.refuse(slot, DropReason::no_channel);
    }
}

void ClientShim::expire(Instant now)
{
    state_->expire_waiting(now.boot);
    auto& exchanges = state_->exchanges;
    for (auto slot = exchanges.oldest_open(); slot != kNoSlot; slot = exchanges.oldest_open()) {
        if (now.boot - exchanges[slot].arrival.boot <= state_->policy.max_round_trip) {
            return;
        }
        exchanges.end(slot, ExchangeEnd::lost);
    }
}

std::optional<Nanoseconds> ClientShim::next_deadline(Nanoseconds keepalive) const
{
    const auto& exchanges = std::as_const(state_->exchanges);
    auto next = Nanoseconds::max();
    if (const auto slot = exchanges.oldest_waiting(); slot != kNoSlot) {
        next = std::min(next, exchanges[slot].arrival.boot + state_->policy.max_age + kStep);
    }
    if (const auto slot = exchanges.oldest_open(); slot != kNoSlot) {
        next = std::min(next, exchanges[slot].arrival.boot + state_->policy.max_round_trip + kStep);
    }
    if (state_->policy.framing == Framing::v1) {
        for (const auto& [number, channel] : exchanges.channels()) {
            next = std::min(next, channel.liveness.next(State::oldest_hand_over(exchanges, channel), keepalive));
        }
    }
    return next == Nanoseconds::max() ? std::nullopt : std::optional{next};
}

std::size_t ClientShim::waiting() const noexcept
{
    return state_->exchanges.waiting();
}

std::size_t ClientShim::open() const noexcept
{
    return state_->exchanges.size();
}

} // namespace ntp_shim
