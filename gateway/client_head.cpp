#include "gateway/client_head.hpp"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gateway/policies.hpp"
#include "transports/address.hpp"

namespace gateway {

namespace {

constexpr unsigned kUnansweredRaw = 3; // design 5: then the channel is closed

std::string client_text(const ntp_shim::ClientEndpoint& client)
{
    return transports::address_text(transports::from_mapped(client.address, client.port, client.scope));
}

} // namespace

ClientHead::ClientHead(Services services, const Tunnel& tunnel, Parts parts, ReplySink& sink)
    : services_{services}, tunnel_{tunnel}, credentials_{parts.carrier->credentials(services,
                                                                                    [this] {
                                                                                        channels_.recheck();
                                                                                        turn_end_.request();
                                                                                    })},
      sink_{sink}, sealing_{std::move(parts.sealing)}, shim_{client_policy(tunnel, services.random), counters_,
                                                             sealing_ ? &sealing_->seal() : nullptr},
      channels_{services, tunnel, parts.carrier->connector(services.loop), *this},
      turn_end_{services.loop, [this] { work(); }}, timer_{services.loop, [this] { work(); }}
{}

ClientHead::~ClientHead() = default;

void ClientHead::start()
{
    channels_.start();
}

void ClientHead::reload()
{
    if (sealing_) {
        sealing_->reload();
    }
    if (credentials_) {
        credentials_->reload();
    }
}

void ClientHead::refuse(ntp_shim::DropReason reason)
{
    ++counters_.requests.received;
    counters_.requests.drop(reason);
}

void ClientHead::undelivered(std::size_t count)
{
    counters_.replies.forwarded -= count;
    for (std::size_t i = 0; i < count; ++i) {
        counters_.replies.drop(ntp_shim::DropReason::send_failed);
    }
}

transports::Channel* ClientHead::free_channel() const
{
    for (transports::Channel* const channel : channels_.usable()) {
        if (channel->rekeying()) {
            continue; // what waits has its hold corrected; what would cross the renewal would be late
        }
        if (tunnel_.framing == Framing::v1 || shim_.outstanding(channel->number()) == 0) {
            return channel;
        }
    }
    return nullptr;
}

void ClientHead::submit(const ntp_shim::ClientEndpoint& from, std::span<const std::byte> datagram,
                        transports::Instant arrival)
{
    if (draining_) {
        refuse(ntp_shim::DropReason::no_channel);
        return;
    }
    if (services_.exchanges.spent()) {
        refuse(ntp_shim::DropReason::exchange_limit);
        channels_.events().dropped(ntp_shim::DropReason::exchange_limit, client_text(from));
        return;
    }
    transports::Channel* const channel = free_channel();
    const auto verdict =
        shim_.on_client_datagram(from, datagram, shim_instant(arrival), shim_now(), channel != nullptr);
    if (const auto* drop = std::get_if<ntp_shim::Drop>(&verdict)) {
        if (!limit_key(drop->reason).empty()) {
            channels_.events().dropped(drop->reason, client_text(from));
        }
        if (drop->reason == ntp_shim::DropReason::not_correctable) {
            channels_.want(1); // its successor shall find a channel
        }
        return;
    }
    const auto exchange = std::get<ntp_shim::ExchangeHandle>(verdict);
    if (channel != nullptr) {
        hand_over(exchange, *channel);
    } else if (tunnel_.framing == Framing::raw && shim_.waiting() > channels_.room_for_waiting()) {
        shim_.refuse(exchange, ntp_shim::DropReason::raw_busy);
    } else {
        channels_.want(shim_.waiting());
    }
    account();
    // After the channel's own work for this turn: what is stamped leaves before there is time for book-keeping.
    turn_end_.request();
}

/// False when the request was dropped on the way.
bool ClientHead::hand_over(ntp_shim::ExchangeHandle exchange, transports::Channel& channel)
{
    const auto message = shim_.hand_over(exchange, channel.number(), shim_now(), services_.random.bits());
    if (const auto* drop = std::get_if<ntp_shim::Drop>(&message)) {
        if (!limit_key(drop->reason).empty()) {
            channels_.events().dropped(drop->reason, channel.peer().address);
        }
        return false;
    }
    switch (channel.send(std::get<ntp_shim::Bytes>(message))) {
    case transports::SendResult::sent:
        leaving_.push_back({channel.number(), exchange});
        return true;
    case transports::SendResult::congested:
        shim_.refuse(exchange, ntp_shim::DropReason::congested);
        return false;
    case transports::SendResult::oversize:
        shim_.refuse(exchange, ntp_shim::DropReason::oversize);
        channels_.events().oversize(channel.peer(), std::get<ntp_shim::Bytes>(message).size());
        return false;
    case transports::SendResult::closed:
        shim_.refuse(exchange, ntp_shim::DropReason::channel_lost);
        return false;
    }
    return false;
}

void ClientHead::on_channel_open(transports::Channel& channel)
{
    const auto now = shim_now();
    shim_.open_channel(channel.number(), channel_seed(services_.random), now);
    if (tunnel_.framing == Framing::raw) {
        splitters_.emplace(channel.number(), ntp_shim::RawSplitter{ntp_shim::RawSplitter::Direction::replies});
    } else {
        // Proves that the peer admitted us: under TLS 1.3 it may refuse our certificate only after our side is done.
        send_ping(channel, now);
    }
    send_waiting(now);
    sink_.on_channel(channel.peer()); // what others do about it comes after what is stamped
    turn_end_.request();
}

void ClientHead::on_channel_leaving(std::uint64_t number)
{
    if (leaving_.empty()) {
        return;
    }
    const auto now = shim_now();
    std::erase_if(leaving_, [&](const Leaving& item) {
        if (item.channel == number) {
            shim_.leave(item.exchange, now);
        }
        return item.channel == number;
    });
}

void ClientHead::on_channel_message(transports::Channel& channel, std::span<const std::byte> message,
                                    transports::Instant arrival)
{
    channels_.heard_from(channel.number());
    if (tunnel_.framing == Framing::v1) {
        take_message(channel.number(), message, arrival);
    } else if (const auto splitter = splitters_.find(channel.number()); splitter != splitters_.end()) {
        for (const auto& packet : splitter->second.split(message, shim_now())) {
            take_message(channel.number(), packet, arrival);
        }
    }
    turn_end_.request(); // after the delivery, for the same reason as in submit
}

void ClientHead::take_message(std::uint64_t number, std::span<const std::byte> message, transports::Instant arrival)
{
    const auto verdict = shim_.on_message(number, message, shim_instant(arrival), shim_now());
    if (const auto* reply = std::get_if<ntp_shim::Deliver>(&verdict)) {
        sink_.deliver(reply->client, reply->packet);
    } else if (const auto* control = std::get_if<ntp_shim::Control>(&verdict)) {
        if (*control == ntp_shim::Control::goodbye) {
            channels_.retire(number);
        }
    }
}

void ClientHead::on_channel_closed(std::uint64_t number, const transports::Closed& why)
{
    splitters_.erase(number);
    std::erase_if(leaving_, [&](const Leaving& item) { return item.channel == number; });
    shim_.close_channel(number);
    sink_.on_channel_lost(why);
    turn_end_.request();
}

void ClientHead::on_channel_rekeyed(transports::Channel& /*channel*/)
{
    send_waiting(shim_now());
    turn_end_.request();
}

void ClientHead::on_attempt_failed(const transports::Failed& why)
{
    sink_.on_attempt_failed(why);
    turn_end_.request();
}

void ClientHead::work()
{
    const auto now = shim_now();
    expire_partial(now);
    shim_.expire(now);
    send_waiting(now);
    const std::vector<transports::Channel*> open = channels_.open();
    for (transports::Channel* const channel : open) {
        look_after(*channel, now);
    }
    channels_.want(shim_.waiting());
    if (draining_ && shim_.open() == 0) {
        channels_.stop();
    }
    account();
    arm(now);
}

void ClientHead::send_waiting(ntp_shim::Instant now)
{
    while (transports::Channel* const channel = free_channel()) {
        const auto exchange = shim_.next_waiting(now);
        if (!exchange) {
            return;
        }
        if (hand_over(*exchange, *channel) && tunnel_.framing == Framing::raw) {
            now = shim_now();
        }
    }
}

void ClientHead::look_after(transports::Channel& channel, ntp_shim::Instant now)
{
    const std::uint64_t number = channel.number();
    if (channels_.is_replaced(number) && shim_.outstanding(number) == 0) {
        channels_.close_replaced(number);
        return;
    }
    if (tunnel_.framing == Framing::raw) {
        if (shim_.unanswered(number) >= kUnansweredRaw) {
            channels_.close(number, transports::CloseReason::unanswered);
        }
        return;
    }
    if (channel.rekeying()) {
        return; // it takes no ping now, and has a deadline of its own
    }
    switch (shim_.health(number, tunnel_.timing.keepalive, now)) {
    case ntp_shim::Health::good:
        return;
    case ntp_shim::Health::ping_due:
        send_ping(channel, shim_now());
        return;
    case ntp_shim::Health::upstream_silent:
        services_.log.warn(fmt::format("tunnel {}: upstream_silent: {} answers pings but no requests", tunnel_.name,
                                       channel.peer().address));
        return;
    case ntp_shim::Health::dead:
        channels_.close(number, transports::CloseReason::dead_peer);
        return;
    }
}

void ClientHead::send_ping(transports::Channel& channel, ntp_shim::Instant now)
{
    if (const auto ping = shim_.make_ping(channel.number(), now); !ping.empty()) {
        // One not taken for congestion goes unanswered, as a ping that the peer does not read should.
        (void)channel.send(ping);
    }
}

void ClientHead::expire_partial(ntp_shim::Instant now)
{
    for (auto& [number, splitter] : splitters_) {
        if (splitter.expire(now)) {
            ++counters_.replies.received;
            counters_.replies.drop(ntp_shim::DropReason::raw_partial);
        }
    }
}

void ClientHead::arm(ntp_shim::Instant now)
{
    auto due = shim_.next_deadline(tunnel_.timing.keepalive);
    for (const auto& [number, splitter] : splitters_) {
        if (const auto partial = splitter.next_deadline()) {
            due = due ? std::min(*due, *partial) : *partial;
        }
    }
    if (!due) {
        timer_.stop();
        return;
    }
    // What is due and still there (a channel that takes no ping) is looked at again soon, not at once.
    timer_.start_at(std::max(*due, now.boot + std::chrono::milliseconds{1}));
}

void ClientHead::account()
{
    const std::uint64_t open = shim_.open();
    services_.exchanges.open += open - accounted_; // unsigned arithmetic carries a decrease as well
    accounted_ = open;
}

void ClientHead::drain()
{
    draining_ = true;
    turn_end_.request();
}

bool ClientHead::drained() const noexcept
{
    return draining_ && shim_.open() == 0 && channels_.open().empty();
}

nlohmann::ordered_json ClientHead::counters() const
{
    return counters_json(counters_, channels_.counters());
}

} // namespace gateway
