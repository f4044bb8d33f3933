// From a target to the addresses behind its name, looked up off the loop.
#pragma once

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "transports/address.hpp"
#include "transports/channel.hpp"
#include "transports/loop.hpp"

namespace transports {

using Addresses = std::vector<sockaddr_storage>; // with the target's port; never empty

/// Destroying it cancels it without a further call.
class LookUp {
public:
    using Done = std::function<void(std::variant<Addresses, Failed>)>; // once, on a later turn; may destroy the look-up
    LookUp(Loop& loop, const Target& target, Done done);
    ~LookUp();
    LookUp(const LookUp&) = delete;
    LookUp& operator=(const LookUp&) = delete;

private:
    struct Request;
    void begin();
    void answered(int status, const struct addrinfo* list);
    void report(std::variant<Addresses, Failed> result);

    Loop& loop_;
    Target target_;
    Done done_;
    Request* request_ = nullptr; // freed by its own callback
    TurnEnd begin_;
};

} // namespace transports
