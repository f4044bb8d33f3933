#include "transports/udp_asker.hpp"

#include <cerrno>
#include <cstdlib>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transports/kernel_stamp.hpp"

namespace transports {

namespace {

constexpr int kEventsPerTurn = 64;
constexpr int kDatagramsPerSocket = 4; // then the others have their turn
constexpr std::size_t kControlSize = 128;
constexpr std::uint32_t kPlaceBits = 32;

/// The port of `address` is taken for the any-address of its family.
int bind_port(int descriptor, sa_family_t family, std::uint16_t port) noexcept
{
    sockaddr_storage any = from_mapped(family == AF_INET ? mapped(in_addr{INADDR_ANY}) : mapped(in6addr_any), port, 0);
    return ::bind(descriptor, as_sockaddr(any), address_length(any)) == 0 ? 0 : errno;
}

/// A connected descriptor, or -errno.
int connect_to(const sockaddr_storage& peer, std::uint16_t source_port) noexcept
{
    const int descriptor = socket(peer.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
        return -errno;
    }
    enable_stamps(descriptor);
    int error = source_port == 0 ? 0 : bind_port(descriptor, peer.ss_family, source_port);
    if (error == 0 && ::connect(descriptor, as_sockaddr(peer), address_length(peer)) != 0) {
        error = errno;
    }
    if (error != 0) {
        ::close(descriptor);
        return -error;
    }
    return descriptor;
}

int make_epoll() noexcept
{
    const int descriptor = epoll_create1(EPOLL_CLOEXEC);
    if (descriptor < 0) {
        std::abort(); // out of descriptors before anything was opened: the start-up check allowed for this one
    }
    return descriptor;
}

} // namespace

UdpAsker::UdpAsker(Loop& loop, UdpAskerHandler& handler, std::size_t bound)
    : loop_{loop}, handler_{handler}, bound_{bound}, epoll_{make_epoll()}, poll_{loop, epoll_, [this](int) { ready(); }}
{
    poll_.watch(UV_READABLE);
}

UdpAsker::~UdpAsker()
{
    poll_.end();
    for (const Socket& socket : sockets_) {
        if (socket.descriptor >= 0) {
            ::close(socket.descriptor);
        }
    }
    ::close(epoll_);
}

std::variant<std::uint64_t, int> UdpAsker::open(const sockaddr_storage& peer, std::uint16_t source_port)
{
    if (is_full()) {
        return EMFILE;
    }
    const int descriptor = connect_to(peer, source_port);
    if (descriptor < 0) {
        return -descriptor;
    }
    if (free_.empty()) {
        free_.push_back(static_cast<std::uint32_t>(sockets_.size()));
        sockets_.emplace_back();
    }
    const std::uint32_t place = free_.back();
    Socket& socket = sockets_[place];
    const std::uint64_t number = std::uint64_t{socket.generation + 1} << kPlaceBits | place;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = number;
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) != 0) {
        const int error = errno;
        ::close(descriptor);
        return error;
    }
    free_.pop_back();
    ++socket.generation;
    socket.descriptor = descriptor;
    return number;
}

const UdpAsker::Socket* UdpAsker::find(std::uint64_t number) const noexcept
{
    const auto place = static_cast<std::uint32_t>(number);
    const bool known = place < sockets_.size() && sockets_[place].descriptor >= 0 &&
                       sockets_[place].generation == number >> kPlaceBits;
    return known ? &sockets_[place] : nullptr;
}

int UdpAsker::send(std::uint64_t socket, std::span<const std::byte> bytes) noexcept
{
    const Socket* const found = find(socket);
    if (found == nullptr) {
        return EBADF;
    }
    const auto sent = ::send(found->descriptor, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? errno : 0;
}

void UdpAsker::close(std::uint64_t socket) noexcept
{
    if (find(socket) == nullptr) {
        return;
    }
    const auto place = static_cast<std::uint32_t>(socket);
    ::close(sockets_[place].descriptor); // which takes it out of the watch
    sockets_[place].descriptor = -1;
    free_.push_back(place);
}

std::uint16_t UdpAsker::local_port(std::uint64_t socket) const noexcept
{
    const Socket* const found = find(socket);
    sockaddr_storage local{};
    socklen_t length = sizeof local;
    if (found == nullptr || getsockname(found->descriptor, as_sockaddr(local), &length) != 0) {
        return 0;
    }
    return port_of(local);
}

void UdpAsker::ready()
{
    std::array<epoll_event, kEventsPerTurn> events{};
    const int count = epoll_wait(epoll_, events.data(), kEventsPerTurn, 0);
    for (int i = 0; i < count; ++i) {
        read(events.at(static_cast<std::size_t>(i)).data.u64);
    }
}

void UdpAsker::read(std::uint64_t number)
{
    for (int round = 0; round < kDatagramsPerSocket; ++round) {
        const Socket* const socket = find(number); // an earlier datagram's handler may have closed it
        if (socket == nullptr) {
            return;
        }
        alignas(cmsghdr) std::array<std::byte, kControlSize> control{};
        iovec vector{buffer_.data(), buffer_.size()};
        Datagram datagram;
        msghdr header{};
        header.msg_name = &datagram.from;
        header.msg_namelen = sizeof datagram.from;
        header.msg_iov = &vector;
        header.msg_iovlen = 1;
        header.msg_control = control.data();
        header.msg_controllen = control.size();
        const auto size = recvmsg(socket->descriptor, &header, MSG_DONTWAIT);
        if (size < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                handler_.on_refused(number, errno); // a queued ICMP error; reading it took it off the queue
            }
            return;
        }
        const ClockReading reading = read_clocks();
        const auto stamp = read_control(header).stamp;
        datagram.bytes = std::span{buffer_}.first(static_cast<std::size_t>(size));
        datagram.truncated = (header.msg_flags & MSG_TRUNC) != 0;
        datagram.arrival = reading.now;
        if (const auto arrival = stamp ? translate_stamp(reading, *stamp, loop_.earliest_arrival()) : std::nullopt) {
            datagram.arrival = *arrival;
        }
        handler_.on_datagram(number, datagram);
    }
}

} // namespace transports
