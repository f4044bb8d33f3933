#include "transports/tcp.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <sys/socket.h>
#include <unistd.h>

namespace transports {

TcpDial::TcpDial(Loop& loop, const Target& target, Nanoseconds timeout, Done done)
    : loop_{loop}, deadline_{read_boot() + timeout}, done_{std::move(done)}, timer_{loop, [this] { time_out(); }},
      look_up_{loop, target, [this](auto result) { resolved(std::move(result)); }}
{
    timer_.start_at(deadline_);
}

TcpDial::~TcpDial()
{
    poll_.reset();
    if (descriptor_ >= 0) {
        close(descriptor_);
    }
}

void TcpDial::resolved(std::variant<Addresses, Failed> result)
{
    if (const auto* const failed = std::get_if<Failed>(&result)) {
        report(*failed);
        return;
    }
    addresses_ = std::move(std::get<Addresses>(result));
    try_next();
}

void TcpDial::try_next()
{
    poll_.reset();
    if (descriptor_ >= 0) {
        close(descriptor_);
        descriptor_ = -1;
    }
    while (next_ < addresses_.size()) {
        const sockaddr_storage& address = addresses_[next_++];
        last_address_ = address_text(address);
        descriptor_ = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (descriptor_ < 0) {
            last_error_ = std::strerror(errno);
            continue;
        }
        // What the remaining addresses need is kept back from this one.
        const auto share = (deadline_ - read_boot()) / static_cast<int>(addresses_.size() - next_ + 1);
        timer_.start(std::max(share, Nanoseconds::zero()));
        poll_ = std::make_unique<Poll>(loop_, descriptor_, [this](int) { connect_ready(); });
        if (::connect(descriptor_, as_sockaddr(address), address_length(address)) == 0 || errno == EINPROGRESS) {
            poll_->watch(UV_WRITABLE);
            return;
        }
        last_error_ = std::strerror(errno);
        poll_.reset();
        close(descriptor_);
        descriptor_ = -1;
    }
    Failed failed{CloseReason::unreachable, last_error_, {}};
    failed.peer.address = last_address_;
    report(failed);
}

void TcpDial::connect_ready()
{
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &length) != 0) {
        error = errno;
    }
    if (error != 0) {
        attempt_failed(error);
        return;
    }
    poll_.reset();
    const Dialled dialled{descriptor_, addresses_[next_ - 1]};
    descriptor_ = -1;
    report(dialled);
}

void TcpDial::attempt_failed(int error)
{
    last_error_ = std::strerror(error);
    try_next();
}

void TcpDial::time_out()
{
    if (read_boot() < deadline_ && next_ < addresses_.size()) {
        attempt_failed(ETIMEDOUT);
        return;
    }
    Failed failed{CloseReason::connect_timeout, addresses_.empty() ? "name look-up took too long" : "", {}};
    failed.peer.address = last_address_;
    report(failed);
}

void TcpDial::report(std::variant<Dialled, Failed> result)
{
    timer_.stop();
    poll_.reset();
    const Done done = std::move(done_); // which may destroy this dial
    done(std::move(result));
}

} // namespace transports
