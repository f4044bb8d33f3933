// What the program and its fronts ask of a head-end, whatever carries its packets.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "gateway/config.hpp"
#include "ntp-shim/client_shim.hpp"
#include "transports/channel.hpp"
#include "transports/clock.hpp"

namespace gateway {

/// Who asked: the UDP front, or `query`.
class ReplySink {
public:
    virtual void deliver(const ntp_shim::ClientEndpoint& client, std::span<const std::byte> packet) = 0;
    // For the curious; already counted and recorded.
    virtual void on_attempt_failed(const transports::Failed& why) = 0;
    virtual void on_channel(const transports::PeerIdentity& peer) = 0; // requests may be made now
    virtual void on_channel_lost(const transports::Closed& why) = 0;

protected:
    ~ReplySink() = default;
};

class ClientRole {
public:
    ClientRole() = default;
    virtual ~ClientRole() = default;
    ClientRole(const ClientRole&) = delete;
    ClientRole& operator=(const ClientRole&) = delete;

    virtual void start() = 0;
    virtual void submit(const ntp_shim::ClientEndpoint& from, std::span<const std::byte> datagram,
                        transports::Instant arrival) = 0;
    /// A datagram that the front refuses before it is looked at: counted here, with the others.
    virtual void refuse(ntp_shim::DropReason reason) = 0;
    /// The local socket did not take replies counted as delivered.
    virtual void undelivered(std::size_t count) = 0;
    virtual void reload() = 0; // reads key files again
    virtual void drain() = 0;  // no new requests; it ends once its exchanges are over
    /// Whoever answers now has shown a certificate that must not be believed after all: given up as a failed attempt.
    virtual void distrust(const transports::Closed& /*why*/) {}
    [[nodiscard]] virtual bool drained() const noexcept = 0;
    [[nodiscard]] virtual bool tried() const noexcept = 0; // the first attempt has ended, well or not
    [[nodiscard]] virtual nlohmann::ordered_json counters() const = 0;
};

class ServerRole {
public:
    ServerRole() = default;
    virtual ~ServerRole() = default;
    ServerRole(const ServerRole&) = delete;
    ServerRole& operator=(const ServerRole&) = delete;

    [[nodiscard]] virtual std::optional<std::string> bind() = 0; // the error text
    [[nodiscard]] virtual std::vector<std::string> addresses() const = 0;
    [[nodiscard]] virtual const Tunnel& tunnel() const noexcept = 0;
    virtual void reload() = 0;        // reads key files again
    virtual void on_clock_step() = 0; // of this host's wall clock, as the kernel tells
    virtual void drain() = 0;
    [[nodiscard]] virtual bool drained() const noexcept = 0;
    [[nodiscard]] virtual nlohmann::ordered_json counters() const = 0;
};

} // namespace gateway
