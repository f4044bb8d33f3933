#include "gateway/good_time.hpp"

#include <doctest/doctest.h>

#include "tests/unit/gateway/config_folder.hpp"
#include "transports/clock.hpp"

using gateway::ConfigFolder;
using gateway::parse_good_time;
using namespace std::chrono_literals;

namespace {

std::string tunnel(const std::string& tls, const std::string& channel = "tls")
{
    return "tunnels:\n- {name: a, role: client, listen: 127.0.0.2:123, connect: gw, channel: " + channel +
           ", tls: {ca: ca.pem, " + tls + "}}\n";
}

std::string said(const std::vector<gateway::Problem>& problems)
{
    std::string text;
    for (const auto& problem : problems) {
        text += problem.text() + "\n";
    }
    return text;
}

bool holds(const std::string& text, const std::string& part)
{
    CAPTURE(text);
    return text.find(part) != std::string::npos;
}

} // namespace

TEST_SUITE_BEGIN("good_time");

TEST_CASE("what is written is read again")
{
    for (const auto time : {0s, 1s, std::chrono::seconds{1'800'000'000}, std::chrono::seconds{99'999'999'999}}) {
        const auto read = parse_good_time(gateway::write_good_time(time));
        REQUIRE(std::holds_alternative<std::chrono::seconds>(read));
        CHECK(std::get<std::chrono::seconds>(read) == time);
    }
}

TEST_CASE("anything else is refused with its line")
{
    const std::string good = gateway::write_good_time(std::chrono::seconds{1'800'000'000});
    for (std::size_t size = 0; size < good.size(); ++size) {
        CHECK(std::holds_alternative<std::string>(parse_good_time(good.substr(0, size))));
    }
    for (const std::string text : {"ntpgate-time 2\n1\n", "ntpgate-time 1\n-1\n", "ntpgate-time 1\n1 \n",
                                   "ntpgate-time 1\n1\n\n", "ntpgate-time 1\n999999999999\n", "ntpgate-time 1\n0x1\n",
                                   "ntpgate-time 1\n99999999999999999999999\n", "ntpgate-time 1\n\n"}) {
        CAPTURE(text);
        CHECK(std::holds_alternative<std::string>(parse_good_time(text)));
    }
}

TEST_CASE("the program was made before now, and not long ago by the calendar")
{
    CHECK(gateway::build_time() > std::chrono::seconds{1'700'000'000});
    CHECK(gateway::build_time() <= transports::read_wall());
}

TEST_CASE("bootstrap gives a client role a clock of its own, bounded by the build date and the last good time")
{
    const ConfigFolder folder;
    const auto loaded = folder.load(tunnel("certificate-time: bootstrap"));
    REQUIRE(loaded.config.has_value());
    REQUIRE(loaded.config->tunnels[0].tls.clock != nullptr);
    CHECK(loaded.config->tunnels[0].tls.clock->floor() == gateway::build_time());
    CHECK(holds(said(loaded.warnings), "bootstrap without last-good-time"));
    const auto later = gateway::build_time() + 1000h;
    std::filesystem::permissions(folder.write("good", gateway::write_good_time(later)), std::filesystem::perms{0600});
    const auto bounded = folder.load(tunnel("certificate-time: bootstrap, last-good-time: good", "dtls"));
    REQUIRE(bounded.config.has_value());
    CHECK(bounded.config->tunnels[0].tls.clock->floor() == later);
    CHECK(folder.load(tunnel("certificate-time: strict")).config->tunnels[0].tls.clock == nullptr);
    const auto absent = folder.load(tunnel("certificate-time: bootstrap, last-good-time: none-yet"));
    REQUIRE(absent.config.has_value());
    CHECK(absent.config->tunnels[0].last_good_time == folder.path() / "none-yet");
}

TEST_CASE("what bootstrap cannot work with is refused")
{
    const ConfigFolder folder;
    const auto errors = [&](const std::string& text) { return said(folder.load(text).errors); };
    CHECK(holds(errors(tunnel("last-good-time: good")), "is for certificate-time: bootstrap"));
    CHECK(holds(errors(tunnel("certificate-time: bootstrap, last-good-time: nowhere/good")), "is in no folder"));
    folder.write("open", gateway::write_good_time(gateway::build_time()));
    std::filesystem::permissions(folder.path() / "open", std::filesystem::perms{0666});
    CHECK(holds(errors(tunnel("certificate-time: bootstrap, last-good-time: open")), "open"));
    std::filesystem::permissions(folder.write("broken", "yesterday\n"), std::filesystem::perms{0600});
    CHECK(holds(errors(tunnel("certificate-time: bootstrap, last-good-time: broken")), "delete it to begin anew"));
    CHECK(holds(errors("tunnels:\n- {name: a, role: server, listen: 127.0.0.1:0, upstream: clock, channel: tls, tls: "
                       "{ca: ca.pem, certificate: server.pem, key: server.key, certificate-time: bootstrap}}\n"),
                "bootstrap is for a client role"));
    for (const std::string profile : {"ndcpp-2.0e-td0321", "ndcpp-4.0", "ndcpp-4.0-cnsa1"}) {
        CHECK(holds(errors("profile: " + profile + "\n" + tunnel("certificate-time: bootstrap", "dtls")),
                    "bootstrap is not allowed by profile " + profile));
    }
}

TEST_SUITE_END();
