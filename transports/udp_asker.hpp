// Asks peers over UDP from many sockets: each request may leave from a port of its own (RFC 9109), and only the asked
// peer's datagrams come back to it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "transports/loop.hpp"
#include "transports/udp.hpp"

namespace transports {

class UdpAskerHandler {
public:
    /// May close any socket, this one too.
    virtual void on_datagram(std::uint64_t socket, const Datagram& datagram) = 0;
    /// The peer refused (ECONNREFUSED), or the network did.
    virtual void on_refused(std::uint64_t socket, int error) = 0;

protected:
    ~UdpAskerHandler() = default;
};

/// Bounded: never more sockets than it was told. Cheap to open and close, since all share one buffer and one watch.
class UdpAsker {
public:
    /// `handler` outlives it.
    UdpAsker(Loop& loop, UdpAskerHandler& handler, std::size_t bound);
    ~UdpAsker();
    UdpAsker(const UdpAsker&) = delete;
    UdpAsker& operator=(const UdpAsker&) = delete;

    /// A socket connected to `peer`: its number, never used twice, or errno (EMFILE when at the bound). `source_port`
    /// 0: the kernel picks one at random.
    [[nodiscard]] std::variant<std::uint64_t, int> open(const sockaddr_storage& peer, std::uint16_t source_port);
    /// At once, without a queue. 0 or errno.
    [[nodiscard]] int send(std::uint64_t socket, std::span<const std::byte> bytes) noexcept;
    void close(std::uint64_t socket) noexcept; // a number that is closed already does nothing
    [[nodiscard]] bool is_full() const noexcept { return free_.empty() && sockets_.size() >= bound_; }
    [[nodiscard]] std::uint16_t local_port(std::uint64_t socket) const noexcept; // 0 when closed

private:
    struct Socket {
        int descriptor = -1;
        std::uint32_t generation = 0;
    };
    void ready();
    void read(std::uint64_t number);
    [[nodiscard]] const Socket* find(std::uint64_t number) const noexcept;

    Loop& loop_;
    UdpAskerHandler& handler_;
    std::size_t bound_;
    std::vector<Socket> sockets_; // a number is generation and place
    std::vector<std::uint32_t> free_;
    std::array<std::byte, kMaxDatagram> buffer_{};
    int epoll_;
    Poll poll_; // last: stopped before the descriptor is closed
};

} // namespace transports
