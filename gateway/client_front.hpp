// The local side of a client tunnel: UDP listeners, who may ask, and replies from the address that was asked.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/client_head.hpp"
#include "gateway/config.hpp"
#include "transports/udp.hpp"

namespace gateway {

class ClientFront final : public ReplySink {
public:
    /// `progress` is called after every attempt to open a channel, well or not.
    ClientFront(Services services, const Tunnel& tunnel, std::unique_ptr<transports::Connector> connector,
                std::function<void()> progress);
    ~ClientFront();
    ClientFront(const ClientFront&) = delete;
    ClientFront& operator=(const ClientFront&) = delete;

    [[nodiscard]] std::optional<std::string> bind(); // the error text
    void start() { head_.start(); }
    [[nodiscard]] ClientHead& head() noexcept { return head_; }
    [[nodiscard]] const ClientHead& head() const noexcept { return head_; }
    [[nodiscard]] std::vector<std::string> addresses() const; // as bound
    [[nodiscard]] const Tunnel& tunnel() const noexcept { return tunnel_; }

    void deliver(const ntp_shim::ClientEndpoint& client, std::span<const std::byte> packet) override;
    void on_attempt_failed(const transports::Failed& why) override;
    void on_channel(const transports::PeerIdentity& peer) override;
    void on_channel_lost(const transports::Closed&) override {}

private:
    class Port;
    void on_datagram(std::uint16_t listener, const transports::Datagram& datagram);
    [[nodiscard]] bool may_ask(const transports::MappedAddress& client) const noexcept;
    [[nodiscard]] bool is_own_listener(const sockaddr_storage& address) const noexcept;

    Services services_;
    const Tunnel& tunnel_;
    ClientHead head_;
    std::function<void()> progress_;
    std::vector<std::unique_ptr<Port>> ports_;
};

} // namespace gateway
