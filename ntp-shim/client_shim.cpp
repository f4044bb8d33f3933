#include "ntp-shim/client_shim.hpp"

#include <algorithm>
#include <utility>

#include "ntp-shim/client_exchanges.hpp"
#include "ntp-shim/filter.hpp"
#include "ntp-shim/frame.hpp"
#include "ntp-shim/hold.hpp"
#include "ntp-shim/packet.hpp"

namespace ntp_shim {

namespace {

// A deadline itself is still in time; what is due happens one step of the clock after it.
constexpr Nanoseconds kStep{1};

/// A reply as it came from a channel, with the holds its frame tells (raw framing tells none).
struct Incoming {
    Bytes packet;
    Holds peer;
    Instant arrival;
    Instant now;
};

} // namespace

struct ClientShim::State {
    State(const ClientPolicy& the_policy, Counters& the_counters)
        : policy(the_policy), counters(the_counters), exchanges(the_policy, the_counters)
    {}

    using Slot = std::uint32_t;
    using Judgement = std::variant<Deliver, Control, DropReason>;

    std::variant<Slot, DropReason> take(const ClientExchanges::Arrived& request, bool channel_open);
    std::optional<DropReason> check_hand_over(Slot slot, const ClientChannel* channel, Instant now) const;
    Judgement on_frame(ClientChannel& channel, Bytes message, Instant arrival, Instant now);
    Judgement on_raw_packet(ClientChannel& channel, Bytes message, Instant arrival, Instant now);
    Judgement answer(Slot slot, const Incoming& incoming);
    std::optional<DropReason> weigh(const ClientExchange& exchange, const Packet& reply, const Incoming& incoming);
    void expire_waiting(Nanoseconds boot);
    static std::optional<Nanoseconds> oldest_hand_over(const ClientExchanges& exchanges, const ClientChannel& channel);

    const ClientPolicy policy;
    Counters& counters;
    ClientExchanges exchanges;
    FrameBuffer message{};                     // what hand_over and make_ping give
    std::array<std::byte, kMaxPacket> reply{}; // what on_message gives
};

ClientShim::ClientShim(const ClientPolicy& policy, Counters& counters)
    : state_(std::make_unique<State>(policy, counters))
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
    if (!channel_open && !request.packet.is_header_only()) {
        return DropReason::not_correctable;
    }
    return exchanges.add(request, *account);
}

std::variant<Bytes, Drop> ClientShim::hand_over(ExchangeHandle exchange, ChannelNumber channel, Instant now)
{
    const auto slot = state_->exchanges.find(exchange);
    if (!slot || state_->exchanges[*slot].channel != nullptr) {
        return Drop{DropReason::no_exchange}; // stale: it was counted when it ended
    }
    auto* const to = state_->exchanges.channel(channel);
    if (const auto reason = state_->check_hand_over(*slot, to, now); reason || to == nullptr) {
        state_->exchanges.refuse(*slot, reason.value_or(DropReason::channel_lost));
        return Drop{reason.value_or(DropReason::channel_lost)};
    }
    state_->exchanges.hand_over(*slot, *to, now);
    const auto packet = state_->exchanges.datagram(*slot);
    if (state_->policy.framing == Framing::raw) {
        std::ranges::copy(packet, state_->message.begin());
        return Bytes{state_->message}.first(packet.size());
    }
    const Frame frame{.type = FrameType::request,
                      .id = state_->exchanges[*slot].id,
                      .sent = stamp_of(now.raw) + to->stamp_offset,
                      .packet = packet};
    return encode_frame(frame, state_->message);
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
                                                          : state_->on_raw_packet(*from, message, at, now);
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
    return Drop{reason};
}

ClientShim::State::Judgement ClientShim::State::on_frame(ClientChannel& channel, Bytes octets, Instant arrival,
                                                         Instant now)
{
    const auto decoded = decode_frame(octets);
    if (const auto* reason = std::get_if<DropReason>(&decoded)) {
        return *reason;
    }
    const auto& frame = std::get<Frame>(decoded);
    if (frame.type == FrameType::request || frame.type == FrameType::ping) {
        return DropReason::unexpected_frame;
    }
    channel.liveness.heard(arrival.boot);
    if (frame.type == FrameType::goodbye) {
        return Control::goodbye;
    }
    if (frame.type == FrameType::pong) {
        return channel.liveness.pong_received(frame.id, arrival) ? Judgement{Control::pong}
                                                                 : Judgement{DropReason::no_exchange};
    }
    const auto slot = exchanges.by_id(channel, frame.id);
    if (!slot) {
        return channel.answered.contains(frame.id) ? DropReason::second_reply : DropReason::no_exchange;
    }
    const Holds peer{.forward = Ticks{frame.forward_hold}, .backward = Ticks{frame.backward_hold}};
    return answer(*slot, {.packet = frame.packet, .peer = peer, .arrival = arrival, .now = now});
}

