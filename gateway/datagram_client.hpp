// The client role of a tunnel that puts standard NTP on UDP (mac, nts): each request is re-issued and sealed, and
// leaves from a port of its own.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "gateway/datagram_routes.hpp"
#include "gateway/roles.hpp"
#include "gateway/sealing.hpp"
#include "gateway/services.hpp"
#include "ntp-shim/client_shim.hpp"
#include "transports/loop.hpp"
#include "transports/udp_asker.hpp"

namespace gateway {

class DatagramClient final : public ClientRole, private DatagramRoutesOwner, private transports::UdpAskerHandler {
public:
    /// Sockets open at a time: one for each outstanding request, and those of late replies, which are still counted.
    static constexpr std::size_t kMaxSockets = 1024;

    /// `tunnel` and `sink` outlive it.
    DatagramClient(Services services, const Tunnel& tunnel, std::unique_ptr<ClientSealing> sealing, ReplySink& sink);

    void start() override;
    void submit(const ntp_shim::ClientEndpoint& from, std::span<const std::byte> datagram,
                transports::Instant arrival) override;
    void refuse(ntp_shim::DropReason reason) override;
    void undelivered(std::size_t count) override;
    void reload() override { sealing_->reload(); }
    void drain() override;
    void distrust(const transports::Closed& why) override;
    [[nodiscard]] bool drained() const noexcept override { return draining_ && shim_.open() == 0; }
    [[nodiscard]] bool tried() const noexcept override { return routes_.tried(); }
    [[nodiscard]] nlohmann::ordered_json counters() const override;

private:
    struct Asked {
        std::uint64_t socket{};
        transports::Nanoseconds until{}; // no reply is expected later
    };
    void on_route(const Route& route) override;
    void on_no_route(const transports::Failed& why) override;
    void on_route_lost(const transports::Closed& why) override;
    void on_datagram(std::uint64_t socket, const transports::Datagram& datagram) override;
    void on_refused(std::uint64_t socket, int error) override;

    void hand_over(ntp_shim::ExchangeHandle exchange);
    [[nodiscard]] std::uint64_t
    open_socket(const Route& route); // 0 when there is none to be had; the route's fault if broken_
    void close_socket(std::uint64_t socket);
    void take_drop(const ntp_shim::Drop& drop);
    void take_kiss(std::uint32_t code);
    void count_reply_drop(ntp_shim::DropReason reason);
    [[nodiscard]] std::uint64_t fruitless() const noexcept;
    void work();
    void look_after_route();
    void close_old_sockets(transports::Nanoseconds now);
    void arm();
    void account();

    Services services_;
    const Tunnel& tunnel_;
    std::unique_ptr<ClientSealing> sealing_;
    ReplySink& sink_;
    ntp_shim::Counters counters_;
    ntp_shim::ClientShim shim_;
    DatagramRoutes routes_;
    transports::UdpAsker asker_;
    std::deque<Asked> asked_;          // oldest first; with source-port, only the one socket
    std::uint64_t ended_fruitful_ = 0; // exchanges that had ended when the last reply was delivered
    std::string route_address_;
    std::string_view last_fault_;
    std::string broken_;                       // why the route cannot be asked at all; given up at the turn's end
    std::bitset<ntp_shim::kDropReasons> told_; // faults of this route that the log has
    transports::Nanoseconds quiet_until_{};    // the server asked for it
    unsigned kisses_ = 0;                      // RATE, in a row
    std::uint64_t accounted_ = 0;
    bool draining_ = false;
    transports::TurnEnd turn_end_;
    transports::Timer timer_;
};

} // namespace gateway
