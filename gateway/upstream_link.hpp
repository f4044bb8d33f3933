// What stands behind a server tunnel: a daemon asked over UDP, or this host's own clock.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "gateway/config.hpp"
#include "gateway/services.hpp"
#include "ntp-shim/drop_reason.hpp"
#include "transports/clock.hpp"

namespace gateway {

class UpstreamOwner {
public:
    /// May come from inside UpstreamLink::ask.
    virtual void on_answer(std::span<const std::byte> packet, transports::Instant arrival) = 0;
    virtual void on_unasked(std::size_t count) = 0;           // requests that the socket then did not take
    virtual void on_unreachable(const std::string& text) = 0; // once, until an answer comes

protected:
    ~UpstreamOwner() = default;
};

class UpstreamLink {
public:
    UpstreamLink() = default;
    virtual ~UpstreamLink() = default;
    UpstreamLink(const UpstreamLink&) = delete;
    UpstreamLink& operator=(const UpstreamLink&) = delete;
    /// The reason when nothing was asked.
    [[nodiscard]] virtual std::optional<ntp_shim::DropReason> ask(std::span<const std::byte> packet) = 0;
    virtual void on_clock_step() {} // of this host's wall clock, as the kernel tells
};

/// The error text when the daemon's socket cannot be made. `owner` outlives the link.
[[nodiscard]] std::variant<std::unique_ptr<UpstreamLink>, std::string>
make_upstream(Services services, const Upstream& upstream, UpstreamOwner& owner);

} // namespace gateway
