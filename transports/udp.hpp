// A datagram socket with batches, kernel receive stamps and the address that was asked: NTP-facing on both sides.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "transports/address.hpp"
#include "transports/loop.hpp"

namespace transports {

inline constexpr std::size_t kMaxDatagram = 1312; // NTP with NTS ends at 1280

struct UdpOptions {
    std::size_t max_datagram = kMaxDatagram; // longer ones are cut and marked
    std::size_t batch = 64;                  // of one system call
    bool whole = false;                      // never fragmented on the way, whatever the path (RFC 1191, RFC 8201)
    bool broadcast = false;                  // may send to everybody on a network
};

struct Datagram {
    std::span<const std::byte> bytes; // lives for the call
    sockaddr_storage from{};
    MappedAddress local{}; // the address that was asked (IP_PKTINFO); zero when the kernel did not say
    Instant arrival;       // from the kernel's stamp where it is usable
    bool truncated = false;
};

class UdpHandler {
public:
    virtual void on_datagram(const Datagram& datagram) = 0;
    /// The peer of a connected socket refused (ECONNREFUSED), or the network did.
    virtual void on_refused(int error) = 0;
    /// Datagrams queued by send that the socket then did not take.
    virtual void on_send_failed(std::size_t count) = 0;

protected:
    ~UdpHandler() = default;
};

class UdpSocket {
public:
    /// Bound to a local address; alone on it (SO_REUSEADDR on privileged ports only, where a client that binds the
    /// wildcard needs it from us). The error text names the address.
    [[nodiscard]] static std::variant<std::unique_ptr<UdpSocket>, std::string>
    bind(Loop& loop, const sockaddr_storage& local, UdpHandler& handler, const UdpOptions& options = {});
    /// Connected: only the peer's datagrams arrive, and its refusals are heard.
    [[nodiscard]] static std::variant<std::unique_ptr<UdpSocket>, std::string>
    connect(Loop& loop, const sockaddr_storage& peer, UdpHandler& handler, const UdpOptions& options = {});
    ~UdpSocket();
    UdpSocket(const UdpSocket&) = delete;
    UdpSocket& operator=(const UdpSocket&) = delete;

    /// Queued, and sent with others at the end of the turn. `local`: the source address, zero = the kernel's choice.
    void send(std::span<const std::byte> bytes, const sockaddr_storage& to, const MappedAddress& local);
    void send(std::span<const std::byte> bytes); // connected sockets
    void flush();                                // sends what is queued now, not at the end of the turn
    [[nodiscard]] const sockaddr_storage& local() const noexcept { return local_; }
    [[nodiscard]] std::uint64_t stamps_unusable() const noexcept { return stamps_unusable_; }

private:
    struct Batch;
    UdpSocket(Loop& loop, int descriptor, UdpHandler& handler, const UdpOptions& options);
    void read();
    void deliver(std::size_t index, const ClockReading& reading);

    Loop& loop_;
    int descriptor_;
    UdpHandler& handler_;
    sockaddr_storage local_{};
    std::unique_ptr<Batch> batch_;
    std::uint64_t stamps_unusable_ = 0;
    TurnEnd flush_at_turn_end_;
    Poll poll_; // last: stopped before the descriptor is closed
};

} // namespace transports
