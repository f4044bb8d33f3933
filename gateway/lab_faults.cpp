#include "gateway/lab_faults.hpp"

#include <deque>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "ntp-shim/clock_reply.hpp"
#include "ntp-shim/faulty_seal.hpp"
#include "transports/loop.hpp"
#include "transports/udp.hpp"

namespace gateway {

namespace {

constexpr std::size_t kMaxLate = 4096; // answers held back; the oldest go first
constexpr auto kBroadcastEvery = std::chrono::seconds{1};
constexpr std::byte kBroadcastMode{5};
constexpr std::byte kModeBits{7};

/// Answers as if the upstream itself had taken its time: nothing of it is hold.
class LateLink final : public UpstreamLink, private UpstreamOwner {
public:
    LateLink(transports::Loop& loop, milliseconds delay, UpstreamOwner& owner)
        : delay_{delay}, owner_{owner}, timer_{loop, [this] { deliver(); }}
    {}

    std::optional<std::string> open(Services services, const Upstream& upstream)
    {
        auto made = make_upstream(services, upstream, *this);
        if (auto* error = std::get_if<std::string>(&made)) {
            return std::move(*error);
        }
        link_ = std::move(std::get<std::unique_ptr<UpstreamLink>>(made));
        return std::nullopt;
    }

    std::optional<ntp_shim::DropReason> ask(std::span<const std::byte> packet) override { return link_->ask(packet); }
    void on_clock_step() override { link_->on_clock_step(); }

private:
    struct Late {
        transports::Nanoseconds due{};
        std::vector<std::byte> packet;
    };

    void on_answer(std::span<const std::byte> packet, transports::Instant /*arrival*/) override
    {
        if (late_.size() == kMaxLate) {
            late_.pop_front();
        }
        late_.push_back({transports::read_boot() + delay_, {packet.begin(), packet.end()}});
        timer_.start_at(late_.front().due);
    }
    void on_unasked(std::size_t count) override { owner_.on_unasked(count); }
    void on_unreachable(const std::string& text) override { owner_.on_unreachable(text); }

    void deliver()
    {
        while (!late_.empty() && late_.front().due <= transports::read_boot()) {
            const Late next = std::move(late_.front());
            late_.pop_front();
            owner_.on_answer(next.packet, transports::read_instant());
        }
        if (!late_.empty()) {
            timer_.start_at(late_.front().due);
        }
    }

    milliseconds delay_;
    UpstreamOwner& owner_;
    std::deque<Late> late_;
    transports::Timer timer_;
    std::unique_ptr<UpstreamLink> link_;
};

class FaultySealing final : public ServerSealing {
public:
    FaultySealing(const LabFaults& faults, std::unique_ptr<ServerSealing> genuine)
        : genuine_{std::move(genuine)}, seal_{genuine_ ? &genuine_->seal() : nullptr,
                                              {faults.wrong_origin, faults.unsolicited}}
    {}

    [[nodiscard]] ntp_shim::ServerSeal& seal() noexcept override { return seal_; }
    [[nodiscard]] std::span<const std::byte> unsolicited() const noexcept override { return seal_.unsolicited(); }
    void reload() override
    {
        if (genuine_) {
            genuine_->reload();
        }
    }
    [[nodiscard]] std::optional<std::string> bind(const std::vector<std::string>& asked_at) override
    {
        return genuine_ ? genuine_->bind(asked_at) : std::nullopt;
    }
    [[nodiscard]] std::vector<std::string> addresses() const override
    {
        return genuine_ ? genuine_->addresses() : std::vector<std::string>{};
    }
    void drain() override
    {
        if (genuine_) {
            genuine_->drain();
        }
    }
    void count(nlohmann::ordered_json& counters) const override
    {
        if (genuine_) {
            genuine_->count(counters);
        }
    }

private:
    std::unique_ptr<ServerSealing> genuine_;
    ntp_shim::FaultySeal seal_;
};

class UdpBroadcast final : public LabBroadcast, private transports::UdpHandler {
public:
    UdpBroadcast(transports::Loop& loop, const Tunnel& tunnel) : loop_{loop}, timer_{loop, [this] { send(); }}
    {
        if (const auto* clock = tunnel.upstream ? std::get_if<ClockUpstream>(&*tunnel.upstream) : nullptr) {
            header_.stratum = clock->stratum;
            header_.leap = clock->leap;
            offset_ = clock->offset;
        }
    }

