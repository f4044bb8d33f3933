#include "tests/support/impair_sockets.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace support {
namespace {

constexpr std::size_t kLargest = 65536;

int must(int result, const std::string& what)
{
    if (result < 0) {
        throw std::system_error{errno, std::generic_category(), what};
    }
    return result;
}

class Descriptor {
public:
    explicit Descriptor(int number) : number_(number) {}
    ~Descriptor()
    {
        if (number_ >= 0) {
            ::close(number_);
        }
    }
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept
    {
        std::swap(number_, other.number_);
        return *this;
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    [[nodiscard]] int get() const noexcept { return number_; }

private:
    int number_;
};

sockaddr_in ipv4(const std::string& address, std::uint16_t port)
{
    sockaddr_in out{};
    out.sin_family = AF_INET;
    out.sin_port = htons(port);
    if (::inet_pton(AF_INET, address.c_str(), &out.sin_addr) != 1) {
        throw std::system_error{EINVAL, std::generic_category(), address};
    }
    return out;
}

const sockaddr* generic(const sockaddr_in& address)
{
    return reinterpret_cast<const sockaddr*>(&address); // what the socket calls ask for
}

Descriptor udp_socket()
{
    Descriptor made{must(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket")};
    const int octets = 4 << 20;
    (void)::setsockopt(made.get(), SOL_SOCKET, SO_RCVBUF, &octets, sizeof octets);
    return made;
}

class UdpRelay final : public Medium {
public:
    explicit UdpRelay(const sockaddr_in& server) : server_(server), listener_(udp_socket())
    {
        const sockaddr_in any = ipv4("127.0.0.1", 0);
        must(::bind(listener_.get(), generic(any), sizeof any), "bind");
    }

    void add_to(std::vector<pollfd>& watched) const override
    {
        watched.push_back({listener_.get(), POLLIN, 0});
        for (const Flow& flow : flows_) {
            watched.push_back({flow.upstream.get(), POLLIN, 0});
        }
    }

    std::optional<Arrived> read(int descriptor) override
    {
        sockaddr_in from{};
        socklen_t length = sizeof from;
        const ssize_t got =
            ::recvfrom(descriptor, buffer_.data(), buffer_.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
        if (got < 0) {
            return std::nullopt; // nothing left, or the server's port is closed
        }
        Datagram datagram{0, {buffer_.begin(), buffer_.begin() + got}};
        if (descriptor == listener_.get()) {
            datagram.flow = flow_of(from);
            return Arrived{Direction::up, std::move(datagram)};
        }
        const auto flow = std::find_if(flows_.begin(), flows_.end(),
                                       [&](const Flow& each) { return each.upstream.get() == descriptor; });
        datagram.flow = static_cast<std::uint32_t>(flow - flows_.begin());
        return Arrived{Direction::down, std::move(datagram)};
    }

    void write(Direction direction, const Datagram& datagram) override
    {
        const Flow& flow = flows_.at(datagram.flow);
        const bool up = direction == Direction::up;
        const sockaddr_in& to = up ? server_ : flow.client;
        (void)::sendto(up ? flow.upstream.get() : listener_.get(), datagram.octets.data(), datagram.octets.size(), 0,
                       up ? nullptr : generic(to), up ? 0 : sizeof to);
    }

    std::string where() const override
    {
        sockaddr_in bound{};
        socklen_t length = sizeof bound;
        must(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&bound), &length), "getsockname");
        return "127.0.0.1:" + std::to_string(ntohs(bound.sin_port));
    }

    bool rebind() override
    {
        for (Flow& flow : flows_) {
            flow.upstream = open_upstream();
        }
        return true;
    }

    bool hand_over() override
    {
        handing_over_ = !flows_.empty();
        return handing_over_;
    }

private:
    struct Flow {
        sockaddr_in client{};
        Descriptor upstream;
    };

    Descriptor open_upstream() const
    {
        Descriptor made = udp_socket();
        must(::connect(made.get(), generic(server_), sizeof server_), "connect");
        return made;
    }

    std::uint32_t flow_of(const sockaddr_in& client)
    {
        const auto known = std::find_if(flows_.begin(), flows_.end(), [&](const Flow& each) {
            return each.client.sin_port == client.sin_port && each.client.sin_addr.s_addr == client.sin_addr.s_addr;
        });
        if (known != flows_.end()) {
            return static_cast<std::uint32_t>(known - flows_.begin());
        }
        if (std::exchange(handing_over_, false)) {
            flows_.back().client = client;
        } else {
            flows_.push_back({client, open_upstream()});
        }
        return static_cast<std::uint32_t>(flows_.size() - 1);
    }

    sockaddr_in server_;
    Descriptor listener_;
    std::vector<Flow> flows_;
    bool handing_over_ = false;
    std::vector<std::byte> buffer_{kLargest};
};

Descriptor open_tun(const std::string& space)
{
    const Descriptor inside{must(::open(space.c_str(), O_RDONLY | O_CLOEXEC), space)};
    must(::setns(inside.get(), CLONE_NEWNET), "setns " + space);
    Descriptor tun{must(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), "/dev/net/tun")};
    ifreq wanted{};
    wanted.ifr_flags = IFF_TUN | IFF_NO_PI;
    std::strcpy(wanted.ifr_name, "path");
    must(::ioctl(tun.get(), TUNSETIFF, &wanted), "TUNSETIFF");
    return tun;
}

class TunPair final : public Medium {
public:
    TunPair(const std::string& left, const std::string& right) : ends_{open_tun(left), open_tun(right)} {}

    void add_to(std::vector<pollfd>& watched) const override
    {
        for (const Descriptor& end : ends_) {
            watched.push_back({end.get(), POLLIN, 0});
        }
    }

    std::optional<Arrived> read(int descriptor) override
    {
        constexpr std::size_t header = 20;
        constexpr std::size_t protocol = 9;
        while (true) {
            const ssize_t got = ::read(descriptor, buffer_.data(), buffer_.size());
            if (got < 0) {
                return std::nullopt;
            }
            if (static_cast<std::size_t>(got) >= header && std::to_integer<int>(buffer_[0]) >> 4 == 4) {
                return Arrived{
                    descriptor == ends_[0].get() ? Direction::up : Direction::down,
                    {std::to_integer<std::uint32_t>(buffer_[protocol]), {buffer_.begin(), buffer_.begin() + got}}};
            }
        }
    }

    void write(Direction direction, const Datagram& datagram) override
    {
        const Descriptor& end = ends_.at(direction == Direction::up ? 1 : 0);
        (void)!::write(end.get(), datagram.octets.data(), datagram.octets.size());
    }

    std::string where() const override { return "path"; }
    bool rebind() override { return false; }
    bool hand_over() override { return false; }

private:
    std::array<Descriptor, 2> ends_;
    std::vector<std::byte> buffer_{kLargest};
};

} // namespace

std::unique_ptr<Medium> relay_udp(const std::string& address, std::uint16_t port)
{
    return std::make_unique<UdpRelay>(ipv4(address, port));
}

std::unique_ptr<Medium> join_namespaces(const std::string& left, const std::string& right)
{
    return std::make_unique<TunPair>(left, right);
}

} // namespace support
