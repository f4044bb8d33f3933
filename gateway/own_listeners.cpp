#include "gateway/own_listeners.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <variant>

#include <ifaddrs.h>

#include "gateway/address.hpp"

namespace gateway {

Locality locality_of(const SocketAddress& address)
{
    if (address.is_loopback()) {
        return Locality::local;
    }
    ifaddrs* listed = nullptr;
    if (getifaddrs(&listed) != 0) {
        return Locality::unknown;
    }
    const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> interfaces{listed, &freeifaddrs};
    for (const auto* entry = interfaces.get(); entry != nullptr; entry = entry->ifa_next) {
        if (entry->ifa_addr == nullptr ||
            (entry->ifa_addr->sa_family != AF_INET && entry->ifa_addr->sa_family != AF_INET6)) {
            continue;
        }
        SocketAddress own;
        std::memcpy(&own.storage, entry->ifa_addr,
                    entry->ifa_addr->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
        if (same_host(own, address)) {
            return Locality::local;
        }
    }
    return Locality::remote;
}

bool reaches(const SocketAddress& address, const SocketAddress& listener)
{
    // What is sent to the unspecified address comes to the loopback.
    return clash(address, listener) &&
           (!listener.is_any() || address.is_any() || locality_of(address) != Locality::remote);
}

void OwnListeners::add(const Tunnel& tunnel, const std::vector<std::string>& bound)
{
    const bool on_udp = tunnel.role == Role::client || tunnel.channel == ChannelKind::dtls ||
                        tunnel.channel == ChannelKind::mac || tunnel.channel == ChannelKind::nts;
    const auto count = on_udp ? std::min(bound.size(), tunnel.listen.size()) : 0;
    for (std::size_t at = 0; at < count; ++at) {
        const auto parsed = parse_socket_address(bound[at]);
        if (const auto* address = std::get_if<SocketAddress>(&parsed)) {
            addresses_.push_back(*address);
        }
    }
}

bool OwnListeners::reached_by(const SocketAddress& address) const
{
    return std::any_of(addresses_.begin(), addresses_.end(),
                       [&](const SocketAddress& own) { return reaches(address, own); });
}

} // namespace gateway
