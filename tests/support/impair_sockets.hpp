// Where an impaired path takes datagrams from and puts them: a UDP relay, or two TUN devices in two namespaces.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <poll.h>

#include "tests/support/impaired_path.hpp"

namespace support {

/// Up is from the client to the server, from the left namespace to the right one.
enum class Direction : std::uint8_t { up, down };

struct Arrived {
    Direction direction{};
    Datagram datagram;
};

/// Everything throws std::system_error for what the operating system refuses at the start; later, a datagram that
/// cannot be read or sent is lost, as on any network.
class Medium {
public:
    Medium() = default;
    virtual ~Medium() = default;
    Medium(const Medium&) = delete;
    Medium& operator=(const Medium&) = delete;

    virtual void add_to(std::vector<pollfd>& watched) const = 0;
    /// The next datagram that can be had from this descriptor without waiting.
    [[nodiscard]] virtual std::optional<Arrived> read(int descriptor) = 0;
    virtual void write(Direction direction, const Datagram& datagram) = 0;
    [[nodiscard]] virtual std::string where() const = 0;
    /// The server sees every client at another port from now on; false when this medium has no ports.
    [[nodiscard]] virtual bool rebind() = 0;
    /// The next client that is new gets the last one's port; false as above.
    [[nodiscard]] virtual bool hand_over() = 0;
};

/// Listens on a port of 127.0.0.1 that the kernel picks; each client is a flow with a socket of its own to the server.
[[nodiscard]] std::unique_ptr<Medium> relay_udp(const std::string& address, std::uint16_t port);

/// A TUN device "path" in each of two network namespaces, given as paths of namespace files; a packet's flow is its IP
/// protocol. IPv4 only: what a kernel says by itself on a new link in IPv6 would blur every count.
[[nodiscard]] std::unique_ptr<Medium> join_namespaces(const std::string& left, const std::string& right);

} // namespace support
