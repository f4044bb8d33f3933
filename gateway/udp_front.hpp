// UDP listeners that NTP clients ask: who may ask, and replies from the address that was asked.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gateway/config.hpp"
#include "ntp-shim/client_shim.hpp"
#include "transports/loop.hpp"
#include "transports/udp.hpp"

namespace gateway {

class UdpFrontOwner {
public:
    virtual void on_request(const ntp_shim::ClientEndpoint& from, std::span<const std::byte> datagram,
                            transports::Instant arrival) = 0;
    /// A datagram that is not looked at: to be counted with the others.
    virtual void on_refused_request(ntp_shim::DropReason reason) = 0;
    /// The socket did not take replies already counted as delivered.
    virtual void on_undelivered(std::size_t count) = 0;

protected:
    ~UdpFrontOwner() = default;
};

class UdpFront final {
public:
    /// Who may ask where `clients` names nobody.
    enum class Default : std::uint8_t { loopback, everybody };

    /// `tunnel` and `owner` outlive it.
    UdpFront(transports::Loop& loop, const Tunnel& tunnel, Default without_clients, UdpFrontOwner& owner);
    ~UdpFront();
    UdpFront(const UdpFront&) = delete;
    UdpFront& operator=(const UdpFront&) = delete;

    [[nodiscard]] std::optional<std::string> bind();          // the error text
    [[nodiscard]] std::vector<std::string> addresses() const; // as bound
    void deliver(const ntp_shim::ClientEndpoint& client, std::span<const std::byte> packet);
    /// Sent at once; whether the socket took it. The owner hears of no failure.
    [[nodiscard]] bool tell(const ntp_shim::ClientEndpoint& client, std::span<const std::byte> packet);
    void stop() noexcept { stopped_ = true; } // no request is taken any more

private:
    class Port;
    void on_datagram(std::uint16_t listener, const transports::Datagram& datagram);
    [[nodiscard]] bool may_ask(const transports::MappedAddress& client) const noexcept;
    [[nodiscard]] bool is_own_listener(const sockaddr_storage& address) const noexcept;

    transports::Loop& loop_;
    const Tunnel& tunnel_;
    Default without_clients_;
    UdpFrontOwner& owner_;
    bool stopped_ = false;
    std::vector<std::unique_ptr<Port>> ports_;
};

} // namespace gateway
