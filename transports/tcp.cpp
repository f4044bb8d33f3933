#include "transports/tcp.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transports/kernel_stamp.hpp"

namespace transports {

namespace {

constexpr std::size_t kReadSize = std::size_t{17} * 1024; // one TLS record and its overhead
constexpr int kReadsPerTurn = 4;
constexpr int kAcceptsPerTurn = 64;
constexpr int kBacklog = 1024;
constexpr int kUnsentLimit = 16 * 1024;
constexpr auto kLinger = std::chrono::seconds{1};
constexpr auto kDescriptorPause = std::chrono::milliseconds{100};

void set_option(int descriptor, int level, int option, int value) noexcept
{
    // Options that make things better; where one is refused the stream still works.
    (void)setsockopt(descriptor, level, option, &value, sizeof value);
}

/// A descriptor whose stream is done with: sends what is left, ends its direction, reads away what still comes.
class Lingering final : public LoopGuest {
public:
    Lingering(Loop& loop, int descriptor, std::vector<std::byte> unsent)
        : loop_{loop}, descriptor_{descriptor}, unsent_{std::move(unsent)},
          timer_{loop, [this] { loop_.dismiss(this); }}, poll_{loop, descriptor, [this](int events) { ready(events); }}
    {
        timer_.start(kLinger);
        if (unsent_.empty()) {
            (void)shutdown(descriptor_, SHUT_WR); // a stream already broken has no end to announce
        }
        poll_.watch(unsent_.empty() ? UV_READABLE : UV_READABLE | UV_WRITABLE);
    }
    ~Lingering() override
    {
        poll_.watch(0);
        close(descriptor_);
    }
    Lingering(const Lingering&) = delete;
    Lingering& operator=(const Lingering&) = delete;

private:
    void ready(int events)
    {
        if ((events & UV_WRITABLE) != 0 && !unsent_.empty()) {
            const ssize_t count = ::send(descriptor_, unsent_.data(), unsent_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
            if (count > 0) {
                unsent_.erase(unsent_.begin(), unsent_.begin() + count);
            }
            if (unsent_.empty()) {
                (void)shutdown(descriptor_, SHUT_WR);
                poll_.watch(UV_READABLE);
            }
        }
        std::array<std::byte, 4096> away; // NOLINT(cppcoreguidelines-pro-type-member-init): written before it is read
        const ssize_t count = recv(descriptor_, away.data(), away.size(), MSG_DONTWAIT);
        if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) {
            loop_.dismiss(this);
        }
    }

    Loop& loop_;
    int descriptor_;
    std::vector<std::byte> unsent_;
    Timer timer_;
    Poll poll_;
};

} // namespace

void prepare_stream(int descriptor) noexcept
{
    set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT, kUnsentLimit);
    enable_stamps(descriptor);
}

void linger(Loop& loop, int descriptor, std::vector<std::byte> unsent)
{
    loop.adopt(std::make_unique<Lingering>(loop, descriptor, std::move(unsent)));
}

TcpStream::TcpStream(Loop& loop, int descriptor, TcpHandler& handler)
    : loop_{loop}, descriptor_{descriptor}, handler_{handler}, poll_{std::make_unique<Poll>(
                                                                   loop, descriptor,
                                                                   [this](int events) { ready(events); })}
{
    prepare_stream(descriptor);
    poll_->watch(UV_READABLE);
}

TcpStream::~TcpStream()
{
    poll_.reset();
    if (descriptor_ >= 0) {
        close(descriptor_);
    }
}

void TcpStream::finish()
{
    if (descriptor_ < 0) {
        return;
    }
    poll_.reset();
    linger(loop_, descriptor_, std::move(unsent_));
    unsent_.clear();
    descriptor_ = -1;
}

void TcpStream::ready(int events)
{
    if ((events & UV_WRITABLE) != 0) {
        write_unsent();
    }
    if ((events & UV_READABLE) != 0 && descriptor_ >= 0) {
        read();
    }
}

