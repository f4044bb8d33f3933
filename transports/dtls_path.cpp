#include "transports/dtls_path.hpp"

#include <algorithm>

namespace transports {

namespace {

constexpr std::size_t kUdpOverIpv4 = 20 + 8;
constexpr std::size_t kUdpOverIpv6 = 40 + 8;
// A peer on a link with a large MTU sends its whole flight of certificates at once.
constexpr std::size_t kMaxReceived = 16384;
// The record header, and the dearest of the suites: CBC with SHA-384 has an initialisation vector, a MAC and padding.
constexpr std::size_t kDearestRecord = 13 + 16 + 48 + 16;
// OpenSSL gives up after twelve retransmissions; they must reach as far as the handshake's own deadline.
constexpr int kRetransmissions = 12;
constexpr Nanoseconds kLongestWait = std::chrono::milliseconds{800};

} // namespace

std::size_t datagram_room(std::uint16_t mtu, bool ipv6) noexcept
{
    return mtu - (ipv6 ? kUdpOverIpv6 : kUdpOverIpv4);
}

std::size_t message_room(std::uint16_t mtu, bool ipv6) noexcept
{
    return datagram_room(mtu, ipv6) - kDearestRecord;
}

DatagramWire::Setting wire_setting(const DatagramOptions& options, const sockaddr_storage& peer) noexcept
{
    const bool ipv6 = peer.ss_family == AF_INET6;
    return {datagram_room(options.mtu, ipv6), ipv6, std::max(kLongestWait, options.handshake / kRetransmissions * 2)};
}

UdpOptions path_socket(std::size_t batch) noexcept
{
    return {kMaxReceived, batch, true};
}

} // namespace transports
