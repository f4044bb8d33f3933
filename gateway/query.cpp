#include "gateway/query.hpp"

#include <cstring>
#include <optional>
#include <utility>

#include <netdb.h>
#include <nlohmann/json.hpp>

#include "gateway/heads.hpp"
#include "gateway/program.hpp"
#include "gateway/query_report.hpp"
#include "gateway/self_test.hpp"
#include "gateway/services.hpp"
#include "ntp-shim/packet.hpp"
#include "transports/udp.hpp"

namespace gateway {

namespace {

constexpr auto kFramedInterval = std::chrono::milliseconds{200};
constexpr auto kPlainInterval = std::chrono::seconds{2};

/// Asks, waits for the reply or its deadline, and asks again until there are enough samples; the carrier is the
/// derived class's.
class Asking {
public:
    Asking(transports::Loop& loop, const QueryOptions& options, std::chrono::nanoseconds interval)
        : loop_{loop}, options_{options}, interval_{interval}, next_{loop, [this] { ask(); }}, deadline_{
                                                                                                   loop, [this] {
                                                                                                       loop_.stop();
                                                                                                   }}
    {
        deadline_.start(options.timeout);
    }
    virtual ~Asking() = default;
    Asking(const Asking&) = delete;
    Asking& operator=(const Asking&) = delete;
    [[nodiscard]] QueryReport& report() noexcept { return report_; }

protected:
    virtual void send(std::span<const std::byte> packet) = 0;

    void begin() { ask(); }
    [[nodiscard]] bool begun() const noexcept { return asked_ != 0; }
    void take(std::span<const std::byte> bytes, std::chrono::nanoseconds received)
    {
        const auto packet = ntp_shim::Packet::parse(bytes);
        if (!packet || packet->mode != ntp_shim::kModeServer || packet->origin != transmit_) {
            return; // not an answer to what was asked last
        }
        report_.samples.push_back(query_sample(*packet, sent_, received));
        if (report_.samples.size() >= options_.samples) {
            loop_.stop();
        }
    }
    [[nodiscard]] transports::Loop& loop() noexcept { return loop_; }

private:
    void ask()
    {
        if (asked_ >= options_.samples + report_.samples.size() + kExtraTries) {
            loop_.stop();
            return;
        }
        ++asked_;
        transmit_ = random_.bits();
        next_.start(interval_);
        const auto packet = query_packet(transmit_);
        sent_ = transports::read_wall();
        send(packet);
    }

    static constexpr std::size_t kExtraTries = 4; // lost ones are asked again, not for ever
    transports::Loop& loop_;
    QueryOptions options_;
    std::chrono::nanoseconds interval_;
    Random random_;
    std::uint64_t transmit_ = 0;
    std::chrono::nanoseconds sent_{};
    std::size_t asked_ = 0;
    QueryReport report_;
    transports::Timer next_;
    transports::Timer deadline_;
};

class TunnelAsking final : public Asking, private ReplySink {
public:
    TunnelAsking(transports::Loop& loop, const Tunnel& tunnel, const QueryOptions& options)
        : Asking{loop, options,
                 tunnel.channel == ChannelKind::mac || tunnel.channel == ChannelKind::nts ? kPlainInterval
                                                                                          : kFramedInterval},
          step_{tunnel.channel == ChannelKind::mac ? "exchange" : "handshake"}, targets_{tunnel.connect.size()}
    {
        report().channel = name(tunnel.channel);
        report().peer = tunnel.connect.front().text();
        report().failure = {"exchange", "no_reply", "no time came before the query's time was over"};
    }
    /// Why it cannot be started.
    [[nodiscard]] std::optional<CarrierProblem> start(Services services, const Tunnel& tunnel)
    {
        auto made = make_client_role(services, tunnel, *this);
        if (const auto* problems = std::get_if<std::vector<CarrierProblem>>(&made)) {
            return problems->front();
        }
        head_ = std::move(std::get<std::unique_ptr<ClientRole>>(made));
        head_->start();
        return std::nullopt;
    }
    [[nodiscard]] const ClientRole& head() const noexcept { return *head_; }

private:
    void send(std::span<const std::byte> packet) override
    {
        ntp_shim::ClientEndpoint self; // an address the shim takes for a client's; nothing is sent to it
        self.address = transports::mapped(in_addr{htonl(INADDR_LOOPBACK)});
        self.port = 1;
        head_->submit(self, packet, transports::read_instant());
    }
    void deliver(const ntp_shim::ClientEndpoint&, std::span<const std::byte> packet) override
    {
        take(packet, transports::read_wall());
    }
    void on_attempt_failed(const transports::Failed& why) override
    {
        const bool no_session = why.reason == transports::CloseReason::resolve_failed ||
                                why.reason == transports::CloseReason::unreachable ||
                                why.reason == transports::CloseReason::connect_timeout;
        give_up({no_session ? "connect" : step_, std::string{name(why.reason)}, why.text});
    }
    void on_channel_lost(const transports::Closed& why) override
    {
        // Under TLS 1.3 a server refuses a client's certificate after the client's side is done.
        give_up({step_, std::string{name(why.reason)}, why.text});
    }
    void give_up(QueryFailure failure)
    {
        if (!report().samples.empty()) {
            return;
        }
        report().failure = std::move(failure);
        if (++failures_ >= targets_) {
            loop().stop(); // every target once: an answer now is worth more than another try
        }
    }
    void on_channel(const transports::PeerIdentity& peer) override
    {
        report().peer = peer.address;
        if (!begun()) {
            begin();
        }
    }

