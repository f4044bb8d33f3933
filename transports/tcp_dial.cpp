#include "transports/tcp.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

namespace transports {

/// A look-up under way outlives the dial that asked: the thread pool cannot be interrupted.
struct TcpDial::Lookup {
    uv_getaddrinfo_t request{};
    TcpDial* owner = nullptr;
};

TcpDial::TcpDial(Loop& loop, const Target& target, Nanoseconds timeout, Done done)
    : loop_{loop}, target_{target}, deadline_{read_boot() + timeout}, done_{std::move(done)},
      timer_{loop, [this] { time_out(); }}, begin_{loop, [this] { begin(); }}
{
    timer_.start_at(deadline_);
    begin_.request();
}

TcpDial::~TcpDial()
{
    if (lookup_ != nullptr) {
        lookup_->owner = nullptr;
        (void)uv_cancel(reinterpret_cast<uv_req_t*>(&lookup_->request)); // too late is as good: nobody listens
    }
    poll_.reset();
    if (descriptor_ >= 0) {
        close(descriptor_);
    }
}

void TcpDial::begin()
{
    if (const auto address = numeric_address(target_.host, target_.port)) {
        addresses_.push_back(*address);
        try_next();
        return;
    }
    lookup_ = new Lookup; // freed in its callback, which always comes
    lookup_->owner = this;
    lookup_->request.data = lookup_;
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    const int result = uv_getaddrinfo(
        loop_.raw(), &lookup_->request,
        [](uv_getaddrinfo_t* request, int status, addrinfo* list) noexcept {
            const std::unique_ptr<Lookup> lookup{static_cast<Lookup*>(request->data)};
            if (lookup->owner != nullptr) {
                lookup->owner->lookup_ = nullptr;
                lookup->owner->resolved(status, list);
            }
            uv_freeaddrinfo(list);
        },
        target_.host.c_str(), nullptr, &hints);
    if (result != 0) {
        delete lookup_;
        lookup_ = nullptr;
        report(Failed{CloseReason::resolve_failed, uv_strerror(result), {}});
    }
}

void TcpDial::resolved(int status, const addrinfo* list)
{
    for (const addrinfo* item = list; status == 0 && item != nullptr; item = item->ai_next) {
        if (item->ai_family == AF_INET || item->ai_family == AF_INET6) {
            sockaddr_storage address{};
            std::memcpy(&address, item->ai_addr, std::min<std::size_t>(item->ai_addrlen, sizeof address));
            const auto with_port = from_mapped(
                mapped(address), target_.port,
                address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_scope_id : 0);
            addresses_.push_back(with_port);
        }
    }
    if (addresses_.empty()) {
        const std::string cause = status == 0 ? "no address" : uv_strerror(status);
        report(Failed{CloseReason::resolve_failed, target_.host + ": " + cause, {}});
        return;
    }
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
