#include "gateway/udp_front.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "transports/address.hpp"

namespace gateway {

namespace {

using transports::MappedAddress;

bool is_loopback(const MappedAddress& address) noexcept
{
    static const AddressBlock kIpv4{transports::mapped(in_addr{htonl(0x7f000000U)}), 104};
    static const AddressBlock kIpv6{transports::mapped(in6addr_loopback), 128};
    return kIpv4.contains(address) || kIpv6.contains(address);
}

std::uint32_t zone_of(const sockaddr_storage& address) noexcept
{
    if (address.ss_family != AF_INET6) {
        return 0;
    }
    sockaddr_in6 v6{};
    std::memcpy(&v6, &address, sizeof v6);
    return v6.sin6_scope_id;
}

} // namespace

/// One listening socket.
class UdpFront::Port final : public transports::UdpHandler {
public:
    Port(UdpFront& front, std::uint16_t index) : front_{front}, index_{index} {}

    std::optional<std::string> bind(const sockaddr_storage& local)
    {
        auto result = transports::UdpSocket::bind(front_.loop_, local, *this);
        if (auto* error = std::get_if<std::string>(&result)) {
            return std::move(*error);
        }
        socket_ = std::move(std::get<std::unique_ptr<transports::UdpSocket>>(result));
        return std::nullopt;
    }
    void on_datagram(const transports::Datagram& datagram) override { front_.on_datagram(index_, datagram); }
    void on_refused(int) override {} // an unconnected socket hears of its clients' ends; they lose nothing by it
    void on_send_failed(std::size_t count) override
    {
        if (telling_) {
            told_ = false;
        } else {
            front_.owner_.on_undelivered(count);
        }
    }
    bool tell(std::span<const std::byte> packet, const sockaddr_storage& to, const MappedAddress& local)
    {
        socket_->flush(); // what is queued has its own failures
        telling_ = told_ = true;
        socket_->send(packet, to, local);
        socket_->flush();
        telling_ = false;
        return told_;
    }
    [[nodiscard]] transports::UdpSocket& socket() noexcept { return *socket_; }
    [[nodiscard]] const transports::UdpSocket& socket() const noexcept { return *socket_; }

private:
    UdpFront& front_;
    std::uint16_t index_;
    std::unique_ptr<transports::UdpSocket> socket_;
    bool telling_ = false;
    bool told_ = false;
};

UdpFront::UdpFront(transports::Loop& loop, const Tunnel& tunnel, Default without_clients, UdpFrontOwner& owner)
    : loop_{loop}, tunnel_{tunnel}, without_clients_{without_clients}, owner_{owner}
{}

UdpFront::~UdpFront() = default;

std::optional<std::string> UdpFront::bind()
{
    for (const SocketAddress& address : tunnel_.listen) {
        auto port = std::make_unique<Port>(*this, static_cast<std::uint16_t>(ports_.size()));
        if (auto error = port->bind(address.storage)) {
            return "tunnel " + tunnel_.name + ": " + *error;
        }
        ports_.push_back(std::move(port));
    }
    return std::nullopt;
}

std::vector<std::string> UdpFront::addresses() const
{
    std::vector<std::string> out;
    for (const auto& port : ports_) {
        out.push_back(transports::address_text(port->socket().local()));
    }
    return out;
}

bool UdpFront::may_ask(const MappedAddress& client) const noexcept
{
    if (tunnel_.clients.empty()) {
        return without_clients_ == Default::everybody || is_loopback(client);
    }
    return std::any_of(tunnel_.clients.begin(), tunnel_.clients.end(),
                       [&](const AddressBlock& block) { return block.contains(client); });
}

/// A forged source that is one of our own sockets would make us answer ourselves.
bool UdpFront::is_own_listener(const sockaddr_storage& address) const noexcept
{
    return std::any_of(ports_.begin(), ports_.end(), [&](const auto& port) {
        const sockaddr_storage& own = port->socket().local();
        return transports::port_of(own) == transports::port_of(address) &&
               transports::mapped(own) == transports::mapped(address);
    });
}

void UdpFront::on_datagram(std::uint16_t listener, const transports::Datagram& datagram)
{
    const MappedAddress client = transports::mapped(datagram.from);
    if (stopped_) {
        owner_.on_refused_request(ntp_shim::DropReason::no_channel);
    } else if (datagram.truncated) {
        owner_.on_refused_request(ntp_shim::DropReason::too_long);
    } else if (!may_ask(client)) {
        owner_.on_refused_request(ntp_shim::DropReason::not_allowed);
    } else if (is_own_listener(datagram.from)) {
        owner_.on_refused_request(ntp_shim::DropReason::bad_source);
    } else {
        ntp_shim::ClientEndpoint from;
        from.address = client;
        from.local = datagram.local;
        from.scope = zone_of(datagram.from);
        from.port = transports::port_of(datagram.from);
        from.listener = listener;
        owner_.on_request(from, datagram.bytes, datagram.arrival);
    }
}

void UdpFront::deliver(const ntp_shim::ClientEndpoint& client, std::span<const std::byte> packet)
{
    const sockaddr_storage to = transports::from_mapped(client.address, client.port, client.scope);
    ports_.at(client.listener)->socket().send(packet, to, client.local);
}

bool UdpFront::tell(const ntp_shim::ClientEndpoint& client, std::span<const std::byte> packet)
{
    const sockaddr_storage to = transports::from_mapped(client.address, client.port, client.scope);
    return ports_.at(client.listener)->tell(packet, to, client.local);
}

} // namespace gateway
