#include "ntp-shim/server_shim.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "ntp-shim/filter.hpp"
#include "ntp-shim/frame.hpp"
#include "ntp-shim/hold.hpp"
#include "ntp-shim/packet.hpp"
#include "ntp-shim/server_exchanges.hpp"

namespace ntp_shim {

namespace {

constexpr std::uint32_t kPingsPerSecond = 10; // design 5
constexpr int kStampAttempts = 8;
// A deadline itself is still in time; what is due happens one step of the clock after it.
constexpr Nanoseconds kStep{1};

// Framed, the client role decides what its clients may see. A raw peer is a legacy pipe: its clients see all we send.
constexpr ReplyRules kFramedRules{.pass_kisses = true, .pass_unsynchronised = true};
constexpr ReplyRules kRawRules{.pass_kisses = false, .pass_unsynchronised = true};

/// A request as it came from a channel, and when it is handed to the daemon.
struct Request {
    std::uint32_t id{}; // framing v1
    Bytes octets;
    Instant arrival;
    Instant now;
};

/// The daemon's answer, and when it is handed to the channel.
struct Answer {
    Bytes octets;
    Packet packet;
    Instant arrival;
    Instant now;
};

} // namespace

struct ServerShim::State {
    State(const ServerPolicy& the_policy, Counters& the_counters)
        : policy(the_policy), counters(the_counters), exchanges(the_policy, the_counters)
    {}

    using FromChannel = std::variant<ToUpstream, ToChannel, DropReason>;
    using FromUpstream = std::variant<ToChannel, DropReason>;

    FromChannel on_frame(ServerChannel& channel, Bytes message, const Request& request, std::uint64_t fresh);
    FromChannel on_ping(ServerChannel& channel, std::uint32_t id, const Request& ping);
    FromChannel on_request(ServerChannel& channel, const Request& request, std::uint64_t fresh);
    std::optional<DropReason> check(const ServerChannel& channel, const Request& request) const;
    std::variant<std::uint64_t, DropReason> upstream_stamp(const Packet& packet, std::uint64_t fresh) const;
    FromUpstream on_answer(const Answer& answer);
    FromUpstream frame_reply(const ServerExchange& exchange, const Answer& answer);
    FromUpstream raw_reply(const ServerExchange& exchange, const Answer& answer);
    void copy_reply(const ServerExchange& exchange, const Answer& answer);

