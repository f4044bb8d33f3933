#include "transports/udp.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

#include "transports/kernel_stamp.hpp"

namespace transports {

namespace {

constexpr int kRoundsPerTurn = 4;      // 256 datagrams, then others have their turn
constexpr int kSocketBuffer = 1 << 20; // a burst of some 1000 datagrams (the kernel counts about 700 octets each)
constexpr std::uint16_t kPrivileged = 1024;
constexpr std::size_t kControlSize = 128;

void set_option(int descriptor, int level, int option, int value) noexcept
{
    // Options that make things better; where one is refused the socket still works as the caller expects.
    (void)setsockopt(descriptor, level, option, &value, sizeof value);
}

bool is_wildcard(const sockaddr_storage& address) noexcept
{
    return mapped(address) == MappedAddress{} || mapped(address) == mapped(in_addr{htonl(INADDR_ANY)});
}

int open_socket(const sockaddr_storage& address, const UdpOptions& options) noexcept
{
    const int descriptor = socket(address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor >= 0) {
        enable_stamps(descriptor);
        set_option(descriptor, SOL_SOCKET, SO_RCVBUF, kSocketBuffer);
        set_option(descriptor, SOL_SOCKET, SO_SNDBUF, kSocketBuffer);
        if (address.ss_family == AF_INET6) {
            set_option(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        }
        if (is_wildcard(address)) { // any other socket has one address, which needs no telling
            set_option(descriptor, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
            set_option(descriptor, IPPROTO_IP, IP_PKTINFO, 1);
        }
        if (options.broadcast) {
            set_option(descriptor, SOL_SOCKET, SO_BROADCAST, 1);
        }
        if (options.whole) {
            // PROBE, not DO: the size is set by hand, and no forged ICMP may make it smaller.
            set_option(descriptor, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
            set_option(descriptor, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
        }
    }
    return descriptor;
}

std::string failure(const char* what, const sockaddr_storage& address, int error)
{
    return std::string{what} + " udp " + address_text(address) + ": " + std::strerror(error);
}

} // namespace

/// The buffers of one recvmmsg and one sendmmsg, set up once. Their memory is touched only as far as datagrams reach.
struct UdpSocket::Batch {
    struct Slot {
        alignas(cmsghdr) std::array<std::byte, kControlSize> control{};
        sockaddr_storage address{};
        iovec vector{};
    };
    struct Side {
        explicit Side(const UdpOptions& options)
            : slots(options.batch), headers(options.batch), memory{std::make_unique_for_overwrite<std::byte[]>(
                                                                options.batch * options.max_datagram)}
        {}
        std::vector<Slot> slots;
        std::vector<mmsghdr> headers;
        std::unique_ptr<std::byte[]> memory;
    };
    explicit Batch(const UdpOptions& the_options)
        : options{the_options}, in{options}, out{options}, used{the_options.batch}
    {}

    UdpOptions options;
    Side in;
    Side out;
    std::size_t queued = 0;
    std::size_t used = 0; // slots that the last read may have written to

    [[nodiscard]] std::span<std::byte> bytes(Side& side, std::size_t index) const noexcept
    {
        return {&side.memory[index * options.max_datagram], options.max_datagram};
    }

    /// Only what is no longer as the last read found it: most reads find one datagram or two.
    void prepare_read() noexcept
    {
        const std::size_t stale = std::exchange(used, 0);
        for (std::size_t i = 0; i < stale; ++i) {
            Slot& slot = in.slots[i];
            slot.vector = {bytes(in, i).data(), options.max_datagram};
            in.headers[i] = {};
            msghdr& header = in.headers[i].msg_hdr;
            header.msg_name = &slot.address;
            header.msg_namelen = sizeof slot.address;
            header.msg_iov = &slot.vector;
            header.msg_iovlen = 1;
            header.msg_control = slot.control.data();
            header.msg_controllen = slot.control.size();
        }
    }
};

std::variant<std::unique_ptr<UdpSocket>, std::string> UdpSocket::bind(Loop& loop, const sockaddr_storage& local,
                                                                      UdpHandler& handler, const UdpOptions& options)
{
    const int descriptor = open_socket(local, options);
    if (descriptor < 0) {
        return failure("socket", local, errno);
    }
    const std::uint16_t port = port_of(local);
    if (port != 0 && port < kPrivileged) {
        // ntpdate binds the wildcard on our port with this option set, and needs it set here too. Above 1023 any local
        // user could then bind beside us and serve false time.
        set_option(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
    }
    if (::bind(descriptor, as_sockaddr(local), address_length(local)) != 0) {
        const int error = errno;
        close(descriptor);
        return failure("bind", local, error);
    }
    return std::unique_ptr<UdpSocket>{new UdpSocket{loop, descriptor, handler, options}};
}

std::variant<std::unique_ptr<UdpSocket>, std::string> UdpSocket::connect(Loop& loop, const sockaddr_storage& peer,
                                                                         UdpHandler& handler, const UdpOptions& options)
{
    const int descriptor = open_socket(peer, options);
    if (descriptor < 0) {
        return failure("socket", peer, errno);
    }
    if (::connect(descriptor, as_sockaddr(peer), address_length(peer)) != 0) {
        const int error = errno;
        close(descriptor);
        return failure("connect", peer, error);
    }
    return std::unique_ptr<UdpSocket>{new UdpSocket{loop, descriptor, handler, options}};
}

UdpSocket::UdpSocket(Loop& loop, int descriptor, UdpHandler& handler, const UdpOptions& options)
    : loop_{loop}, descriptor_{descriptor}, handler_{handler}, batch_{std::make_unique<Batch>(options)},
      flush_at_turn_end_{loop, [this] { flush(); }}, poll_{loop, descriptor, [this](int) { read(); }}
{
    socklen_t length = sizeof local_;
    (void)getsockname(descriptor, as_sockaddr(local_), &length); // cannot fail on a socket just bound
    poll_.watch(UV_READABLE);
}

UdpSocket::~UdpSocket()
{
    poll_.end();
    close(descriptor_);
}

void UdpSocket::read()
{
    for (int round = 0; round < kRoundsPerTurn; ++round) {
        batch_->prepare_read();
        const int count = recvmmsg(descriptor_, batch_->in.headers.data(),
                                   static_cast<unsigned>(batch_->in.headers.size()), MSG_DONTWAIT, nullptr);
        if (count < 0) {
            batch_->used = 1;
            if (errno != EAGAIN && errno != EINTR) {
                handler_.on_refused(errno); // a queued ICMP error; reading it took it off the queue
                continue;
            }
            return;
        }
        batch_->used = static_cast<std::size_t>(count);
        const ClockReading reading = read_clocks();
        for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
            deliver(i, reading);
        }
        if (static_cast<std::size_t>(count) < batch_->in.headers.size()) {
            return;
        }
    }
}

void UdpSocket::deliver(std::size_t index, const ClockReading& reading)
{
    const Batch::Slot& slot = batch_->in.slots[index];
    mmsghdr& header = batch_->in.headers[index];
    const ControlMessages control = read_control(header.msg_hdr);
    Datagram datagram;
    datagram.bytes = batch_->bytes(batch_->in, index).first(header.msg_len);
    datagram.from = slot.address;
    datagram.local = control.local.value_or(MappedAddress{});
    datagram.truncated = (header.msg_hdr.msg_flags & MSG_TRUNC) != 0;
    datagram.arrival = reading.now;
    if (control.stamp) {
        if (const auto arrival = translate_stamp(reading, *control.stamp, loop_.earliest_arrival())) {
            datagram.arrival = *arrival;
        } else {
            ++stamps_unusable_;
        }
    }
    handler_.on_datagram(datagram);
}

void UdpSocket::send(std::span<const std::byte> bytes)
{
    send(bytes, sockaddr_storage{}, MappedAddress{});
}

void UdpSocket::send(std::span<const std::byte> bytes, const sockaddr_storage& to, const MappedAddress& local)
{
    if (batch_->queued == batch_->out.slots.size()) {
        flush();
    }
    const std::size_t index = batch_->queued++;
    Batch::Slot& slot = batch_->out.slots[index];
    const auto memory = batch_->bytes(batch_->out, index);
    const std::size_t size = std::min(bytes.size(), memory.size());
    std::copy_n(bytes.begin(), size, memory.begin());
    slot.vector = {memory.data(), size};
    batch_->out.headers[index] = {};
    msghdr& header = batch_->out.headers[index].msg_hdr;
    header.msg_iov = &slot.vector;
    header.msg_iovlen = 1;
    if (to.ss_family != AF_UNSPEC) {
        slot.address = to;
        header.msg_name = &slot.address;
        header.msg_namelen = address_length(to);
    }
    if (local != MappedAddress{}) {
        set_source_address(header, slot.control, local, to.ss_family == AF_INET6);
    }
    flush_at_turn_end_.request();
}

void UdpSocket::flush()
{
    std::size_t done = 0;
    std::size_t failed = 0;
    while (done < batch_->queued) {
        const int count = sendmmsg(descriptor_, &batch_->out.headers[done],
                                   static_cast<unsigned>(batch_->queued - done), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count > 0) {
            done += static_cast<std::size_t>(count);
            continue;
        }
        if (errno == EINTR) {
            continue;
        }
        // The first of the rest was refused; what is behind it may be for somebody else. A refusal by the peer of a
        // connected socket is reported here once and belongs to an earlier datagram: that one is tried again.
        if (errno == ECONNREFUSED) {
            handler_.on_refused(errno);
            if (sendmmsg(descriptor_, &batch_->out.headers[done], 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1) {
                ++failed;
            }
        } else {
            ++failed;
        }
        ++done;
    }
    batch_->queued = 0;
    if (failed != 0) {
        handler_.on_send_failed(failed);
    }
}

} // namespace transports
