#include "gateway/datagram_client.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gateway/accounting.hpp"
#include "gateway/policies.hpp"
#include "transports/address.hpp"

namespace gateway {

namespace {

using ntp_shim::DropReason;
using transports::CloseReason;
using transports::Nanoseconds;

constexpr std::uint64_t kFruitless = 3;     // requests without a reply of use, then the next route has its turn
constexpr std::uint32_t kRate = 0x52415445; // "RATE", "DENY", "RSTR" (RFC 5905 figure 13)
constexpr std::uint32_t kDeny = 0x44454e59;
constexpr std::uint32_t kRestrict = 0x52535452;
constexpr Nanoseconds kShortestQuiet = std::chrono::seconds{8};
constexpr unsigned kMaxDoublings = 3; // 64 s

std::string client_text(const ntp_shim::ClientEndpoint& client)
{
    return transports::address_text(transports::from_mapped(client.address, client.port, client.scope));
}

ntp_shim::ClientPolicy datagram_policy(const Tunnel& tunnel, Random& random)
{
    auto policy = client_policy(tunnel, random);
    policy.framing = ntp_shim::Framing::datagram;
    return policy;
}

} // namespace

DatagramClient::DatagramClient(Services services, const Tunnel& tunnel, std::unique_ptr<ClientSealing> sealing,
                               ReplySink& sink)
    : services_{services}, tunnel_{tunnel}, sealing_{std::move(sealing)}, sink_{sink},
      shim_{datagram_policy(tunnel, services.random), counters_, &sealing_->seal()}, routes_{services, tunnel,
                                                                                             *sealing_, *this},
      asker_{services.loop, *this, kMaxSockets}, turn_end_{services.loop, [this] { work(); }}, timer_{
                                                                                                   services.loop,
                                                                                                   [this] { work(); }}
{}

void DatagramClient::start()
{
    sealing_->on_stale([this] { routes_.renew(); });
    routes_.start();
}

void DatagramClient::refuse(DropReason reason)
{
    ++counters_.requests.received;
    counters_.requests.drop(reason);
}

void DatagramClient::undelivered(std::size_t count)
{
    counters_.replies.forwarded -= count;
    for (std::size_t i = 0; i < count; ++i) {
        counters_.replies.drop(DropReason::send_failed);
    }
}

void DatagramClient::submit(const ntp_shim::ClientEndpoint& from, std::span<const std::byte> datagram,
                            transports::Instant arrival)
{
    if (draining_) {
        refuse(DropReason::no_channel);
        return;
    }
    if (services_.exchanges.spent()) {
        refuse(DropReason::exchange_limit);
        routes_.events().dropped(DropReason::exchange_limit, client_text(from));
        return;
    }
    if (transports::read_boot() < quiet_until_) {
        refuse(DropReason::asked_to_wait);
        return;
    }
    const bool has_route = routes_.current() != nullptr;
    const auto verdict = shim_.on_client_datagram(from, datagram, shim_instant(arrival), shim_now(), has_route);
    if (const auto* drop = std::get_if<ntp_shim::Drop>(&verdict)) {
        routes_.events().dropped(drop->reason, client_text(from));
        return;
    }
    if (has_route) {
        hand_over(std::get<ntp_shim::ExchangeHandle>(verdict));
    } else {
        routes_.want();
    }
    account();
    turn_end_.request();
}

void DatagramClient::hand_over(ntp_shim::ExchangeHandle exchange)
{
    const std::uint64_t socket = open_socket(*routes_.current());
    if (socket == 0) {
        if (broken_.empty()) {
            shim_.refuse(exchange, DropReason::congested);
        }
        return; // it waits for the next route
    }
    const auto message = shim_.hand_over(exchange, socket, shim_now(), services_.random.bits());
    if (const auto* drop = std::get_if<ntp_shim::Drop>(&message)) {
        take_drop(*drop);
        return;
    }
    shim_.leave(exchange, shim_now()); // the digest took its time
    const int error = asker_.send(socket, std::get<ntp_shim::Bytes>(message));
    if (error == 0) {
        return;
    }
    if (error == EAGAIN || error == ENOBUFS) {
        shim_.refuse(exchange, DropReason::congested);
        return;
    }
    shim_.refuse(exchange, DropReason::no_channel);
    broken_ = std::strerror(error);
    turn_end_.request();
}

std::uint64_t DatagramClient::open_socket(const Route& route)
{
    if (tunnel_.source_port != 0 && !asked_.empty()) {
        return asked_.front().socket;
    }
    if (asker_.is_full() && !asked_.empty() && shim_.outstanding(asked_.front().socket) == 0) {
        close_socket(asked_.front().socket);
        asked_.pop_front();
    }
    const auto opened = asker_.open(route.address, tunnel_.source_port);
    if (const int* error = std::get_if<int>(&opened)) {
        if (*error != EMFILE) {
            // What cannot be reached, or a source port that is taken: the route's fault as far as we can know.
            // It is given up once nobody is in the middle of a hand-over, which the next route would begin anew.
            broken_ = std::strerror(*error);
            turn_end_.request();
        }
        return 0;
    }
    const auto socket = std::get<std::uint64_t>(opened);
    const auto now = shim_now();
    shim_.open_channel(socket, {}, now);
    asked_.push_back({socket, now.boot + tunnel_.timing.max_round_trip});
    return socket;
}

void DatagramClient::close_socket(std::uint64_t socket)
{
    shim_.close_channel(socket);
    asker_.close(socket);
}

void DatagramClient::on_datagram(std::uint64_t socket, const transports::Datagram& datagram)
{
    turn_end_.request();
    if (datagram.truncated) {
        count_reply_drop(DropReason::too_long);
        return;
    }
    const auto verdict = shim_.on_message(socket, datagram.bytes, shim_instant(datagram.arrival), shim_now());
    if (const auto* reply = std::get_if<ntp_shim::Deliver>(&verdict)) {
        sink_.deliver(reply->client, reply->packet);
        routes_.answered();
        ended_fruitful_ += fruitless();
        kisses_ = 0;
    } else if (const auto* drop = std::get_if<ntp_shim::Drop>(&verdict)) {
        take_drop(*drop);
    }
}

void DatagramClient::take_drop(const ntp_shim::Drop& drop)
{
    if (drop.kiss != 0) {
        take_kiss(drop.kiss);
        return;
    }
    if (drop.reason == DropReason::no_key || drop.reason == DropReason::no_cookie) {
        routes_.renew();
    }
    // One word for the log of why nothing comes; the counters have them all.
    const auto at = static_cast<std::size_t>(drop.reason);
    if (drop.reason == DropReason::second_reply || drop.reason == DropReason::no_exchange) {
        return;
    }
    last_fault_ = name(drop.reason);
    if (!told_.test(at)) {
        told_.set(at);
        services_.log.warn(fmt::format("tunnel {}: {}", tunnel_.name, last_fault_));
    }
}

/// Authenticated: the server itself wants it so. An unauthenticated kiss never comes here.
void DatagramClient::take_kiss(std::uint32_t code)
{
    if (code == kRate) {
        quiet_until_ = transports::read_boot() + kShortestQuiet * (1U << std::min(kisses_, kMaxDoublings));
        ++kisses_;
        services_.log.warn(fmt::format("tunnel {}: the server asks for fewer requests (RATE); its rate limit should "
                                       "exempt ntpgate",
                                       tunnel_.name));
    } else if (code == kDeny || code == kRestrict) {
        const auto until = transports::read_boot() + kShortestQuiet * (1U << kMaxDoublings);
        if (!routes_.deny(until, code == kDeny ? "DENY" : "RSTR")) {
            quiet_until_ = until;
        }
    }
}

void DatagramClient::count_reply_drop(DropReason reason)
{
    ++counters_.replies.received;
    counters_.replies.drop(reason);
}

void DatagramClient::on_refused(std::uint64_t socket, int error)
{
    const bool waited = shim_.outstanding(socket) != 0; // else the peer only has no use for a late reply's error
    if (tunnel_.source_port == 0) {
        close_socket(socket);
        std::erase_if(asked_, [socket](const Asked& asked) { return asked.socket == socket; });
    }
    if (waited) {
        routes_.give_up(CloseReason::unreachable, std::strerror(error));
    }
    turn_end_.request();
}

void DatagramClient::on_route(const Route& route)
{
    if (route_address_ != route.peer.address) { // every socket is connected to the route before
        route_address_ = route.peer.address;
        for (const Asked& asked : std::exchange(asked_, {})) {
            close_socket(asked.socket);
        }
    }
    last_fault_ = {};
    broken_.clear();
    told_.reset();
    ended_fruitful_ += fruitless();
    while (broken_.empty() && routes_.current() != nullptr) {
        const auto exchange = shim_.next_waiting(shim_now());
        if (!exchange) {
            break;
        }
        hand_over(*exchange);
    }
    sink_.on_channel(route.peer); // what others do about it comes after what is stamped
    turn_end_.request();
}

void DatagramClient::on_no_route(const transports::Failed& why)
{
    sink_.on_attempt_failed(why);
    turn_end_.request();
}

void DatagramClient::on_route_lost(const transports::Closed& why)
{
    sink_.on_channel_lost(why);
    turn_end_.request();
}

/// Exchanges in a row that ended, with whatever reply, before one was delivered.
std::uint64_t DatagramClient::fruitless() const noexcept
{
    return counters_.exchanges.answered + counters_.exchanges.lost - ended_fruitful_;
}

void DatagramClient::work()
{
    const auto now = shim_now();
    shim_.expire(now);
    close_old_sockets(now.boot);
    look_after_route();
    if (shim_.waiting() != 0) {
        routes_.want();
    }
    if (drained()) {
        routes_.stop();
    }
    account();
    arm();
}

void DatagramClient::look_after_route()
{
    while (!broken_.empty()) { // the next route may be no better; there are not many
        routes_.give_up(CloseReason::unreachable, std::exchange(broken_, {}));
    }
    if (fruitless() < kFruitless) {
        return;
    }
    ended_fruitful_ += fruitless();
    const std::string fault{last_fault_};
    routes_.give_up(CloseReason::unanswered, fault.empty() ? "three requests without a reply"
                                                           : "three requests without a usable reply: " + fault);
}

void DatagramClient::close_old_sockets(Nanoseconds now)
{
    while (tunnel_.source_port == 0 && !asked_.empty() && asked_.front().until < now &&
           shim_.outstanding(asked_.front().socket) == 0) {
        close_socket(asked_.front().socket);
        asked_.pop_front();
    }
}

void DatagramClient::arm()
{
    auto due = shim_.next_deadline(tunnel_.timing.keepalive);
    if (tunnel_.source_port == 0 && !asked_.empty()) {
        const auto close = asked_.front().until + std::chrono::milliseconds{1};
        due = due ? std::min(*due, close) : close;
    }
    if (due) {
        timer_.start_at(*due);
    } else {
        timer_.stop();
    }
}

void DatagramClient::account()
{
    const std::uint64_t open = shim_.open();
    services_.exchanges.open += open - accounted_; // unsigned arithmetic carries a decrease as well
    accounted_ = open;
}

void DatagramClient::distrust(const transports::Closed& why)
{
    sealing_->distrust();
    routes_.give_up(why.reason, why.text);
    turn_end_.request();
}

void DatagramClient::drain()
{
    draining_ = true;
    turn_end_.request();
}

nlohmann::ordered_json DatagramClient::counters() const
{
    return counters_json(counters_, routes_.events().counters());
}

} // namespace gateway
