#include <doctest/doctest.h>

#include <string>

#include "gateway/config.hpp"
#include "tests/unit/gateway/config_folder.hpp"

using namespace gateway;

namespace {

std::string tunnel(const std::string& upstream, const std::string& more = "")
{
    return "profile: lab\ntunnels:\n  - name: one\n    role: server\n    listen: 127.0.0.1:4461\n    channel: tls\n"
           "    upstream: " +
           upstream + "\n    tls: {ca: ca.pem, certificate: server.pem, key: server.key, allow: [\"DNS:a\"]}\n" + more;
}

Tunnel loaded(const std::string& text)
{
    const ConfigFolder folder;
    auto result = folder.load(text);
    REQUIRE_MESSAGE(result.config.has_value(), listing(result.errors));
    return std::move(result.config->tunnels.front());
}

std::string first_error(const std::string& text)
{
    const ConfigFolder folder;
    const auto result = folder.load(text);
    CHECK_FALSE(result.config.has_value());
    return result.errors.empty() ? "" : result.errors.front().message;
}

} // namespace

TEST_SUITE_BEGIN("config_lab");

TEST_CASE("a clock of the laboratory tells what it is told to")
{
    const auto read = loaded(tunnel("{clock: {offset: -90s, stratum: 16, leap: 3, root-dispersion: 2s}}"));
    const auto clock = std::get<ClockUpstream>(read.upstream.value());
    CHECK(clock.offset == std::chrono::seconds{-90});
    CHECK(clock.stratum == 16);
    CHECK(clock.leap == 3);
    CHECK(clock.root_dispersion == std::chrono::seconds{2});
    CHECK_FALSE(read.faults.has_value());
}

TEST_CASE("every fault has its word, and is told by it")
{
    const auto read = loaded(tunnel("clock", "    faults: {delay: 400ms, wrong-origin: true, unsolicited: true, "
                                             "broadcast: \"192.0.2.255:123\"}\n"));
    REQUIRE(read.faults.has_value());
    CHECK(read.faults->texts() ==
          std::vector<std::string>{"delay 400ms", "wrong-origin", "unsolicited", "broadcast to 192.0.2.255:123"});
}

TEST_CASE("what can not work is refused with its reason")
{
    CHECK(first_error(tunnel("clock", "    faults: {delay: 1s}\n")).find("max-round-trip (1s)") != std::string::npos);
    CHECK(first_error(tunnel("clock", "    faults: {mac-digest: SHA1}\n")).find("mac: block") != std::string::npos);
    CHECK(first_error(tunnel("clock", "    faults: {mac-digest: CRC}\n")).find("no digest") != std::string::npos);
    CHECK(first_error(tunnel("{clock: {offset: soon}}")).find("not a duration") != std::string::npos);
    CHECK(first_error(tunnel("{clock: {stratum: 17}}")).find("17") != std::string::npos);
    CHECK(
        first_error("profile: lab\ntunnels:\n- {name: one, role: server, listen: stdio, channel: ssh, upstream: clock, "
                    "faults: {broadcast: \"192.0.2.255:123\"}}\n")
            .find("is not for listen: stdio") != std::string::npos);
    CHECK(first_error(tunnel("{clock: {leap: 4}}")).find('4') != std::string::npos);
}

TEST_SUITE_END();
