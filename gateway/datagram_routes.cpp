#include "gateway/datagram_routes.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace gateway {

namespace {

using transports::Nanoseconds;

constexpr Nanoseconds kFirstBackOff = std::chrono::milliseconds{100}; // design 12: doubling, with jitter
constexpr Nanoseconds kLongestBackOff = std::chrono::seconds{30};
constexpr Nanoseconds kWantedEvery = std::chrono::seconds{1};
constexpr unsigned kMaxDoublings = 9;

} // namespace

DatagramRoutes::DatagramRoutes(Services services, const Tunnel& tunnel, ClientSealing& sealing,
                               DatagramRoutesOwner& owner)
    : services_{services}, tunnel_{tunnel}, sealing_{sealing}, owner_{owner}, events_{services, tunnel.name},
      retry_{services.loop, [this] { find(); }}
{}

void DatagramRoutes::start()
{
    find();
}

void DatagramRoutes::want()
{
    if (!current_ && !finding_ && !stopped_ && transports::read_boot() - last_attempt_ >= kWantedEvery) {
        find();
    }
}

void DatagramRoutes::find()
{
    if (stopped_) {
        return;
    }
    retry_.stop();
    finding_ = true;
    last_attempt_ = transports::read_boot();
    sealing_.find(tunnel_.connect[target_], [this](auto result) { found(std::move(result)); });
}

void DatagramRoutes::found(std::variant<std::vector<Route>, transports::Failed> result)
{
    finding_ = false;
    tried_ = true;
    if (const auto* failed = std::get_if<transports::Failed>(&result)) {
        not_found(*failed);
        return;
    }
    rounds_failed_ = 0;
    auto routes = std::move(std::get<std::vector<Route>>(result));
    const bool same = current_ && routes.front().peer.address == routes_[at_].peer.address;
    const bool answered = same && answered_;
    if (current_ && !same && answered_) {
        events_.closed(routes_[at_].peer, {transports::CloseReason::local_request, "another address was found"});
    }
    routes_ = std::move(routes);
    use(0, answered);
}

void DatagramRoutes::not_found(const transports::Failed& why)
{
    current_ = false;
    events_.failed(why);
    next_target();
    if (target_ != 0) {
        find();
    } else {
        const auto wait = std::min(kFirstBackOff * (1U << std::min(rounds_failed_, kMaxDoublings)), kLongestBackOff);
        ++rounds_failed_;
        const auto jitter = 0.5 + services_.random.fraction() / 2;
        retry_.start(std::chrono::duration_cast<Nanoseconds>(wait * jitter));
    }
    owner_.on_no_route(why);
}

void DatagramRoutes::use(std::size_t at, bool answered)
{
    at_ = at;
    current_ = true;
    answered_ = answered;
    sealing_.use(routes_[at_]);
    owner_.on_route(routes_[at_]);
}

void DatagramRoutes::answered()
{
    if (current_ && !answered_) {
        answered_ = true;
        events_.opened(routes_[at_].peer);
    }
}

void DatagramRoutes::give_up(transports::CloseReason why, const std::string& text)
{
    if (!current_) {
        return;
    }
    const auto peer = routes_[at_].peer;
    if (answered_) {
        events_.closed(peer, {why, text});
    } else {
        events_.failed({why, text, peer});
    }
    current_ = false;
    if (at_ + 1 < routes_.size()) {
        use(at_ + 1, false);
    } else {
        next_target();
        find();
    }
    owner_.on_route_lost({why, text});
}

void DatagramRoutes::renew()
{
    if (!finding_ && transports::read_boot() - last_attempt_ >= kWantedEvery) {
        find();
    }
}

void DatagramRoutes::next_target()
{
    target_ = (target_ + 1) % tunnel_.connect.size();
}

void DatagramRoutes::stop()
{
    if (!stopped_ && current_ && answered_) {
        events_.closed(routes_[at_].peer, {transports::CloseReason::drained, {}});
    }
    stopped_ = true;
    current_ = false;
    retry_.stop();
}

} // namespace gateway
