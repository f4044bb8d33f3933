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
constexpr std::size_t kMaxQuiet = 64;

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
    if (current_ || finding_ || stopped_) {
        return;
    }
    const auto allowed = last_attempt_ + kWantedEvery;
    if (transports::read_boot() >= allowed) {
        find();
    } else if (allowed < retry_at_) {
        retry_at_ = allowed;
        retry_.start_at(retry_at_);
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
        found_again(*failed);
        return;
    }
    auto routes = std::move(std::get<std::vector<Route>>(result));
    std::erase_if(routes, [this](const Route& route) { return is_quiet(route); });
    if (routes.empty()) {
        not_found({transports::CloseReason::refused_by_peer, "the server asked not to be asked", {}});
        return;
    }
    const bool same = current_ && routes.front().peer.address == routes_[at_].peer.address;
    const bool answered = same && answered_;
    if (current_ && !same && answered_) {
        events_.closed(routes_[at_].peer, {transports::CloseReason::local_request, "another address was found"});
    }
    routes_ = std::move(routes);
    routes_target_ = target_;
    use(0, answered);
}

/// A name that cannot be looked up any more says nothing about the server: what was found of it before still stands.
void DatagramRoutes::found_again(const transports::Failed& why)
{
    if (current_ && tunnel_.connect.size() == 1) {
        events_.failed(why);
        owner_.on_no_route(why);
        return;
    }
    const auto usable =
        std::find_if(routes_.begin(), routes_.end(), [this](const Route& route) { return !is_quiet(route); });
    if (current_ || routes_target_ != target_ || usable == routes_.end()) {
        not_found(why);
        return;
    }
    events_.failed(why);
    use(static_cast<std::size_t>(usable - routes_.begin()), false);
}

void DatagramRoutes::not_found(const transports::Failed& why)
{
    current_ = false;
    events_.failed(why);
    try_next_target(false);
    owner_.on_no_route(why);
}

/// Only a full round of targets backs off; one that had answered may be looked for at once.
void DatagramRoutes::try_next_target(bool at_once)
{
    target_ = (target_ + 1) % tunnel_.connect.size();
    if (target_ != 0 || at_once) {
        find();
        return;
    }
    const auto wait = std::min(kFirstBackOff * (1U << std::min(rounds_failed_, kMaxDoublings)), kLongestBackOff);
    ++rounds_failed_;
    const auto jitter = 0.5 + services_.random.fraction() / 2;
    retry_at_ = transports::read_boot() + std::chrono::duration_cast<Nanoseconds>(wait * jitter);
    retry_.start_at(retry_at_);
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
    rounds_failed_ = 0;
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
    auto next = at_ + 1;
    while (next < routes_.size() && is_quiet(routes_[next])) {
        ++next;
    }
    if (next < routes_.size()) {
        use(next, false);
    } else {
        try_next_target(answered_);
    }
    owner_.on_route_lost({why, text});
}

bool DatagramRoutes::deny(Nanoseconds until, const std::string& text)
{
    if (!current_) {
        return true;
    }
    std::erase_if(quiet_, [](const Quiet& quiet) { return quiet.until <= transports::read_boot(); });
    if (quiet_.size() == kMaxQuiet) {
        quiet_.erase(quiet_.begin());
    }
    quiet_.push_back({routes_[at_].peer.address, until});
    give_up(transports::CloseReason::refused_by_peer, text);
    return current_ || tunnel_.connect.size() > 1;
}

bool DatagramRoutes::is_quiet(const Route& route) const
{
    return std::any_of(quiet_.begin(), quiet_.end(), [&](const Quiet& quiet) {
        return quiet.address == route.peer.address && transports::read_boot() < quiet.until;
    });
}

void DatagramRoutes::renew()
{
    if (!finding_ && transports::read_boot() - last_attempt_ >= kWantedEvery) {
        find();
    }
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
