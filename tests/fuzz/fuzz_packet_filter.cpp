// Whatever is accepted as a request or as its reply satisfies the rules, read here from the octets themselves.
//
//   input: flags (1) | length of the request (2) | request | reply
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/filter.hpp"
#include "ntp-shim/packet.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using fuzz::require;
using ntp_shim::Bytes;
using Octets = std::vector<std::byte>;

unsigned octet(Bytes data, std::size_t position)
{
    return std::to_integer<unsigned>(data[position]);
}

bool is_zero(Bytes data)
{
    return std::ranges::all_of(data, [](std::byte one) { return one == std::byte{0}; });
}

bool same(Bytes one, Bytes other)
{
    return std::ranges::equal(one, other);
}

/// Another packet that differs where no rule looks: poll to root dispersion, and the reference time.
Octets with_other_details(Bytes data)
{
    Octets other(data.begin(), data.end());
    for (std::size_t position = 2; position < 24; ++position) {
        if (position < 12 || position >= 16) {
            other[position] ^= std::byte{0x5a};
        }
    }
    return other;
}

void check_requests(Bytes data)
{
    const auto packet = ntp_shim::Packet::parse(data);
    require(packet.has_value() == (data.size() >= 48), "48 octets are a header");
    require(!ntp_shim::check_length(data) == (data.size() >= 48 && data.size() <= 1024), "48 to 1024 octets");
    if (!packet) {
        return;
    }
    const bool accepted = !ntp_shim::check_request(*packet);
    const auto version = octet(data, 0) >> 3 & 7;
    require(accepted == ((octet(data, 0) & 7) == 3 && version >= 1 && version <= 4), "version 1 to 4 and mode 3");
    require(packet->is_header_only() == (data.size() == 48), "what follows the header is seen");
    auto written = Octets(data.begin(), data.end());
    ntp_shim::write_stamp(written, ntp_shim::StampField::receive, ~packet->receive);
    require(same(Bytes{written}.first(32), data.first(32)) && same(Bytes{written}.subspan(40), data.subspan(40)),
            "a stamp is written in its place");
    require(!same(Bytes{written}.subspan(32, 8), data.subspan(32, 8)), "a stamp is written");
}

/// check_reply; with the planted bug, one that forgot to look at the mode.
std::optional<ntp_shim::DropReason> judge(const ntp_shim::SentRequest& request, Bytes reply, ntp_shim::ReplyRules rules)
{
    auto packet = ntp_shim::Packet::parse(reply).value_or(ntp_shim::Packet{});
    if constexpr (fuzz::kPlantedBug) {
        packet.mode = 4;
    }
    return ntp_shim::check_reply(request, packet, rules);
}

void check_accepted(Bytes request, Bytes reply, ntp_shim::ReplyRules rules)
{
    require((octet(reply, 0) & 7) == 4, "a reply has mode 4");
    require((octet(reply, 0) >> 3 & 7) == (octet(request, 0) >> 3 & 7), "a reply has its request's version");
    const bool basic = same(reply.subspan(24, 8), request.subspan(40, 8));
    const bool interleaved = same(reply.subspan(24, 8), request.subspan(32, 8)) && !is_zero(request.subspan(24, 8)) &&
                             !is_zero(request.subspan(32, 8)) && !is_zero(request.subspan(40, 8)) &&
                             !same(request.subspan(24, 8), request.subspan(32, 8)) &&
                             !same(request.subspan(24, 8), request.subspan(40, 8));
    require(basic || interleaved, "a reply's origin is one of its request's stamps");
    require(reply.size() != 52 || !is_zero(reply.subspan(48)), "no crypto-NAK passes");
    require(reply.size() <= request.size() || request.size() > 48, "no plain request brings more than a header");
    const auto stratum = octet(reply, 1);
    require(rules.pass_unsynchronised || rules.pass_kisses ||
                (stratum >= 1 && stratum <= 15 && octet(reply, 0) >> 6 != 3),
            "what passes is synchronised");
    require((stratum == 0 && rules.pass_kisses) || (!is_zero(reply.subspan(32, 8)) && !is_zero(reply.subspan(40, 8))),
            "T2 and T3 are not zero");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    ntp_shim::ByteReader reader(std::as_bytes(std::span{data, size}));
    const auto flags = reader.u8();
    const auto length = reader.u16();
    const auto request = reader.take(std::min<std::size_t>(length, reader.rest().size()));
    const auto reply = reader.rest();
    check_requests(request);
    check_requests(reply);
    const auto asked = ntp_shim::Packet::parse(request);
    if (!asked || request.size() > 1024 || reply.size() < 48 || reply.size() > 1024) {
        return 0;
    }
    const ntp_shim::ReplyRules rules{.pass_kisses = (flags & 1) != 0, .pass_unsynchronised = (flags & 2) != 0};
    const auto sent = ntp_shim::SentRequest::of(*asked);
    const auto verdict = judge(sent, reply, rules);
    require(judge(sent, with_other_details(reply), rules) == verdict, "only the fields that rules name matter");
    if (!verdict) {
        check_accepted(request, reply, rules);
    }
    return 0;
}
