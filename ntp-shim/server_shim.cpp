#include "ntp-shim/server_shim.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "ntp-shim/filter.hpp"
#include "ntp-shim/hold.hpp"
#include "ntp-shim/server_state.hpp"

namespace ntp_shim {

namespace {

constexpr std::uint32_t kPingsPerSecond = 10; // design 5
constexpr int kStampAttempts = 8;
constexpr std::uint32_t kRefusalsPerSecond = 100; // told to senders that may not be who they seem
// A deadline itself is still in time; what is due happens one step of the clock after it.
constexpr Nanoseconds kStep{1};

constexpr ChannelNumber kDatagrams = 0; // what all exchanges of framing datagram belong to

} // namespace

ServerShim::ServerShim(const ServerPolicy& policy, Counters& counters, ServerSeal* seal)
    : state_(std::make_unique<State>(policy, counters, seal))
{
    if (policy.framing == Framing::datagram) {
        state_->exchanges.open_channel(kDatagrams, {});
    }
}
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
        const ServerRequest request{.id = 0, .octets = message, .arrival = earlier(arrival, now), .now = now};
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

std::variant<ToUpstream, Refusal> ServerShim::on_datagram(const ClientEndpoint& from, Bytes datagram, Instant arrival,
                                                          Instant now, std::uint64_t fresh_stamp)
{
    ++state_->counters.requests.received;
    auto outcome = State::FromChannel{DropReason::channel_lost};
    if (auto* const all = state_->exchanges.channel(kDatagrams)) {
        outcome = state_->on_request(
            *all, {.octets = datagram, .arrival = earlier(arrival, now), .now = now, .from = &from}, fresh_stamp);
    }
    if (const auto* forward = std::get_if<ToUpstream>(&outcome)) {
        return *forward; // counted when the exchange was opened
    }
    const auto* const refused = std::get_if<DropReason>(&outcome);
    Refusal refusal{.reason = refused == nullptr ? DropReason::unexpected_frame : *refused, .answer = {}};
    state_->counters.requests.drop(refusal.reason);
    if (state_->seal != nullptr && datagram.size() >= kHeaderSize) {
        const auto answer =
            Bytes{state_->packet}.first(state_->seal->refusal(datagram, refusal.reason, state_->packet));
        // Most refusals are answered with nothing: they leave the others their share.
        if (!answer.empty() && state_->refusals.take(kRefusalsPerSecond, now.boot)) {
            refusal.answer = answer;
        }
    }
    return refusal;
}

ServerShim::State::FromChannel ServerShim::State::on_frame(ServerChannel& channel, Bytes octets,
                                                           const ServerRequest& received, std::uint64_t fresh)
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

ServerShim::State::FromChannel ServerShim::State::on_ping(ServerChannel& channel, std::uint32_t id,
                                                          const ServerRequest& ping)
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

ServerShim::State::FromChannel ServerShim::State::on_request(ServerChannel& channel, const ServerRequest& request,
                                                             std::uint64_t fresh)
{
    if (const auto reason = check_shape(request)) {
        return *reason;
    }
    auto octets = request.octets;
    SealMemoryPointer memory;
    if (seal != nullptr) {
        auto opened = seal->open(octets, request.from == nullptr ? SealPeer{} : request.from->address);
        if (const auto* reason = std::get_if<DropReason>(&opened)) {
            return *reason;
        }
        memory = std::move(std::get<SealMemoryPointer>(opened));
        octets = octets.first(kHeaderSize);
        if (is_replay(request, memory)) {
            return DropReason::replayed;
        }
    }
    const auto account = admit(request);
    if (const auto* reason = std::get_if<DropReason>(&account)) {
        return *reason;
    }
    if (const auto reason = check(channel, request)) {
        return *reason;
    }
    auto parsed = Packet::parse(octets).value_or(Packet{});
    const auto stamp = upstream_stamp(parsed, fresh);
    if (const auto* reason = std::get_if<DropReason>(&stamp)) {
        return *reason;
    }
    const auto client_transmit = std::exchange(parsed.transmit, std::get<std::uint64_t>(stamp));
    std::ranges::copy(octets, packet.begin());
    write_stamp(packet, StampField::transmit, parsed.transmit);
    const auto handle = exchanges.open({.request = SentRequest::of(parsed),
                                        .client_transmit = client_transmit,
                                        .seal = std::move(memory),
                                        .client = request.from == nullptr ? ClientEndpoint{} : *request.from,
                                        .account = std::get<ClientAccounts::Number>(account),
                                        .arrival = request.arrival,
                                        .handed_over = request.now,
                                        .id = request.id,
                                        .channel = &channel,
                                        .by_age = {},
                                        .on_channel = {}});
    return ToUpstream{.exchange = handle, .packet = Bytes{packet}.first(octets.size())};
}

std::optional<DropReason> ServerShim::State::check_shape(const ServerRequest& request) const
{
    if (const auto reason =
            policy.framing == Framing::datagram ? check_sealed_length(request.octets) : check_length(request.octets)) {
        return reason;
    }
    if (request.from != nullptr) {
        if (const auto reason = check_source(request.from->address, request.from->port)) {
            return reason;
        }
    }
    const auto parsed = Packet::parse(request.octets);
    return parsed ? check_request(*parsed) : DropReason::too_short;
}

/// Whoever saw a request can send it again in its sender's name. A stamp of zero tells nothing apart.
bool ServerShim::State::is_replay(const ServerRequest& request, const SealMemoryPointer& memory)
{
    if (request.from == nullptr || memory == nullptr) {
        return false;
    }
    const auto stamp = Packet::parse(request.octets).value_or(Packet{}).transmit;
    return stamp != 0 && !genuine.add(request.from->address, stamp);
}

/// A datagram's sender is a client of ours, with a client's limits. They count what the seal has let through: forged
/// in its name, requests would use up a client's share, and opening one costs less than receiving it.
std::variant<ClientAccounts::Number, DropReason> ServerShim::State::admit(const ServerRequest& request)
{
    if (request.from == nullptr) {
        return ClientAccounts::Number{};
    }
    const auto account = exchanges.accounts().admit(request.from->address, request.arrival.boot);
    if (!account) {
        return DropReason::rate_limited;
    }
    if (!exchanges.accounts().may_open(*account)) {
        return DropReason::client_limit;
    }
    return *account;
}

std::optional<DropReason> ServerShim::State::check(const ServerChannel& channel, const ServerRequest& request) const
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

std::variant<ToChannel, Deliver, Drop> ServerShim::on_upstream_datagram(Bytes datagram, Instant arrival, Instant now)
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
    if (const auto* delivery = std::get_if<Deliver>(&outcome)) {
        return *delivery;
    }
    return std::get<ToChannel>(outcome);
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
