#include "gateway/query_report.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gateway/printable.hpp"
#include "gateway/program.hpp"
#include "ntp-shim/clock_reply.hpp"
#include "ntp-shim/packet.hpp"

namespace gateway {

std::array<std::byte, kQueryPacket> query_packet(std::uint64_t transmit) noexcept
{
    std::array<std::byte, kQueryPacket> packet{};
    packet[0] = std::byte{0x23}; // leap 0, version 4, mode 3
    for (std::size_t i = 0; i < 8; ++i) {
        packet.at(40 + i) = static_cast<std::byte>(transmit >> (56 - 8 * i));
    }
    return packet;
}

QuerySample query_sample(const ntp_shim::Packet& reply, std::chrono::nanoseconds sent,
                         std::chrono::nanoseconds received) noexcept
{
    const std::uint64_t t1 = ntp_shim::ntp_timestamp(sent);
    const std::uint64_t t4 = ntp_shim::ntp_timestamp(received);
    const std::uint64_t t2 = reply.receive;
    const std::uint64_t t3 = reply.transmit;
    QuerySample sample;
    sample.offset = (ntp_shim::seconds_between(t2, t1) + ntp_shim::seconds_between(t3, t4)) / 2;
    sample.delay = ntp_shim::seconds_between(t4, t1) - ntp_shim::seconds_between(t3, t2);
    sample.stratum = reply.stratum;
    sample.leap = reply.leap;
    sample.version = reply.version;
    sample.reference_id = reply.reference_id;
    return sample;
}

int print_report(const QueryReport& report, bool json, std::ostream& out)
{
    if (report.samples.empty()) {
        const QueryFailure& failure = report.failure;
        if (json) {
            const nlohmann::ordered_json document = {
                {"error", {{"step", failure.step}, {"reason", failure.reason}, {"text", printable(failure.text)}}}};
            out << document.dump() << '\n';
        } else {
            out << fmt::format("no time: {}: {}{}\n", failure.step, failure.reason,
                               failure.text.empty() ? "" : " (" + printable(failure.text) + ")");
        }
        return kFailure;
    }
    const auto best = std::min_element(report.samples.begin(), report.samples.end(),
                                       [](const auto& a, const auto& b) { return a.delay < b.delay; });
    double squares = 0;
    for (const QuerySample& sample : report.samples) {
        squares += (sample.offset - best->offset) * (sample.offset - best->offset);
    }
    const double jitter =
        report.samples.size() < 2 ? 0 : std::sqrt(squares / static_cast<double>(report.samples.size() - 1));
    const std::string refid = fmt::format("{:08x}", best->reference_id);
    if (json) {
        const nlohmann::ordered_json document = {{"channel", report.channel},
                                                 {"peer", printable(report.peer)},
                                                 {"samples", report.samples.size()},
                                                 {"offset", best->offset},
                                                 {"delay", best->delay},
                                                 {"jitter", jitter},
                                                 {"stratum", best->stratum},
                                                 {"leap", best->leap},
                                                 {"refid", refid},
                                                 {"version", best->version}};
        out << document.dump() << '\n';
    } else {
        out << fmt::format("{} {}: offset {:+.6f} s, delay {:.6f} s, jitter {:.6f} s, stratum {}, leap {}, refid {}, "
                           "{} samples\n",
                           report.channel, printable(report.peer), best->offset, best->delay, jitter, best->stratum,
                           best->leap, refid, report.samples.size());
    }
    return kSuccess;
}

} // namespace gateway
