// The client role of one tunnel: requests in, frames out, replies back to whoever asked.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>

#include <nlohmann/json_fwd.hpp>

#include "gateway/client_channels.hpp"
#include "gateway/config.hpp"
#include "gateway/credentials.hpp"
#include "gateway/roles.hpp"
#include "gateway/sealing.hpp"
#include "gateway/services.hpp"
#include "ntp-shim/client_shim.hpp"
#include "ntp-shim/raw_splitter.hpp"
#include "transports/loop.hpp"

namespace gateway {

class ClientHead final : public ClientRole, private ClientChannelsOwner {
public:
    struct Parts {
        std::unique_ptr<Carrier> carrier;
        std::unique_ptr<ClientSealing> sealing; // the inner seal; nothing without one
    };
    /// `tunnel` and `sink` outlive the head-end.
    ClientHead(Services services, const Tunnel& tunnel, Parts parts, ReplySink& sink);
    ~ClientHead() override;
    ClientHead(const ClientHead&) = delete;
    ClientHead& operator=(const ClientHead&) = delete;

    void start() override;
    void submit(const ntp_shim::ClientEndpoint& from, std::span<const std::byte> datagram,
                transports::Instant arrival) override;
    void refuse(ntp_shim::DropReason reason) override;
    void undelivered(std::size_t count) override;
    void reload() override;
    void distrust(const transports::Closed& why) override { channels_.distrust(why); }
    void drain() override; // channels close once their exchanges are over
    [[nodiscard]] bool drained() const noexcept override;
    [[nodiscard]] bool tried() const noexcept override { return channels_.tried(); }
    [[nodiscard]] nlohmann::ordered_json counters() const override;

private:
    void on_channel_open(transports::Channel& channel) override;
    void on_channel_leaving(std::uint64_t number) override;
    void on_channel_message(transports::Channel& channel, std::span<const std::byte> message,
                            transports::Instant arrival) override;
    void on_channel_closed(std::uint64_t number, const transports::Closed& why) override;
    void on_channel_rekeyed(transports::Channel& channel) override;
    void on_attempt_failed(const transports::Failed& why) override;

    void take_message(std::uint64_t number, std::span<const std::byte> message, transports::Instant arrival);
    [[nodiscard]] transports::Channel* free_channel() const;
    bool hand_over(ntp_shim::ExchangeHandle exchange, transports::Channel& channel);
    void work();
    void send_waiting(ntp_shim::Instant now);
    void look_after(transports::Channel& channel, ntp_shim::Instant now);
    void send_ping(transports::Channel& channel, ntp_shim::Instant now);
    void expire_partial(ntp_shim::Instant now);
    void arm(ntp_shim::Instant now);
    void account();

    Services services_;
    const Tunnel& tunnel_;
    std::unique_ptr<Credentials> credentials_; // last to go
    ReplySink& sink_;
    struct Leaving {
        std::uint64_t channel{};
        ntp_shim::ExchangeHandle exchange;
    };
    std::vector<Leaving> leaving_; // handed over in this turn, not yet written
    std::unique_ptr<ClientSealing> sealing_;
    ntp_shim::Counters counters_;
    ntp_shim::ClientShim shim_;
    ClientChannels channels_;
    std::unordered_map<std::uint64_t, ntp_shim::RawSplitter> splitters_; // raw framing, by channel
    std::uint64_t accounted_ = 0;
    bool draining_ = false;
    transports::TurnEnd turn_end_;
    transports::Timer timer_;
};

} // namespace gateway