    std::optional<std::string> open(const SocketAddress& to)
    {
        transports::UdpOptions options;
        options.broadcast = true;
        auto made = transports::UdpSocket::connect(loop_, to.storage, *this, options);
        if (auto* error = std::get_if<std::string>(&made)) {
            return std::move(*error);
        }
        socket_ = std::move(std::get<std::unique_ptr<transports::UdpSocket>>(made));
        timer_.start(kBroadcastEvery);
        return std::nullopt;
    }

private:
    void send()
    {
        const std::array<std::byte, 48> nobody_asked{std::byte{0x23}}; // version 4
        const auto now = ntp_shim::ntp_timestamp(transports::read_wall() + offset_);
        auto packet = ntp_shim::clock_reply(nobody_asked, header_, 0, now);
        packet.front() = (packet.front() & ~kModeBits) | kBroadcastMode;
        socket_->send(packet);
        timer_.start(kBroadcastEvery);
    }
    void on_datagram(const transports::Datagram& /*datagram*/) override {}
    void on_refused(int /*error*/) override {} // nobody needs to listen
    void on_send_failed(std::size_t /*count*/) override {}

    transports::Loop& loop_;
    ntp_shim::ClockHeader header_;
    milliseconds offset_{};
    transports::Timer timer_;
    std::unique_ptr<transports::UdpSocket> socket_;
};

} // namespace

std::variant<std::unique_ptr<UpstreamLink>, std::string> make_tunnel_upstream(Services services, const Tunnel& tunnel,
                                                                              UpstreamOwner& owner)
{
    if (!tunnel.faults || tunnel.faults->delay == milliseconds::zero()) {
        return make_upstream(services, *tunnel.upstream, owner);
    }
    auto late = std::make_unique<LateLink>(services.loop, tunnel.faults->delay, owner);
    if (auto error = late->open(services, *tunnel.upstream)) {
        return std::move(*error);
    }
    return std::unique_ptr<UpstreamLink>{std::move(late)};
}

std::unique_ptr<ServerSealing> with_faults(const Tunnel& tunnel, std::unique_ptr<ServerSealing> genuine)
{
    if (!tunnel.faults || (!tunnel.faults->wrong_origin && !tunnel.faults->unsolicited)) {
        return genuine;
    }
    return std::make_unique<FaultySealing>(*tunnel.faults, std::move(genuine));
}

nlohmann::ordered_json deliberate_wrongs(const Tunnel& tunnel)
{
    nlohmann::ordered_json wrongs = nlohmann::ordered_json::object();
    const auto* clock = tunnel.upstream ? std::get_if<ClockUpstream>(&*tunnel.upstream) : nullptr;
    if (clock != nullptr && clock->offset != milliseconds::zero()) {
        wrongs["clock-offset"] = std::chrono::duration<double>(clock->offset).count();
    }
    if (tunnel.faults) {
        wrongs["faults"] = tunnel.faults->texts();
    }
    return wrongs;
}

std::variant<std::unique_ptr<LabBroadcast>, std::string> make_broadcast(Services services, const Tunnel& tunnel)
{
    if (!tunnel.faults || !tunnel.faults->broadcast) {
        return std::unique_ptr<LabBroadcast>{};
    }
    auto made = std::make_unique<UdpBroadcast>(services.loop, tunnel);
    if (auto error = made->open(*tunnel.faults->broadcast)) {
        return "tunnel " + tunnel.name + ": faults.broadcast: " + *error;
    }
    return std::unique_ptr<LabBroadcast>{std::move(made)};
}

} // namespace gateway
