// The server role of a tunnel that speaks standard NTP on UDP (mac, nts): requests are opened, the daemon is asked, its
// replies are sealed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/channel_events.hpp"
#include "gateway/roles.hpp"
#include "gateway/sealing.hpp"
#include "gateway/services.hpp"
#include "gateway/udp_front.hpp"
#include "gateway/upstream_link.hpp"
#include "ntp-shim/server_shim.hpp"
#include "transports/loop.hpp"

namespace gateway {

class DatagramServer final : public ServerRole, private UdpFrontOwner, private UpstreamOwner {
public:
    /// `tunnel` outlives it.
    DatagramServer(Services services, const Tunnel& tunnel, std::unique_ptr<ServerSealing> sealing);

    [[nodiscard]] std::optional<std::string> bind() override;
    [[nodiscard]] std::vector<std::string> addresses() const override;
    [[nodiscard]] const Tunnel& tunnel() const noexcept override { return tunnel_; }
    void reload() override { sealing_->reload(); }
    void on_clock_step() override;
    void drain() override;
    [[nodiscard]] bool drained() const noexcept override { return draining_ && shim_.open() == 0; }
    [[nodiscard]] nlohmann::ordered_json counters() const override;

private:
    void on_request(const ntp_shim::ClientEndpoint& from, std::span<const std::byte> datagram,
                    transports::Instant arrival) override;
    void on_refused_request(ntp_shim::DropReason reason) override;
    void on_undelivered(std::size_t count) override;
    void on_answer(std::span<const std::byte> packet, transports::Instant arrival) override;
    void on_unasked(std::size_t count) override;
    void on_unreachable(const std::string& text) override;

    void refused(const ntp_shim::ClientEndpoint& from, const ntp_shim::Refusal& refusal);
    void work();
    void on_timer();
    void account();

    Services services_;
    const Tunnel& tunnel_;
    std::unique_ptr<ServerSealing> sealing_;
    ntp_shim::Counters counters_;
    ntp_shim::ServerShim shim_;
    ChannelEvents events_;
    UdpFront front_;
    std::unique_ptr<UpstreamLink> upstream_;
    std::uint64_t accounted_ = 0;
    std::uint64_t refusals_told_ = 0; // NAKs sent; their requests are counted as drops
    bool told_of_kiss_ = false;
    bool draining_ = false;
    bool armed_ = false;
    transports::TurnEnd turn_end_;
    transports::Timer timer_;
};

} // namespace gateway
