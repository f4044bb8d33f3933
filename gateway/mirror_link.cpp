#include "gateway/mirror_link.hpp"

#include <array>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ntp-shim/clock_reply.hpp"
#include "ntp-shim/mirror.hpp"
#include "ntp-shim/seal.hpp"
#include "transports/loop.hpp"
#include "transports/udp.hpp"

namespace gateway {

namespace {

using ntp_shim::MirrorFault;
using transports::Nanoseconds;

constexpr Nanoseconds kPollEvery = std::chrono::seconds{2};
constexpr Nanoseconds kFirstPolls = std::chrono::milliseconds{250}; // until there is anything to answer with
constexpr std::uint8_t kVersion = 4;

ntp_shim::ClockPair clock_pair(const transports::ClockReading& reading)
{
    return {.wall = reading.wall, .raw = reading.now.raw};
}

class MirrorLink final : public UpstreamLink, private transports::UdpHandler {
public:
    MirrorLink(Services services, const MirrorUpstream& mirror, UpstreamOwner& owner)
        : services_{services}, address_{mirror.address}, owner_{owner}, mirror_{{.max_offset = mirror.max_offset}},
          timer_{services.loop, [this] { poll(); }}
    {}

    std::optional<std::string> open()
    {
        auto result = transports::UdpSocket::connect(services_.loop, address_.storage, *this);
        if (auto* error = std::get_if<std::string>(&result)) {
            return std::move(*error);
        }
        socket_ = std::move(std::get<std::unique_ptr<transports::UdpSocket>>(result));
        timer_.start(Nanoseconds::zero());
        return std::nullopt;
    }

    /// Both stamps are of one reading of the clocks: the holds before and after it are the shim's to correct, as with a
    /// daemon.
    std::optional<ntp_shim::DropReason> ask(std::span<const std::byte> packet) override
    {
        const auto reading = transports::read_clocks();
        const auto stamp = ntp_shim::ntp_timestamp(reading.wall);
        mirror_.on_clock(clock_pair(reading));
        tell();
        const auto reply =
            mirror_.answer({.request = packet, .receive = stamp, .transmit = stamp, .raw = reading.now.raw});
        if (!reply) {
            return ntp_shim::DropReason::mirror_invalid;
        }
        owner_.on_answer(*reply, reading.now);
        return std::nullopt;
    }

    void on_clock_step() override
    {
        asked_ = false; // what answers the poll under way would be compared with two clocks
        mirror_.on_step();
        tell();
    }

private:
    void poll()
    {
        if (asked_) {
            mirror_.on_missed();
            tell();
        }
        std::array<std::byte, ntp_shim::kHeaderSize> request{};
        transmit_ = services_.random.bits();
        ntp_shim::write_reissued(request, kVersion, transmit_);
        asked_ = true;
        const auto reading = transports::read_clocks();
        mirror_.on_clock(clock_pair(reading));
        sent_wall_ = reading.wall;
        socket_->send(request);
        timer_.start(mirror_.fault() == MirrorFault::starting ? kFirstPolls : kPollEvery);
    }

    void on_datagram(const transports::Datagram& datagram) override
    {
        const auto packet = ntp_shim::Packet::parse(datagram.bytes);
        if (!asked_ || datagram.truncated || !packet || packet->mode != ntp_shim::kModeServer ||
            packet->origin != transmit_) {
            return; // not the answer to the last poll
        }
        asked_ = false;
        const auto reading = transports::read_clocks();
        const auto waited = reading.now.raw - datagram.arrival.raw;
        mirror_.on_poll({.reply = datagram.bytes,
                         .sent_wall = sent_wall_,
                         .received = {.wall = reading.wall - waited, .raw = reading.now.raw - waited}});
        tell();
    }
    void on_refused(int error) override
    {
        if (!std::exchange(refused_, true)) {
            owner_.on_unreachable(address_.text() + ": " + std::strerror(error));
        }
    }
    void on_send_failed(std::size_t) override {}

    /// Once for each change.
    void tell()
    {
        const auto fault = mirror_.fault();
        if (fault == told_) {
            return;
        }
        told_ = fault;
        if (!fault) {
            refused_ = false;
            services_.log.info(fmt::format("mirror of {}: answering from the system clock", address_.text()));
            return;
        }
        AuditRecord record;
        record.event = AuditEvent::mirror_invalid;
        record.success = false;
        record.peer = address_.text();
        record.reason = name(*fault);
        services_.audit.record(record);
        services_.log.warn(
            fmt::format("mirror of {}: mirror_invalid: {}; no time is served", address_.text(), name(*fault)));
    }

    Services services_;
    SocketAddress address_;
    UpstreamOwner& owner_;
    ntp_shim::Mirror mirror_;
    std::optional<MirrorFault> told_ = MirrorFault::starting;
    std::unique_ptr<transports::UdpSocket> socket_;
    std::uint64_t transmit_ = 0;
    Nanoseconds sent_wall_{};
    bool asked_ = false;
    bool refused_ = false;
    transports::Timer timer_;
};

} // namespace

std::variant<std::unique_ptr<UpstreamLink>, std::string> make_mirror(Services services, const MirrorUpstream& mirror,
                                                                     UpstreamOwner& owner)
{
    auto link = std::make_unique<MirrorLink>(services, mirror, owner);
    if (auto error = link->open()) {
        return std::move(*error);
    }
    return std::unique_ptr<UpstreamLink>{std::move(link)};
}

} // namespace gateway
