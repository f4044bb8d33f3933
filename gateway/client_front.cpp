#include "gateway/client_front.hpp"

#include <utility>

namespace gateway {

ClientFront::ClientFront(Services services, const Tunnel& tunnel, std::function<void()> progress)
    : services_{services}, tunnel_{tunnel}, progress_{std::move(progress)}, front_{services.loop, tunnel,
                                                                                   UdpFront::Default::loopback, *this}
{}

std::vector<CarrierProblem> ClientFront::make_head()
{
    auto made = make_client_role(services_, tunnel_, *this);
    if (auto* problems = std::get_if<std::vector<CarrierProblem>>(&made)) {
        return std::move(*problems);
    }
    head_ = std::move(std::get<std::unique_ptr<ClientRole>>(made));
    return {};
}

std::optional<std::string> ClientFront::bind()
{
    return front_.bind();
}

void ClientFront::on_request(const ntp_shim::ClientEndpoint& from, std::span<const std::byte> datagram,
                             transports::Instant arrival)
{
    head_->submit(from, datagram, arrival);
}

void ClientFront::on_refused_request(ntp_shim::DropReason reason)
{
    head_->refuse(reason);
}

void ClientFront::on_undelivered(std::size_t count)
{
    head_->undelivered(count);
}

void ClientFront::deliver(const ntp_shim::ClientEndpoint& client, std::span<const std::byte> packet)
{
    front_.deliver(client, packet);
}

void ClientFront::on_attempt_failed(const transports::Failed&)
{
    progress_();
}

void ClientFront::on_channel(const transports::PeerIdentity&)
{
    progress_();
}

} // namespace gateway
