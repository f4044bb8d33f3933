// Keeps one route of a datagram tunnel current: targets in order, each kept until it no longer answers.
//
//        +----------- none found: next target, after the last one back-off ----------+
//        v                                                                           |
//     finding --found--> route 1 --no usable reply--> route 2 ... --the last one--> next target
//                          +-- first answer: recorded as an open channel
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gateway/channel_events.hpp"
#include "gateway/config.hpp"
#include "gateway/sealing.hpp"
#include "gateway/services.hpp"
#include "transports/loop.hpp"

namespace gateway {

class DatagramRoutesOwner {
public:
    virtual void on_route(const Route& route) = 0; // requests go there from now on
    virtual void on_no_route(const transports::Failed& why) = 0;
    virtual void on_route_lost(const transports::Closed& why) = 0;

protected:
    ~DatagramRoutesOwner() = default;
};

class DatagramRoutes {
public:
    /// All outlive it.
    DatagramRoutes(Services services, const Tunnel& tunnel, ClientSealing& sealing, DatagramRoutesOwner& owner);

    void start(); // looks for the first route
    /// A local request waits: permits one attempt a second even during back-off.
    void want();
    [[nodiscard]] const Route* current() const noexcept { return current_ ? &routes_[at_] : nullptr; }
    /// The current route gave an answer that can be believed.
    void answered();
    /// The current route is of no use: on to the next one. May call the owner back.
    void give_up(transports::CloseReason why, const std::string& text);
    /// The server itself refused, and can be believed: its address is not asked before `until`, whichever target leads
    /// to it. On to the next route; false when there is no other to try.
    bool deny(transports::Nanoseconds until, const std::string& text);
    /// What was found of the current target holds no longer (nothing left to seal with): finds it again.
    void renew();
    void stop(); // closes the books; no attempts any more
    [[nodiscard]] bool tried() const noexcept { return tried_; }
    [[nodiscard]] ChannelEvents& events() noexcept { return events_; }
    [[nodiscard]] const ChannelEvents& events() const noexcept { return events_; }

private:
    void find();
    void found(std::variant<std::vector<Route>, transports::Failed> result);
    void found_again(const transports::Failed& why);
    void not_found(const transports::Failed& why);
    void use(std::size_t at, bool answered);
    [[nodiscard]] bool is_quiet(const Route& route) const;
    void try_next_target(bool at_once);

    Services services_;
    const Tunnel& tunnel_;
    ClientSealing& sealing_;
    DatagramRoutesOwner& owner_;
    ChannelEvents events_;
    std::vector<Route> routes_;     // of the target found last
    std::size_t routes_target_ = 0; // which one that is
    std::size_t at_ = 0;
    std::size_t target_ = 0;
    bool current_ = false;
    bool answered_ = false;
    bool finding_ = false;
    bool tried_ = false;
    bool stopped_ = false;
    unsigned rounds_failed_ = 0; // of all targets, in a row, without an answer
    struct Quiet {
        std::string address;
        transports::Nanoseconds until{};
    };
    std::vector<Quiet> quiet_; // bounded: the oldest is forgotten
    transports::Nanoseconds last_attempt_{};
    transports::Nanoseconds retry_at_{};
    transports::Timer retry_;
};

} // namespace gateway
