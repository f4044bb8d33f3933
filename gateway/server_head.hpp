// The server role of one tunnel: peers in, the daemon asked, replies back on the channel they belong to.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "gateway/carrier.hpp"
#include "gateway/channel_events.hpp"
#include "gateway/config.hpp"
#include "gateway/credentials.hpp"
#include "gateway/deferred_frames.hpp"
#include "gateway/roles.hpp"
#include "gateway/sealing.hpp"
#include "gateway/services.hpp"
#include "gateway/upstream_link.hpp"
#include "ntp-shim/raw_splitter.hpp"
#include "ntp-shim/server_shim.hpp"
#include "transports/admission.hpp"
#include "transports/channel.hpp"
#include "transports/loop.hpp"

namespace gateway {

class ServerHead final : public ServerRole, private transports::ChannelHandler, private UpstreamOwner {
public:
    /// `tunnel` outlives it; `sealing` is the inner seal, nothing without one.
    ServerHead(Services services, const Tunnel& tunnel, std::unique_ptr<Carrier> carrier,
               std::unique_ptr<ServerSealing> sealing);
    ~ServerHead() override;
    ServerHead(const ServerHead&) = delete;
    ServerHead& operator=(const ServerHead&) = delete;

    [[nodiscard]] std::optional<std::string> bind() override;
    [[nodiscard]] std::vector<std::string> addresses() const override;
    [[nodiscard]] const Tunnel& tunnel() const noexcept override { return tunnel_; }
    void reload() override;
    void on_clock_step() override { upstream_->on_clock_step(); }
    void drain() override; // goodbye to every peer, nobody new, channels close as their exchanges end
    [[nodiscard]] bool drained() const noexcept override { return draining_ && peers_.empty(); }
    [[nodiscard]] nlohmann::ordered_json counters() const override;

private:
    struct Peer {
        std::unique_ptr<transports::Channel> channel;
        ntp_shim::RawSplitter splitter{ntp_shim::RawSplitter::Direction::requests};
        transports::Nanoseconds opened{};
        std::optional<transports::Nanoseconds> leave_after; // goodbye was said; close when idle from then on
        DeferredFrames deferred;                            // while the channel's keys are renewed
        bool ended = false;                                 // raw: the peer sends nothing more
    };

    void on_open(std::unique_ptr<transports::Channel> channel) override;
    void on_message(transports::Channel& from, std::span<const std::byte> message,
                    transports::Instant arrival) override;
    void on_end(transports::Channel& from) override;
    void on_closed(transports::Channel& channel, const transports::Closed& why) override;
    void on_rekeyed(transports::Channel& channel) override;
    void on_failed(const transports::Failed& why) override;
    void on_discarded(const transports::Discarded& record) override;
    void on_answer(std::span<const std::byte> packet, transports::Instant arrival) override;
    void on_unasked(std::size_t count) override;
    void on_unreachable(const std::string& text) override;

    void take_request(transports::Channel& from, std::span<const std::byte> message, transports::Instant arrival);
    void send_reply(const ntp_shim::ToChannel& reply);
    void send_unsolicited(const ntp_shim::ToChannel& reply); // profile lab
    void send_reply(transports::Channel& channel, std::span<const std::byte> message);
    void send_pong(transports::Channel& channel, std::span<const std::byte> message);
    void say_goodbye(Peer& peer, transports::Nanoseconds now);
    void recheck_peers();
    void look_after_peers();
    void look_after(std::uint64_t number, Peer& peer, ntp_shim::Instant now);
    void work();
    void account();

    Services services_;
    const Tunnel& tunnel_;
    std::unique_ptr<Credentials> credentials_; // last to go
    std::unique_ptr<Carrier> carrier_;
    std::unique_ptr<ServerSealing> sealing_;
    transports::Admission admission_;
    ntp_shim::Counters counters_;
    ntp_shim::ServerShim shim_;
    ChannelEvents events_;
    std::unique_ptr<UpstreamLink> upstream_;
    std::unordered_map<std::uint64_t, Peer> peers_; // bounded by limits.channels
    std::uint64_t accounted_ = 0;
    bool draining_ = false;
    transports::TurnEnd turn_end_;
    transports::Timer timer_;
    transports::Timer peer_timer_;
    std::vector<std::unique_ptr<transports::Listener>> listeners_; // first to go: they hold pending sessions
};

} // namespace gateway
