// certificate-time: bootstrap (design 12), in front of whatever client role the tunnel has: until the time is proven,
// nobody but this gate asks through it.
//
//   closed --a channel opens, verified in all but its time--> asking --an answer--> judging --+-- verified --> open
//     ^                                                                                       |
//     +------- the answer is too early, or a chain is not valid at that time: given up -------+
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "gateway/roles.hpp"
#include "gateway/services.hpp"
#include "transports/loop.hpp"

namespace gateway {

class BootstrapGate final : public ClientRole, private ReplySink {
public:
    /// `tunnel`, which has a tls.clock, and `sink` outlive it.
    BootstrapGate(Services services, const Tunnel& tunnel, ReplySink& sink);
    ~BootstrapGate() override;
    BootstrapGate(const BootstrapGate&) = delete;
    BootstrapGate& operator=(const BootstrapGate&) = delete;

    /// Whom the role behind the gate answers.
    [[nodiscard]] ReplySink& inner_sink() noexcept { return *this; }
    /// Before anything else is asked of it.
    void guard(std::unique_ptr<ClientRole> inner) { inner_ = std::move(inner); }

    void start() override;
    void submit(const ntp_shim::ClientEndpoint& from, std::span<const std::byte> datagram,
                transports::Instant arrival) override;
    void refuse(ntp_shim::DropReason reason) override { inner_->refuse(reason); }
    void undelivered(std::size_t count) override { inner_->undelivered(count); }
    void reload() override { inner_->reload(); }
    void drain() override;
    [[nodiscard]] bool drained() const noexcept override { return inner_->drained(); }
    [[nodiscard]] bool tried() const noexcept override;
    [[nodiscard]] nlohmann::ordered_json counters() const override;

private:
    using Chain = std::shared_ptr<const transports::ProvisionalChain>;
    struct Answer {
        transports::Nanoseconds time{}; // of the server, since 1970
        transports::Nanoseconds boot{}; // when it came
    };
    void deliver(const ntp_shim::ClientEndpoint& client, std::span<const std::byte> packet) override;
    void on_attempt_failed(const transports::Failed& why) override;
    void on_channel(const transports::PeerIdentity& peer) override;
    void on_channel_lost(const transports::Closed& why) override;

    [[nodiscard]] bool is_open() const noexcept;
    void ask();
    void judge();
    [[nodiscard]] std::optional<transports::Closed> why_not(const Answer& answer) const;
    void open(const Answer& answer);
    void give_up(const Answer* answer, const transports::Closed& why);
    void record(bool success, std::string_view reason, const Answer* answer, const std::string& text);
    void save();

    Services services_;
    const Tunnel& tunnel_;
    ReplySink& sink_;
    std::shared_ptr<transports::CertificateClock> clock_;
    transports::PeerIdentity peer_;       // of the channel asked last
    std::map<std::string, Chain> chains_; // by fingerprint: of every channel that may be open
    std::optional<Answer> answer_;        // judged at the end of the turn
    std::uint64_t transmit_ = 0;          // of our own request
    bool asking_ = false;
    bool failed_ = false;
    transports::Timer ask_;
    transports::Timer save_;
    transports::TurnEnd judge_;
    std::unique_ptr<ClientRole> inner_; // first to go: it answers to this
};

} // namespace gateway