ClientShim::State::Judgement ClientShim::State::on_raw_packet(ClientChannel& channel, Bytes octets, Instant arrival,
                                                              Instant now)
{
    if (const auto reason = check_length(octets)) {
        return *reason;
    }
    const auto packet = Packet::parse(octets);
    if (!packet || packet->mode != kModeServer) {
        return DropReason::bad_mode;
    }
    const auto slot = channel.open.front(); // the only one (raw_busy)
    const bool is_repeated = channel.answered.contains(packet->origin);
    if (slot == kNoSlot || (is_repeated && !exchanges[slot].request.is_basic_reply(*packet))) {
        return is_repeated ? DropReason::second_reply : DropReason::no_exchange;
    }
    return answer(slot, {.packet = octets, .peer = {}, .arrival = arrival, .now = now});
}

ClientShim::State::Judgement ClientShim::State::answer(Slot slot, const Incoming& incoming)
{
    const auto& exchange = exchanges[slot];
    auto& channel = *exchange.channel;
    if (incoming.now.boot - exchange.arrival.boot > policy.max_round_trip) {
        exchanges.end(slot, ExchangeEnd::lost);
        return DropReason::too_late;
    }
    const auto packet = Packet::parse(incoming.packet);
    if (!packet) {
        return DropReason::too_short;
    }
    const ReplyRules rules{.pass_kisses = policy.forward_kod, .pass_unsynchronised = policy.forward_unsynchronised};
    auto reason = check_reply(exchange.request, *packet, rules);
    if (!reason) {
        reason = weigh(exchange, *packet, incoming);
    }
    if (reason && !ends_exchange(*reason)) {
        return *reason; // the right reply may still come
    }
    const Deliver delivery{.client = exchange.client, .packet = Bytes{reply}.first(incoming.packet.size())};
    channel.liveness.answered(incoming.arrival.raw - exchange.handed_over.raw);
    exchanges.end(slot, ExchangeEnd::answered);
    if (reason) {
        return *reason;
    }
    channel.unanswered = 0;
    return delivery;
}

/// Writes the reply as the client shall see it into `reply`, or says why it must not see it.
std::optional<DropReason> ClientShim::State::weigh(const ClientExchange& exchange, const Packet& packet,
                                                   const Incoming& incoming)
{
    if (incoming.now.boot - incoming.arrival.boot > policy.max_age) {
        return DropReason::too_old;
    }
    std::ranges::copy(incoming.packet, reply.begin());
    if (packet.is_kiss()) {
        return std::nullopt; // it carries no time: there is nothing to correct, and nothing to distrust
    }
    const Holds holds{.forward = exchange.forward_hold + incoming.peer.forward,
                      .backward = incoming.peer.backward + to_ticks(incoming.now.raw - incoming.arrival.raw)};
    const ServerStamps stamps{.receive = packet.receive, .transmit = packet.transmit};
    const bool basic = exchange.request.is_basic_reply(packet);
    // An interleaved reply's T3 belongs to the exchange before (RFC 9769 section 2): only its holds can be judged.
    if (!is_plausible(holds, basic ? stamps.processing() : Ticks::zero(), incoming.now.raw - exchange.arrival.raw)) {
        return DropReason::implausible_hold;
    }
    if (!exchange.request.is_correctable(packet)) {
        const bool too_long = holds.total() > to_ticks(policy.max_uncorrected);
        return too_long ? std::optional{DropReason::held_too_long} : std::nullopt;
    }
    if (!policy.correct_hold) {
        return std::nullopt;
    }
    const auto shifted = correct(stamps, holds);
    if (!shifted) {
        return DropReason::implausible_hold;
    }
    write_stamp(reply, StampField::receive, shifted->receive);
    write_stamp(reply, StampField::transmit, shifted->transmit);
    return std::nullopt;
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
