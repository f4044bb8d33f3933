#include "transports/address.hpp"

#include <algorithm>
#include <cstring>

#include <arpa/inet.h>
#include <net/if.h>

namespace transports {

namespace {

constexpr std::size_t kMappedPrefix = 12;

sockaddr_in as_v4(const sockaddr_storage& address) noexcept
{
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    return v4;
}

sockaddr_in6 as_v6(const sockaddr_storage& address) noexcept
{
    sockaddr_in6 v6{};
    std::memcpy(&v6, &address, sizeof v6);
    return v6;
}

bool is_mapped_v4(const MappedAddress& address) noexcept
{
    return std::all_of(address.begin(), address.begin() + 10, [](std::byte octet) { return octet == std::byte{0}; }) &&
           address[10] == std::byte{0xff} && address[11] == std::byte{0xff};
}

} // namespace

socklen_t address_length(const sockaddr_storage& address) noexcept
{
    return address.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
}

std::uint16_t port_of(const sockaddr_storage& address) noexcept
{
    return ntohs(address.ss_family == AF_INET6 ? as_v6(address).sin6_port : as_v4(address).sin_port);
}

MappedAddress mapped(const in_addr& address) noexcept
{
    MappedAddress out{};
    out[10] = out[11] = std::byte{0xff};
    std::memcpy(&out[kMappedPrefix], &address, sizeof address);
    return out;
}

MappedAddress mapped(const in6_addr& address) noexcept
{
    MappedAddress out{};
    std::memcpy(out.data(), &address, sizeof address);
    return out;
}

MappedAddress mapped(const sockaddr_storage& address) noexcept
{
    return address.ss_family == AF_INET6 ? mapped(as_v6(address).sin6_addr) : mapped(as_v4(address).sin_addr);
}

MappedAddress source_key(const MappedAddress& address) noexcept
{
    if (is_mapped_v4(address)) {
        return address;
    }
    MappedAddress key{};
    std::copy_n(address.begin(), 8, key.begin());
    return key;
}

std::string address_text(const sockaddr_storage& address)
{
    std::array<char, INET6_ADDRSTRLEN> text{};
    const std::string port = std::to_string(port_of(address));
    if (address.ss_family == AF_INET6) {
        const sockaddr_in6 v6 = as_v6(address);
        if (inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size()) == nullptr) {
            return "?";
        }
        std::string host = text.data();
        if (v6.sin6_scope_id != 0) {
            host += "%" + std::to_string(v6.sin6_scope_id);
        }
        return "[" + host + "]:" + port;
    }
    const sockaddr_in v4 = as_v4(address);
    if (inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size()) == nullptr) {
        return "?";
    }
    return std::string{text.data()} + ":" + port;
}

std::optional<sockaddr_storage> numeric_address(const std::string& host, std::uint16_t port) noexcept
{
    sockaddr_storage out{};
    sockaddr_in v4{};
    if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        std::memcpy(&out, &v4, sizeof v4);
        return out;
    }
    sockaddr_in6 v6{};
    const std::size_t zone = host.find('%');
    if (inet_pton(AF_INET6, host.substr(0, zone).c_str(), &v6.sin6_addr) == 1) {
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port);
        if (zone != std::string::npos) {
            v6.sin6_scope_id = if_nametoindex(host.c_str() + zone + 1);
            if (v6.sin6_scope_id == 0) {
                return std::nullopt;
            }
        }
        std::memcpy(&out, &v6, sizeof v6);
        return out;
    }
    return std::nullopt;
}

sockaddr_storage from_mapped(const MappedAddress& address, std::uint16_t port, std::uint32_t scope) noexcept
{
    sockaddr_storage out{};
    if (is_mapped_v4(address)) {
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        std::memcpy(&v4.sin_addr, &address[kMappedPrefix], sizeof v4.sin_addr);
        std::memcpy(&out, &v4, sizeof v4);
        return out;
    }
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    v6.sin6_scope_id = scope;
    std::memcpy(&v6.sin6_addr, address.data(), sizeof v6.sin6_addr);
    std::memcpy(&out, &v6, sizeof v6);
    return out;
}

const sockaddr* as_sockaddr(const sockaddr_storage& address) noexcept
{
    return reinterpret_cast<const sockaddr*>(&address);
}

sockaddr* as_sockaddr(sockaddr_storage& address) noexcept
{
    return reinterpret_cast<sockaddr*>(&address);
}

} // namespace transports