    const ServerPolicy policy;
    Counters& counters;
    ServerExchanges exchanges;
    FrameBuffer message{};                      // towards a channel
    std::array<std::byte, kMaxPacket> packet{}; // towards the daemon, or a reply before it is framed
};

ServerShim::ServerShim(const ServerPolicy& policy, Counters& counters)
    : state_(std::make_unique<State>(policy, counters))
{}
ServerShim::~ServerShim() = default;

void ServerShim::open_channel(ChannelNumber channel, const ChannelSeed& seed)
{
    state_->exchanges.open_channel(channel, seed);
}

void ServerShim::close_channel(ChannelNumber channel)
{
    state_->exchanges.close_channel(channel);
}

std::variant<ToUpstream, ToChannel, Drop> ServerShim::on_message(ChannelNumber channel, Bytes message, Instant arrival,
                                                                 Instant now, std::uint64_t fresh_stamp)
{
    auto& ledger = state_->counters.requests;
    ++ledger.received;
    auto outcome = State::FromChannel{DropReason::channel_lost};
    if (auto* const from = state_->exchanges.channel(channel)) {
        const Request request{.id = 0, .octets = message, .arrival = earlier(arrival, now), .now = now};
        outcome = state_->policy.framing == Framing::v1 ? state_->on_frame(*from, message, request, fresh_stamp)
                                                        : state_->on_request(*from, request, fresh_stamp);
    }
    if (const auto* forward = std::get_if<ToUpstream>(&outcome)) {
        return *forward; // counted when the exchange was opened
    }
    if (const auto* pong = std::get_if<ToChannel>(&outcome)) {
        ++ledger.control;
        return *pong;
    }
    const auto reason = std::get<DropReason>(outcome);
    ledger.drop(reason);
    return Drop{reason};
}

ServerShim::State::FromChannel ServerShim::State::on_frame(ServerChannel& channel, Bytes octets,
                                                           const Request& received, std::uint64_t fresh)
{
    const auto decoded = decode_frame(octets);
    if (const auto* reason = std::get_if<DropReason>(&decoded)) {
        return *reason;
    }
    const auto& frame = std::get<Frame>(decoded);
    if (frame.type == FrameType::ping) {
        return on_ping(channel, frame.id, received);
    }
    if (frame.type != FrameType::request) {
        return DropReason::unexpected_frame;
    }
    if (exchanges.is_open(channel, frame.id)) {
        return DropReason::duplicate_exchange;
    }
    return on_request(
        channel, {.id = frame.id, .octets = frame.packet, .arrival = received.arrival, .now = received.now}, fresh);
}

ServerShim::State::FromChannel ServerShim::State::on_ping(ServerChannel& channel, std::uint32_t id, const Request& ping)
{
    if (!channel.pings.take(kPingsPerSecond, ping.now.boot)) {
        return DropReason::frame_limit;
    }
    const Frame pong{.type = FrameType::pong,
                     .id = id,
                     .sent = stamp_of(ping.now.raw) + channel.stamp_offset,
                     .arrived = stamp_of(ping.arrival.raw) + channel.stamp_offset,
                     .packet = {}};
    return ToChannel{.channel = channel.number, .message = encode_frame(pong, message)};
}

ServerShim::State::FromChannel ServerShim::State::on_request(ServerChannel& channel, const Request& request,
                                                             std::uint64_t fresh)
{
    if (const auto reason = check_length(request.octets)) {
        return *reason;
    }
    auto parsed = Packet::parse(request.octets);
    if (!parsed) {
        return DropReason::too_short;
    }
    if (const auto reason = check_request(*parsed)) {
        return *reason;
    }
    if (const auto reason = check(channel, request)) {
        return *reason;
    }
    const auto stamp = upstream_stamp(*parsed, fresh);
    if (const auto* reason = std::get_if<DropReason>(&stamp)) {
        return *reason;
    }
    const auto client_transmit = std::exchange(parsed->transmit, std::get<std::uint64_t>(stamp));
    std::ranges::copy(request.octets, packet.begin());
    write_stamp(packet, StampField::transmit, parsed->transmit);
    const auto handle = exchanges.open({.request = SentRequest::of(*parsed),
                                        .client_transmit = client_transmit,
                                        .arrival = request.arrival,
                                        .handed_over = request.now,
                                        .id = request.id,
                                        .channel = &channel,
                                        .by_age = {},
                                        .on_channel = {}});
    return ToUpstream{.exchange = handle, .packet = Bytes{packet}.first(request.octets.size())};
}

std::optional<DropReason> ServerShim::State::check(const ServerChannel& channel, const Request& request) const
{
    if (const auto reason = exchanges.check_limits(channel)) {
        return reason;
    }
    if (request.now.boot - request.arrival.boot > policy.max_age) {
        return DropReason::too_old;
    }
    return std::nullopt;
}

/// The transmit stamp the daemon shall see. A plain request's is replaced, so that neither a zero nor a repeated one
/// matters; any other request must go unchanged, and its own stamp must tell its reply from every other.
std::variant<std::uint64_t, DropReason> ServerShim::State::upstream_stamp(const Packet& parsed,
                                                                          std::uint64_t fresh) const
{
    if (!parsed.is_header_only() || parsed.origin != 0) {
        if (parsed.transmit == 0) {
            return DropReason::zero_stamp;
        }
        if (exchanges.is_open(parsed.transmit)) {
            return DropReason::duplicate_exchange;
        }
        return parsed.transmit;
    }
    for (int attempt = 0; attempt < kStampAttempts; ++attempt) {
        if (fresh != 0 && !exchanges.is_open(fresh)) {
            return fresh;
        }
        fresh = fresh * 0x5851f42d4c957f2d + 0x14057b7ef767814f; // Knuth's MMIX generator: full period, leaves zero
    }
    return DropReason::exchange_limit;
}

void ServerShim::refuse(ExchangeHandle exchange, DropReason reason)
{
    if (const auto slot = state_->exchanges.find(exchange)) {
        state_->exchanges.take_back(*slot);
        state_->counters.requests.drop(reason);
    }
}

std::variant<ToChannel, Drop> ServerShim::on_upstream_datagram(Bytes datagram, Instant arrival, Instant now)
{
    auto& ledger = state_->counters.replies;
    ++ledger.received;
    const auto outcome = [&]() -> State::FromUpstream {
        if (const auto reason = check_length(datagram)) {
            return *reason;
        }
        const auto packet = Packet::parse(datagram);
        if (!packet) {
            return DropReason::too_short;
        }
        return state_->on_answer({.octets = datagram, .packet = *packet, .arrival = earlier(arrival, now), .now = now});
    }();
    if (const auto* reason = std::get_if<DropReason>(&outcome)) {
        ledger.drop(*reason);
        return Drop{*reason};
    }
    ++ledger.forwarded;
    return std::get<ToChannel>(outcome);
}

ServerShim::State::FromUpstream ServerShim::State::on_answer(const Answer& answer)
{
    if (answer.packet.mode != kModeServer) {
        return DropReason::bad_mode;
    }
    const auto slot = exchanges.answered_by(answer.packet);
    if (!slot) {
        return exchanges.was_answered(answer.packet.origin) ? DropReason::second_reply : DropReason::no_exchange;
    }
    const auto& exchange = exchanges[*slot];
    if (answer.now.boot - exchange.arrival.boot > policy.max_round_trip) {
        exchanges.end(*slot, ServerExchanges::End::lost);
        return DropReason::too_late;
    }
    const auto rules = policy.framing == Framing::v1 ? kFramedRules : kRawRules;
    const auto fault = check_reply(exchange.request, answer.packet, rules);
    if (fault && !ends_exchange(*fault)) {
        return *fault; // the right reply may still come
    }
    auto outcome = FromUpstream{fault.value_or(DropReason::too_old)};
    if (!fault && answer.now.boot - answer.arrival.boot <= policy.max_age) {
        outcome = policy.framing == Framing::v1 ? frame_reply(exchange, answer) : raw_reply(exchange, answer);
    }
    exchanges.end(*slot, ServerExchanges::End::answered);
    return outcome;
}

ServerShim::State::FromUpstream ServerShim::State::frame_reply(const ServerExchange& exchange, const Answer& answer)
{
    const auto forward = hold_field(exchange.handed_over.raw - exchange.arrival.raw);
    const auto backward = hold_field(answer.now.raw - answer.arrival.raw);
    if (!forward || !backward) {
        return DropReason::hold_overflow;
    }
    copy_reply(exchange, answer);
    const Frame frame{.type = FrameType::reply,
                      .id = exchange.id,
                      .sent = stamp_of(answer.now.raw) + exchange.channel->stamp_offset,
                      .arrived = stamp_of(exchange.arrival.raw) + exchange.channel->stamp_offset,
                      .forward_hold = *forward,
                      .backward_hold = *backward,
                      .packet = Bytes{packet}.first(answer.octets.size())};
    return ToChannel{.channel = exchange.channel->number, .message = encode_frame(frame, message)};
}

ServerShim::State::FromUpstream ServerShim::State::raw_reply(const ServerExchange& exchange, const Answer& answer)
{
    const Holds holds{.forward = to_ticks(exchange.handed_over.raw - exchange.arrival.raw),
                      .backward = to_ticks(answer.now.raw - answer.arrival.raw)};
    copy_reply(exchange, answer);
    if (!exchange.request.is_correctable(answer.packet)) {
        if (holds.total() > to_ticks(policy.max_uncorrected)) {
            return DropReason::held_too_long;
        }
    } else if (policy.correct_hold) {
        const auto shifted = correct({.receive = answer.packet.receive, .transmit = answer.packet.transmit}, holds);
        if (!shifted) {
            return DropReason::implausible_hold;
        }
        write_stamp(packet, StampField::receive, shifted->receive);
        write_stamp(packet, StampField::transmit, shifted->transmit);
    }
    std::ranges::copy(Bytes{packet}.first(answer.octets.size()), message.begin());
    return ToChannel{.channel = exchange.channel->number, .message = Bytes{message}.first(answer.octets.size())};
}

/// The client's own stamp returns to the origin field; an interleaved reply's origin is the client's already.
void ServerShim::State::copy_reply(const ServerExchange& exchange, const Answer& answer)
{
    std::ranges::copy(answer.octets, packet.begin());
    if (exchange.request.is_basic_reply(answer.packet)) {
        write_stamp(packet, StampField::origin, exchange.client_transmit);
    }
}

void ServerShim::refuse_reply(DropReason reason)
{
    --state_->counters.replies.forwarded;
    state_->counters.replies.drop(reason);
}

Bytes ServerShim::make_goodbye(ChannelNumber channel, Instant now)
{
    const auto* const found = state_->exchanges.channel(channel);
    if (found == nullptr || state_->policy.framing == Framing::raw) {
        return {};
    }
    const Frame goodbye{.type = FrameType::goodbye, .sent = stamp_of(now.raw) + found->stamp_offset, .packet = {}};
    return encode_frame(goodbye, state_->message);
}

std::size_t ServerShim::open(ChannelNumber channel) const
{
    const auto* const found = std::as_const(state_->exchanges).channel(channel);
    return found == nullptr ? 0 : found->open.size();
}

std::size_t ServerShim::open() const noexcept
{
    return state_->exchanges.size();
}

void ServerShim::expire(Instant now)
{
    auto& exchanges = state_->exchanges;
    for (auto slot = exchanges.oldest(); slot != kNoSlot; slot = exchanges.oldest()) {
        if (now.boot - exchanges[slot].arrival.boot <= state_->policy.max_round_trip) {
            return;
        }
        exchanges.end(slot, ServerExchanges::End::lost);
    }
}

std::optional<Nanoseconds> ServerShim::next_deadline() const
{
    const auto slot = state_->exchanges.oldest();
    if (slot == kNoSlot) {
        return std::nullopt;
    }
    return state_->exchanges[slot].arrival.boot + state_->policy.max_round_trip + kStep;
}

} // namespace ntp_shim
