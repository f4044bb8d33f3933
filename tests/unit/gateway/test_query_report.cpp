#include <doctest/doctest.h>

#include <sstream>

#include <nlohmann/json.hpp>

#include "gateway/query_report.hpp"
#include "ntp-shim/clock_reply.hpp"

using namespace std::chrono_literals;
using gateway::query_sample;

namespace {

ntp_shim::Packet reply_of(std::uint64_t receive, std::uint64_t transmit)
{
    ntp_shim::Packet packet;
    packet.stratum = 2;
    packet.version = 4;
    packet.reference_id = 0x7f7f0101;
    packet.receive = receive;
    packet.transmit = transmit;
    return packet;
}

} // namespace

TEST_SUITE("query_report")
{
    TEST_CASE("offset and delay are those of RFC 5905")
    {
        // The server is 2 s ahead; 10 ms there, 1 ms inside, 10 ms back.
        const auto sent = 1'700'000'000s;
        const auto sample =
            query_sample(reply_of(ntp_shim::ntp_timestamp(sent + 2s + 10ms), ntp_shim::ntp_timestamp(sent + 2s + 11ms)),
                         sent, sent + 21ms);
        CHECK(sample.offset == doctest::Approx(2.0).epsilon(1e-8));
        CHECK(sample.delay == doctest::Approx(0.020).epsilon(1e-6));
    }

    TEST_CASE("the end of an NTP era between the two ends changes nothing")
    {
        const auto era_end = 2'085'978'496s; // 2036-02-07T06:28:16Z
        const auto sample =
            query_sample(reply_of(ntp_shim::ntp_timestamp(era_end + 1s), ntp_shim::ntp_timestamp(era_end + 1s)),
                         era_end - 1s, era_end - 1s);
        CHECK(sample.offset == doctest::Approx(2.0));
    }

    TEST_CASE("a query packet is a bare version 4 request")
    {
        const auto packet = gateway::query_packet(0x0102030405060708U);
        const auto parsed = ntp_shim::Packet::parse(packet);
        REQUIRE(parsed.has_value());
        CHECK(parsed->mode == ntp_shim::kModeClient);
        CHECK(parsed->version == 4);
        CHECK(parsed->transmit == 0x0102030405060708U);
        CHECK(parsed->origin == 0);
    }

    TEST_CASE("the report shows the sample with the least delay")
    {
        gateway::QueryReport report;
        report.channel = "tls";
        report.peer = "192.0.2.1:4461";
        report.samples = {{0.5, 0.9, 2, 0, 4, 1}, {0.1, 0.2, 2, 0, 4, 0x4c4f434c}, {0.3, 0.4, 2, 0, 4, 1}};
        std::ostringstream out;
        CHECK(gateway::print_report(report, true, out) == 0);
        const auto document = nlohmann::json::parse(out.str());
        CHECK(document["offset"] == 0.1);
        CHECK(document["delay"] == 0.2);
        CHECK(document["samples"] == 3);
        CHECK(document["refid"] == "4c4f434c");
        CHECK(document["jitter"].get<double>() == doctest::Approx(0.3162).epsilon(1e-3));
    }

    TEST_CASE("without samples the report says at which step and why, and is a failure")
    {
        gateway::QueryReport report;
        report.failure = {"handshake", "unknown_ca", "line\nbreak"};
        std::ostringstream json;
        CHECK(gateway::print_report(report, true, json) == 1);
        CHECK(nlohmann::json::parse(json.str())["error"]["reason"] == "unknown_ca");
        std::ostringstream text;
        CHECK(gateway::print_report(report, false, text) == 1);
        CHECK(text.str() == "no time: handshake: unknown_ca (line\\x0abreak)\n");
    }
}
