#include "gateway/upstream_link.hpp"

#include <cstring>
#include <utility>

#include <sys/timex.h>

#include "gateway/mirror_link.hpp"
#include "ntp-shim/clock_reply.hpp"
#include "transports/udp.hpp"

namespace gateway {

namespace {

class DaemonLink final : public UpstreamLink, private transports::UdpHandler {
public:
    DaemonLink(transports::Loop& loop, const DaemonUpstream& daemon, UpstreamOwner& owner)
        : loop_{loop}, address_{daemon.address}, owner_{owner}
    {}

    std::optional<std::string> open()
    {
        auto result = transports::UdpSocket::connect(loop_, address_.storage, *this);
        if (auto* error = std::get_if<std::string>(&result)) {
            return std::move(*error);
        }
        socket_ = std::move(std::get<std::unique_ptr<transports::UdpSocket>>(result));
        return std::nullopt;
    }

    std::optional<ntp_shim::DropReason> ask(std::span<const std::byte> packet) override
    {
        socket_->send(packet);
        return std::nullopt;
    }

private:
    void on_datagram(const transports::Datagram& datagram) override
    {
        reported_ = false;
        owner_.on_answer(datagram.truncated ? std::span<const std::byte>{} : datagram.bytes, datagram.arrival);
    }
    void on_refused(int error) override
    {
        if (!reported_) {
            reported_ = true;
            owner_.on_unreachable(address_.text() + ": " + std::strerror(error));
        }
    }
    void on_send_failed(std::size_t count) override { owner_.on_unasked(count); }

    transports::Loop& loop_;
    SocketAddress address_;
    UpstreamOwner& owner_;
    std::unique_ptr<transports::UdpSocket> socket_;
    bool reported_ = false;
};

class ClockLink final : public UpstreamLink {
public:
    ClockLink(const ClockUpstream& clock, UpstreamOwner& owner)
        : free_running_{clock.free_running}, offset_{clock.offset}, owner_{owner}
    {
        header_.stratum = clock.stratum;
        header_.leap = clock.leap;
        header_.root_dispersion = clock.root_dispersion;
    }

    std::optional<ntp_shim::DropReason> ask(std::span<const std::byte> packet) override
    {
        timex state{};
        const int status = adjtimex(&state);
        const bool synchronised = status >= 0 && status != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
        if (!synchronised && !free_running_) {
            return ntp_shim::DropReason::upstream_unsynchronised;
        }
        const transports::ClockReading received = transports::read_clocks();
        const auto reply = ntp_shim::clock_reply(packet, header_, ntp_shim::ntp_timestamp(received.wall + offset_),
                                                 ntp_shim::ntp_timestamp(transports::read_wall() + offset_));
        owner_.on_answer(reply, transports::read_instant());
        return std::nullopt;
    }

private:
    bool free_running_;
    transports::Nanoseconds offset_; // what is told is ahead of the clock by that; zero outside a laboratory
    ntp_shim::ClockHeader header_;
    UpstreamOwner& owner_;
};

} // namespace

std::variant<std::unique_ptr<UpstreamLink>, std::string> make_upstream(Services services, const Upstream& upstream,
                                                                       UpstreamOwner& owner)
{
    if (const auto* clock = std::get_if<ClockUpstream>(&upstream)) {
        return std::make_unique<ClockLink>(*clock, owner);
    }
    if (const auto* mirror = std::get_if<MirrorUpstream>(&upstream)) {
        return make_mirror(services, *mirror, owner);
    }
    auto link = std::make_unique<DaemonLink>(services.loop, std::get<DaemonUpstream>(upstream), owner);
    if (auto error = link->open()) {
        return std::move(*error);
    }
    return std::unique_ptr<UpstreamLink>{std::move(link)};
}

} // namespace gateway
