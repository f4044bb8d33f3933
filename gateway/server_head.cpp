#include "gateway/server_head.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gateway/lab_faults.hpp"
#include "gateway/policies.hpp"
#include "gateway/printable.hpp"
#include "ntp-shim/frame.hpp"

namespace gateway {

namespace {

using transports::Nanoseconds;

constexpr Nanoseconds kQuietBeforeLeaving = std::chrono::milliseconds{300}; // requests already on their way
constexpr Nanoseconds kSweep = std::chrono::seconds{1};                     // ages and certificates
constexpr Nanoseconds kFastSweep = std::chrono::milliseconds{10};           // somebody waits for something

} // namespace

ServerHead::ServerHead(Services services, const Tunnel& tunnel, std::unique_ptr<Carrier> carrier,
                       std::unique_ptr<ServerSealing> sealing)
    : services_{services}, tunnel_{tunnel}, credentials_{carrier->credentials(services, [this] { recheck_peers(); })},
      carrier_{std::move(carrier)}, sealing_{std::move(sealing)},
      admission_{admission_limits(tunnel.limits), &services.admission}, shim_{server_policy(tunnel, services.random),
                                                                              counters_,
                                                                              sealing_ ? &sealing_->seal() : nullptr},
      events_{services, tunnel.name}, turn_end_{services.loop, [this] { work(); }},
      timer_{services.loop, [this] { work(); }}, peer_timer_{services.loop, [this] { look_after_peers(); }}
{}

ServerHead::~ServerHead() = default;

void ServerHead::reload()
{
    if (sealing_) {
        sealing_->reload();
    }
    if (credentials_) {
        credentials_->reload();
    }
}

std::optional<std::string> ServerHead::bind()
{
    auto upstream = make_tunnel_upstream(services_, tunnel_, *this);
    if (auto* error = std::get_if<std::string>(&upstream)) {
        return "tunnel " + tunnel_.name + ": upstream: " + *error;
    }
    upstream_ = std::move(std::get<std::unique_ptr<UpstreamLink>>(upstream));
    auto places = tunnel_.listen;
    if (tunnel_.stdio) {
        places.emplace_back(); // one, without an address
    }
    for (const SocketAddress& address : places) {
        auto result = carrier_->listen(services_.loop, address, admission_, *this);
        if (auto* error = std::get_if<std::string>(&result)) {
            return "tunnel " + tunnel_.name + ": " + *error;
        }
        listeners_.push_back(std::move(std::get<std::unique_ptr<transports::Listener>>(result)));
    }
    return std::nullopt;
}

std::vector<std::string> ServerHead::addresses() const
{
    std::vector<std::string> out;
    for (const auto& listener : listeners_) {
        out.push_back(listener->address());
    }
    return out;
}

void ServerHead::on_open(std::unique_ptr<transports::Channel> channel)
{
    const std::uint64_t number = channel->number();
    events_.opened(channel->peer());
    shim_.open_channel(number, channel_seed(services_.random));
    Peer peer;
    peer.channel = std::move(channel);
    peer.opened = transports::read_boot();
    Peer& kept = peers_.emplace(number, std::move(peer)).first->second;
    if (draining_) {
        say_goodbye(kept, kept.opened);
    }
    peer_timer_.start(draining_ ? kFastSweep : kSweep);
}

void ServerHead::on_message(transports::Channel& from, std::span<const std::byte> message, transports::Instant arrival)
{
    if (tunnel_.framing == Framing::v1) {
        take_request(from, message, arrival);
    } else if (const auto found = peers_.find(from.number()); found != peers_.end()) {
        for (const auto& packet : found->second.splitter.split(message, shim_now())) {
            take_request(from, packet, arrival);
        }
        if (found->second.splitter.partial()) {
            peer_timer_.start(kFastSweep);
        }
    }
    account();
    // After the upstream's own work for this turn: what was handed over leaves before there is time for book-keeping.
    turn_end_.request();
}

void ServerHead::take_request(transports::Channel& from, std::span<const std::byte> message,
                              transports::Instant arrival)
{
    if (services_.exchanges.spent()) {
        ++counters_.requests.received;
        counters_.requests.drop(ntp_shim::DropReason::exchange_limit);
        events_.dropped(ntp_shim::DropReason::exchange_limit, from.peer().address);
        return;
    }
    const auto verdict =
        shim_.on_message(from.number(), message, shim_instant(arrival), shim_now(), services_.random.bits());
    if (const auto* pong = std::get_if<ntp_shim::ToChannel>(&verdict)) {
        send_pong(from, pong->message);
    } else if (const auto* request = std::get_if<ntp_shim::ToUpstream>(&verdict)) {
        const ntp_shim::ExchangeHandle exchange = request->exchange; // an answer may come from inside ask
        if (const auto refused = upstream_->ask(request->packet)) {
            shim_.refuse(exchange, *refused);
        }
    } else if (const auto* drop = std::get_if<ntp_shim::Drop>(&verdict)) {
        if (!limit_key(drop->reason).empty()) {
            events_.dropped(drop->reason, from.peer().address);
        }
    }
}

void ServerHead::on_answer(std::span<const std::byte> packet, transports::Instant arrival)
{
    const auto verdict = shim_.on_upstream_datagram(packet, shim_instant(arrival), shim_now());
    if (const auto* reply = std::get_if<ntp_shim::ToChannel>(&verdict)) {
        send_reply(*reply);
        send_unsolicited(*reply);
    }
    turn_end_.request();
}

void ServerHead::send_unsolicited(const ntp_shim::ToChannel& reply)
{
    const auto packet = sealing_ ? sealing_->unsolicited() : std::span<const std::byte>{};
    const auto peer = peers_.find(reply.channel);
    if (packet.empty() || peer == peers_.end()) {
        return;
    }
    ntp_shim::FrameBuffer buffer{};
    auto message = packet;
    if (tunnel_.framing == Framing::v1) {
        const auto decoded = ntp_shim::decode_frame(reply.message);
        auto frame =
            std::get_if<ntp_shim::Frame>(&decoded) != nullptr ? std::get<ntp_shim::Frame>(decoded) : ntp_shim::Frame{};
        frame.id = ~frame.id; // open nowhere
        frame.packet = packet;
        message = ntp_shim::encode_frame(frame, buffer);
    }
    (void)peer->second.channel->send(message); // nobody waits for it
}

void ServerHead::send_reply(const ntp_shim::ToChannel& reply)
{
    const auto peer = peers_.find(reply.channel);
    if (peer == peers_.end()) {
        shim_.refuse_reply(ntp_shim::DropReason::channel_lost);
        return;
    }
    if (peer->second.channel->rekeying()) {
        if (!peer->second.deferred.keep(reply.message, transports::read_instant())) {
            shim_.refuse_reply(ntp_shim::DropReason::congested);
        }
        return;
    }
    send_reply(*peer->second.channel, reply.message);
}

void ServerHead::send_reply(transports::Channel& channel, std::span<const std::byte> message)
{
    switch (channel.send(message)) {
    case transports::SendResult::sent:
        return;
    case transports::SendResult::congested:
        shim_.refuse_reply(ntp_shim::DropReason::congested);
        return;
    case transports::SendResult::oversize:
        shim_.refuse_reply(ntp_shim::DropReason::oversize);
        events_.oversize(channel.peer(), message.size());
        return;
    case transports::SendResult::closed:
        shim_.refuse_reply(ntp_shim::DropReason::channel_lost);
        return;
    }
}

void ServerHead::send_pong(transports::Channel& channel, std::span<const std::byte> message)
{
    const auto peer = peers_.find(channel.number());
    if (channel.rekeying() && peer != peers_.end()) {
        (void)peer->second.deferred.keep(message, transports::read_instant()); // one too many finds no answer
    } else {
        (void)channel.send(message); // a peer that does not read gets no pong, and finds out
    }
}

void ServerHead::on_rekeyed(transports::Channel& channel)
{
    events_.rekeyed(channel.peer());
    const auto peer = peers_.find(channel.number());
    if (peer == peers_.end()) {
        return;
    }
    for (auto& frame : peer->second.deferred.take(transports::read_instant(), tunnel_.timing.max_age)) {
        if (frame.late) {
            shim_.refuse_reply(ntp_shim::DropReason::too_old);
        } else if (frame.is_reply) {
            send_reply(channel, frame.octets);
        } else {
            (void)channel.send(frame.octets); // a pong, as above
        }
    }
    turn_end_.request();
}

void ServerHead::on_unasked(std::size_t count)
{
    counters_.requests.forwarded -= count;
    for (std::size_t i = 0; i < count; ++i) {
        counters_.requests.drop(ntp_shim::DropReason::upstream_unreachable);
    }
}

void ServerHead::on_unreachable(const std::string& text)
{
    services_.log.warn(fmt::format("tunnel {}: upstream {}", tunnel_.name, text));
}

void ServerHead::on_end(transports::Channel& from)
{
    if (const auto found = peers_.find(from.number()); found != peers_.end()) {
        found->second.ended = true;
        peer_timer_.start(kFastSweep);
    }
    turn_end_.request();
}

void ServerHead::on_closed(transports::Channel& channel, const transports::Closed& why)
{
    auto found = peers_.extract(channel.number()); // the channel goes at the end of this call, its last act
    if (!found.empty()) {
        for (const auto& frame : found.mapped().deferred.take(transports::read_instant(), tunnel_.timing.max_age)) {
            if (frame.is_reply) {
                shim_.refuse_reply(ntp_shim::DropReason::channel_lost);
            }
        }
    }
    shim_.close_channel(channel.number());
    events_.closed(channel.peer(), why);
    turn_end_.request();
}

void ServerHead::on_failed(const transports::Failed& why)
{
    events_.failed(why);
}

void ServerHead::on_discarded(const transports::Discarded& record)
{
    events_.discarded(record);
}

void ServerHead::say_goodbye(Peer& peer, Nanoseconds now)
{
    if (peer.leave_after) {
        return;
    }
    peer.leave_after = now + kQuietBeforeLeaving;
    if (tunnel_.framing == Framing::v1) {
        (void)peer.channel->send(shim_.make_goodbye(peer.channel->number(), shim_now())); // else it finds out
    }
}

void ServerHead::drain()
{
    draining_ = true;
    for (const auto& listener : listeners_) {
        listener->stop();
    }
    const Nanoseconds now = transports::read_boot();
    for (auto& [number, peer] : peers_) {
        say_goodbye(peer, now);
    }
    peer_timer_.start(kFastSweep);
}

void ServerHead::look_after(std::uint64_t number, Peer& peer, ntp_shim::Instant now)
{
    const Nanoseconds valid_until = peer.channel->peer().valid_until;
    const bool expired = valid_until != Nanoseconds::zero() && transports::read_wall() >= valid_until;
    if (expired) {
        peer.channel->close(transports::CloseReason::max_channel_age);
        return;
    }
    if (now.boot - peer.opened >= tunnel_.timing.max_channel_age) {
        say_goodbye(peer, now.boot);
    }
    if (peer.splitter.expire(now)) {
        ++counters_.requests.received;
        counters_.requests.drop(ntp_shim::DropReason::raw_partial);
    }
    const bool idle = shim_.open(number) == 0 && !peer.splitter.partial();
    if (peer.ended && idle) {
        peer.channel->close(transports::CloseReason::peer_closed);
    } else if (peer.leave_after && idle && now.boot >= *peer.leave_after) {
        peer.channel->close(draining_ ? transports::CloseReason::drained : transports::CloseReason::max_channel_age);
    }
}

/// Those of an old certificate of ours go on until max-channel-age: it was good when they were opened.
void ServerHead::recheck_peers()
{
    for (const auto& [number, peer] : peers_) {
        peer.channel->recheck(); // closing comes back on a later turn: the map does not change here
    }
}

void ServerHead::look_after_peers()
{
    const auto now = shim_now();
    bool soon = false;
    for (auto& [number, peer] : peers_) {
        look_after(number, peer, now); // closing comes back on a later turn: the map does not change here
        soon = soon || peer.ended || peer.leave_after || peer.splitter.partial();
    }
    if (!peers_.empty()) {
        peer_timer_.start(soon ? kFastSweep : kSweep);
    }
}

void ServerHead::work()
{
    shim_.expire(shim_now());
    account();
    if (const auto due = shim_.next_deadline()) {
        timer_.start_at(*due);
    } else {
        timer_.stop();
    }
}

void ServerHead::account()
{
    const std::uint64_t open = shim_.open();
    services_.exchanges.open += open - accounted_; // unsigned arithmetic carries a decrease as well
    accounted_ = open;
}

nlohmann::ordered_json ServerHead::counters() const
{
    nlohmann::ordered_json out = counters_json(counters_, events_.counters());
    transports::ListenerCounters sum;
    for (const auto& listener : listeners_) {
        const auto& one = listener->counters();
        sum.accepted += one.accepted;
        sum.opened += one.opened;
        sum.pending += one.pending;
        for (std::size_t i = 0; i < sum.failed.size(); ++i) {
            sum.failed.at(i) += one.failed.at(i);
        }
        for (std::size_t i = 0; i < sum.refused.size(); ++i) {
            sum.refused.at(i) += one.refused.at(i);
        }
    }
    out["listener"] = counters_json(sum);
    return out;
}

} // namespace gateway