    const char* step_; // what fails when nothing comes of a target
    std::size_t targets_;
    std::size_t failures_ = 0;
    std::unique_ptr<ClientRole> head_;
};

class PlainAsking final : public Asking, private transports::UdpHandler {
public:
    PlainAsking(transports::Loop& loop, const QueryOptions& options) : Asking{loop, options, kPlainInterval} {}

    bool connect(const sockaddr_storage& peer)
    {
        report().channel = "ntp";
        report().peer = transports::address_text(peer);
        report().failure = {"exchange", "no_reply", ""};
        auto socket = transports::UdpSocket::connect(loop(), peer, *this);
        if (const auto* error = std::get_if<std::string>(&socket)) {
            report().failure = {"connect", "unreachable", *error};
            return false;
        }
        socket_ = std::move(std::get<std::unique_ptr<transports::UdpSocket>>(socket));
        begin();
        return true;
    }

private:
    void send(std::span<const std::byte> packet) override { socket_->send(packet); }
    void on_datagram(const transports::Datagram& datagram) override
    {
        const auto now = transports::read_clocks();
        take(datagram.bytes, now.wall - (now.now.raw - datagram.arrival.raw));
    }
    void on_refused(int error) override
    {
        report().failure = {"exchange", "unreachable", std::strerror(error)};
        if (report().samples.empty()) {
            loop().stop();
        }
    }
    void on_send_failed(std::size_t) override {}

    std::unique_ptr<transports::UdpSocket> socket_;
};

/// The drop that explains best why nothing was delivered: the most frequent one.
void explain(QueryReport& report, const nlohmann::ordered_json& counters)
{
    std::uint64_t most = 0;
    for (const char* const direction : {"requests", "replies"}) {
        for (const auto& [reason, count] : counters[direction]["drops"].items()) {
            if (count.get<std::uint64_t>() > most) {
                most = count.get<std::uint64_t>();
                report.failure = {"exchange", reason, std::string{direction} + " were dropped"};
            }
        }
    }
}

} // namespace

int query_tunnel(const Config& config, const Tunnel& tunnel, const QueryOptions& options, std::ostream& out)
{
    QueryReport report;
    if (auto failed = self_test(config)) {
        report.failure = {"self-test", std::string{failed->reason}, std::move(failed->text)};
        (void)print_report(report, options.json, out);
        return kSelfTest;
    }
    Log log{options.debug ? LogLevel::debug : LogLevel::error, LogFormat::text};
    AuditSettings nowhere;
    nowhere.file = "/dev/null"; // a query by hand answers on stdout; the daemon's own records stay the daemon's
    auto audit = Audit::open(nowhere);
    if (const auto* error = std::get_if<std::string>(&audit)) {
        report.failure = {"configuration", "audit", *error};
        return print_report(report, options.json, out);
    }
    Random random;
    transports::Loop loop;
    transports::Admission admission{{0, 0, 0, 0}, nullptr};
    ExchangeBudget exchanges{config.limits.exchanges, 0};
    const Services services{loop, log, *std::get<std::unique_ptr<Audit>>(audit), random, admission, exchanges};
    TunnelAsking asking{loop, tunnel, options};
    if (const auto problem = asking.start(services, tunnel)) {
        report.failure = {"configuration", problem->setting, problem->text};
        return print_report(report, options.json, out);
    }
    loop.run();
    if (asking.report().samples.empty() && asking.report().failure.step == "exchange") {
        explain(asking.report(), asking.head().counters());
    }
    return print_report(asking.report(), options.json, out);
}

int query_plain(const Target& target, const QueryOptions& options, std::ostream& out)
{
    addrinfo hints{};
    hints.ai_socktype = SOCK_DGRAM;
    addrinfo* list = nullptr;
    const int status = getaddrinfo(target.host.c_str(), std::to_string(target.port).c_str(), &hints, &list);
    QueryReport report;
    report.channel = "ntp";
    if (status != 0 || list == nullptr) {
        report.failure = {"resolve", "resolve_failed", gai_strerror(status)};
        return print_report(report, options.json, out);
    }
    sockaddr_storage peer{};
    std::memcpy(&peer, list->ai_addr, std::min<std::size_t>(list->ai_addrlen, sizeof peer));
    freeaddrinfo(list);
    transports::Loop loop;
    PlainAsking asking{loop, options};
    if (asking.connect(peer)) {
        loop.run();
    }
    return print_report(asking.report(), options.json, out);
}

} // namespace gateway
