#include "transports/look_up.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <netdb.h>

namespace transports {

/// One under way outlives the look-up that asked: the thread pool cannot be interrupted.
struct LookUp::Request {
    uv_getaddrinfo_t request{};
    LookUp* owner = nullptr;
};

LookUp::LookUp(Loop& loop, const Target& target, Done done)
    : loop_{loop}, target_{target}, done_{std::move(done)}, begin_{loop, [this] { begin(); }}
{
    begin_.request();
}

LookUp::~LookUp()
{
    if (request_ != nullptr) {
        request_->owner = nullptr;
        (void)uv_cancel(reinterpret_cast<uv_req_t*>(&request_->request)); // too late is as good: nobody listens
    }
}

void LookUp::begin()
{
    if (const auto address = numeric_address(target_.host, target_.port)) {
        report(Addresses{*address});
        return;
    }
    request_ = new Request; // freed in its callback, which always comes
    request_->owner = this;
    request_->request.data = request_;
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM; // one row for each address, whatever it is for
    hints.ai_flags = AI_ADDRCONFIG;
    const int result = uv_getaddrinfo(
        loop_.raw(), &request_->request,
        [](uv_getaddrinfo_t* request, int status, addrinfo* list) noexcept {
            const std::unique_ptr<Request> ended{static_cast<Request*>(request->data)};
            if (ended->owner != nullptr) {
                ended->owner->request_ = nullptr;
                ended->owner->answered(status, list);
            }
            uv_freeaddrinfo(list);
        },
        target_.host.c_str(), nullptr, &hints);
    if (result != 0) {
        delete request_;
        request_ = nullptr;
        report(Failed{CloseReason::resolve_failed, uv_strerror(result), {}});
    }
}

void LookUp::answered(int status, const addrinfo* list)
{
    Addresses addresses;
    for (const addrinfo* item = list; status == 0 && item != nullptr; item = item->ai_next) {
        if (item->ai_family == AF_INET || item->ai_family == AF_INET6) {
            sockaddr_storage address{};
            std::memcpy(&address, item->ai_addr, std::min<std::size_t>(item->ai_addrlen, sizeof address));
            const auto with_port = from_mapped(
                mapped(address), target_.port,
                address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_scope_id : 0);
            addresses.push_back(with_port);
        }
    }
    if (addresses.empty()) {
        const std::string cause = status == 0 ? "no address" : uv_strerror(status);
        report(Failed{CloseReason::resolve_failed, target_.host + ": " + cause, {}});
        return;
    }
    report(std::move(addresses));
}

void LookUp::report(std::variant<Addresses, Failed> result)
{
    const Done done = std::move(done_); // which may destroy this look-up
    done(std::move(result));
}

} // namespace transports