void TcpStream::read()
{
    std::array<std::byte, kReadSize> buffer; // NOLINT(cppcoreguidelines-pro-type-member-init): filled by recvmsg
    for (int round = 0; round < kReadsPerTurn && descriptor_ >= 0; ++round) {
        alignas(cmsghdr) std::array<std::byte, 128> control{};
        iovec vector{buffer.data(), buffer.size()};
        msghdr message{};
        message.msg_iov = &vector;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        const ssize_t count = recvmsg(descriptor_, &message, MSG_DONTWAIT);
        if (count < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                handler_.on_io_error(errno);
            }
            return;
        }
        if (count == 0) {
            poll_->watch(poll_->watched() & ~UV_READABLE); // the end stays readable for ever
            handler_.on_end_of_stream();
            return;
        }
        const ClockReading reading = read_clocks();
        Instant arrival = reading.now;
        if (const auto stamp = read_control(message).stamp) {
            arrival = translate_stamp(reading, *stamp, loop_.earliest_arrival()).value_or(reading.now);
        }
        handler_.on_bytes(std::span{buffer}.first(static_cast<std::size_t>(count)), arrival);
        if (static_cast<std::size_t>(count) < buffer.size()) {
            return;
        }
    }
}

void TcpStream::write(std::span<const std::byte> bytes)
{
    if (descriptor_ < 0 || bytes.empty()) {
        return;
    }
    if (unsent_.empty()) {
        const ssize_t count = ::send(descriptor_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count > 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(count));
        }
        // An error is left for the reading side to find: one place reports it, on a later turn.
    }
    if (!bytes.empty()) {
        unsent_.insert(unsent_.end(), bytes.begin(), bytes.end());
        poll_->watch(poll_->watched() | UV_WRITABLE);
    }
}

void TcpStream::acknowledge_at_once() noexcept
{
    if (descriptor_ >= 0) {
        set_option(descriptor_, IPPROTO_TCP, TCP_QUICKACK, 1);
    }
}

void TcpStream::write_unsent()
{
    if (!unsent_.empty()) {
        const ssize_t count = ::send(descriptor_, unsent_.data(), unsent_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                unsent_.clear(); // the reading side reports why
            }
        } else {
            unsent_.erase(unsent_.begin(), unsent_.begin() + count);
        }
    }
    if (unsent_.empty()) {
        poll_->watch(poll_->watched() & ~UV_WRITABLE);
    }
}

std::variant<std::unique_ptr<TcpAcceptor>, std::string> TcpAcceptor::listen(Loop& loop, const sockaddr_storage& local,
                                                                            Accepted accepted)
{
    const int descriptor = socket(local.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
        return "socket tcp " + address_text(local) + ": " + std::strerror(errno);
    }
    set_option(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
    if (local.ss_family == AF_INET6) {
        set_option(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    if (::bind(descriptor, as_sockaddr(local), address_length(local)) != 0 || ::listen(descriptor, kBacklog) != 0) {
        const int error = errno;
        close(descriptor);
        return "bind tcp " + address_text(local) + ": " + std::strerror(error);
    }
    return std::unique_ptr<TcpAcceptor>{new TcpAcceptor{loop, descriptor, std::move(accepted)}};
}

TcpAcceptor::TcpAcceptor(Loop& loop, int descriptor, Accepted accepted)
    : descriptor_{descriptor}, accepted_{std::move(accepted)}, resume_{loop, [this] { poll_.watch(UV_READABLE); }},
      poll_{loop, descriptor, [this](int) { accept_some(); }}
{
    socklen_t length = sizeof local_;
    (void)getsockname(descriptor, as_sockaddr(local_), &length); // cannot fail on a socket just bound
    poll_.watch(UV_READABLE);
}

TcpAcceptor::~TcpAcceptor()
{
    poll_.end();
    close(descriptor_);
}

void TcpAcceptor::accept_some()
{
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
        sockaddr_storage peer{};
        socklen_t length = sizeof peer;
        const int connection = accept4(descriptor_, as_sockaddr(peer), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (connection >= 0) {
            accepted_(connection, peer);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            // The connection stays in the backlog and the socket readable: without a pause the loop would spin.
            poll_.watch(0);
            resume_.start(kDescriptorPause);
        }
        if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

} // namespace transports
