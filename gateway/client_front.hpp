// The local side of a client tunnel: UDP listeners in front, what carries the requests behind.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/config.hpp"
#include "gateway/heads.hpp"
#include "gateway/services.hpp"
#include "gateway/udp_front.hpp"

namespace gateway {

class ClientFront final : private ReplySink, private UdpFrontOwner {
public:
    /// `tunnel` outlives it. `progress` is called after every attempt to open a channel, well or not.
    ClientFront(Services services, const Tunnel& tunnel, std::function<void()> progress);
    ClientFront(const ClientFront&) = delete;
    ClientFront& operator=(const ClientFront&) = delete;
    ~ClientFront() = default;

    /// The error text; nothing may be asked of it then.
    [[nodiscard]] std::optional<std::string> bind();
    /// What the carrier or the seal cannot be made of; before bind.
    [[nodiscard]] std::vector<CarrierProblem> make_head();
    void start() { head_->start(); }
    [[nodiscard]] ClientRole& head() noexcept { return *head_; }
    [[nodiscard]] const ClientRole& head() const noexcept { return *head_; }
    [[nodiscard]] std::vector<std::string> addresses() const { return front_.addresses(); }
    [[nodiscard]] const Tunnel& tunnel() const noexcept { return tunnel_; }

private:
    void on_request(const ntp_shim::ClientEndpoint& from, std::span<const std::byte> datagram,
                    transports::Instant arrival) override;
    void on_refused_request(ntp_shim::DropReason reason) override;
    void on_undelivered(std::size_t count) override;
    void deliver(const ntp_shim::ClientEndpoint& client, std::span<const std::byte> packet) override;
    void on_attempt_failed(const transports::Failed& why) override;
    void on_channel(const transports::PeerIdentity& peer) override;
    void on_channel_lost(const transports::Closed&) override {}

    Services services_;
    const Tunnel& tunnel_;
    std::function<void()> progress_;
    std::unique_ptr<ClientRole> head_;
    UdpFront front_;
};

} // namespace gateway
