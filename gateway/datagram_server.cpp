#include "gateway/datagram_server.hpp"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gateway/accounting.hpp"
#include "gateway/lab_faults.hpp"
#include "gateway/policies.hpp"
#include "transports/address.hpp"

namespace gateway {

namespace {

using ntp_shim::DropReason;

ntp_shim::ServerPolicy datagram_policy(const Tunnel& tunnel, Random& random)
{
    auto policy = server_policy(tunnel, random);
    policy.framing = ntp_shim::Framing::datagram;
    policy.limits.per_channel = 0; // there is one channel for all
    return policy;
}

std::string client_text(const ntp_shim::ClientEndpoint& client)
{
    return transports::address_text(transports::from_mapped(client.address, client.port, client.scope));
}

} // namespace

DatagramServer::DatagramServer(Services services, const Tunnel& tunnel, std::unique_ptr<ServerSealing> sealing)
    : services_{services}, tunnel_{tunnel}, sealing_{std::move(sealing)}, shim_{datagram_policy(tunnel,
                                                                                                services.random),
                                                                                counters_, &sealing_->seal()},
      events_{services, tunnel.name}, front_{services.loop, tunnel, UdpFront::Default::everybody, *this},
      turn_end_{services.loop, [this] { work(); }}, timer_{services.loop, [this] { on_timer(); }}
{}

std::optional<std::string> DatagramServer::bind()
{
    if (auto error = front_.bind()) {
        return error;
    }
    if (auto error = sealing_->bind(front_.addresses())) {
        return error;
    }
    if (!tunnel_.upstream) {
        return std::nullopt; // key establishment only
    }
    auto upstream = make_tunnel_upstream(services_, tunnel_, *this);
    if (auto* error = std::get_if<std::string>(&upstream)) {
        return "tunnel " + tunnel_.name + ": upstream: " + *error;
    }
    upstream_ = std::move(std::get<std::unique_ptr<UpstreamLink>>(upstream));
    return std::nullopt;
}

void DatagramServer::on_clock_step()
{
    if (upstream_) {
        upstream_->on_clock_step();
    }
}

std::vector<std::string> DatagramServer::addresses() const
{
    auto out = front_.addresses();
    for (auto& address : sealing_->addresses()) {
        out.push_back(std::move(address));
    }
    return out;
}

void DatagramServer::on_refused_request(DropReason reason)
{
    ++counters_.requests.received;
    counters_.requests.drop(reason);
}

void DatagramServer::on_request(const ntp_shim::ClientEndpoint& from, std::span<const std::byte> datagram,
                                transports::Instant arrival)
{
    if (services_.exchanges.spent()) {
        on_refused_request(DropReason::exchange_limit);
        events_.dropped(DropReason::exchange_limit, client_text(from));
        return;
    }
    const auto verdict = shim_.on_datagram(from, datagram, shim_instant(arrival), shim_now(), services_.random.bits());
    if (const auto* refusal = std::get_if<ntp_shim::Refusal>(&verdict)) {
        refused(from, *refusal);
        return;
    }
    const auto& request = std::get<ntp_shim::ToUpstream>(verdict);
    const ntp_shim::ExchangeHandle exchange = request.exchange; // an answer may come from inside ask
    if (const auto reason = upstream_->ask(request.packet)) {
        shim_.refuse(exchange, *reason);
    }
    account();
    turn_end_.request();
}

void DatagramServer::refused(const ntp_shim::ClientEndpoint& from, const ntp_shim::Refusal& refusal)
{
    events_.dropped(refusal.reason, client_text(from));
    if (!refusal.answer.empty() && front_.tell(from, refusal.answer)) {
        ++refusals_told_;
    }
}

void DatagramServer::on_answer(std::span<const std::byte> packet, transports::Instant arrival)
{
    const auto verdict = shim_.on_upstream_datagram(packet, shim_instant(arrival), shim_now());
    if (const auto* reply = std::get_if<ntp_shim::Deliver>(&verdict)) {
        front_.deliver(reply->client, reply->packet);
        if (const auto extra = sealing_->unsolicited(); !extra.empty()) {
            (void)front_.tell(reply->client, extra); // profile lab: nobody waits for it
        }
    } else if (const auto* drop = std::get_if<ntp_shim::Drop>(&verdict);
               drop != nullptr && drop->reason == DropReason::kiss_of_death && !told_of_kiss_) {
        told_of_kiss_ = true;
        services_.log.warn(fmt::format("tunnel {}: the daemon answers with a kiss-o'-death; its rate limit should "
                                       "exempt ntpgate",
                                       tunnel_.name));
    }
    turn_end_.request();
}

void DatagramServer::on_undelivered(std::size_t count)
{
    counters_.replies.forwarded -= count;
    for (std::size_t i = 0; i < count; ++i) {
        counters_.replies.drop(DropReason::send_failed);
    }
}

void DatagramServer::on_unasked(std::size_t count)
{
    counters_.requests.forwarded -= count;
    for (std::size_t i = 0; i < count; ++i) {
        counters_.requests.drop(DropReason::upstream_unreachable);
    }
}

void DatagramServer::on_unreachable(const std::string& text)
{
    services_.log.warn(fmt::format("tunnel {}: upstream {}", tunnel_.name, text));
}

void DatagramServer::work()
{
    shim_.expire(shim_now());
    account();
    // Answers come long before deadlines do, and a later exchange has a later one: a timer that is armed stays as it is
    // and looks again when it is due.
    if (const auto due = shim_.next_deadline(); due && !armed_) {
        armed_ = true;
        timer_.start_at(*due);
    }
}

void DatagramServer::on_timer()
{
    armed_ = false;
    work();
}

void DatagramServer::account()
{
    const std::uint64_t open = shim_.open();
    services_.exchanges.open += open - accounted_; // unsigned arithmetic carries a decrease as well
    accounted_ = open;
}

void DatagramServer::drain()
{
    draining_ = true;
    front_.stop();
    sealing_->drain();
    turn_end_.request();
}

nlohmann::ordered_json DatagramServer::counters() const
{
    nlohmann::ordered_json out = counters_json(counters_, events_.counters());
    out["refusals-told"] = refusals_told_;
    sealing_->count(out);
    return out;
}

} // namespace gateway
