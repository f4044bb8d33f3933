#include "ntp-shim/nts_ke_server.hpp"

#include "tests/unit/ntp-shim/nts_bits.hpp"

using ntp_shim::AeadId;
using ntp_shim::judge_request;
using ntp_shim::KeAgreement;
using ntp_shim::KeError;
using ntp_shim::KeServerPolicy;
using namespace nts;

namespace {

const Octets kEnd = from_hex("80000000");
const Octets kProtocol = from_hex("800100020000");
const Octets kAead = from_hex("80040002000F");

/// "agreed AEAD", "no ntpv4", "no aead" or "error N".
std::string judged(const Octets& records, const KeServerPolicy& policy = {})
{
    const auto verdict = judge_request(records + kEnd, policy);
    if (const auto* error = std::get_if<KeError>(&verdict)) {
        return "error " + std::to_string(static_cast<int>(*error));
    }
    const auto& agreement = std::get<KeAgreement>(verdict);
    if (!agreement.ntpv4) {
        return "no ntpv4";
    }
    return agreement.aead ? "agreed " + std::to_string(static_cast<int>(*agreement.aead)) : "no aead";
}

KeAgreement agreed(const Octets& records, const KeServerPolicy& policy = {})
{
    const auto verdict = judge_request(records + kEnd, policy);
    REQUIRE(std::holds_alternative<KeAgreement>(verdict));
    return std::get<KeAgreement>(verdict);
}

const std::string kBadRequest = "error 1";

} // namespace

TEST_SUITE_BEGIN("nts_ke_server");

TEST_CASE("a request for NTPv4 with the mandatory algorithm is agreed to, in either order")
{
    CHECK(judged(kProtocol + kAead) == "agreed 15");
    CHECK(judged(kAead + kProtocol) == "agreed 15");
    CHECK(judged(kProtocol + from_hex("00040002000F")) == "agreed 15"); // section 4.1.5: the bit MAY be set
}

TEST_CASE("RFC 8915 section 4.1.2: Next Protocol is there once, critical, and names at least one")
{
    CHECK(judged(kAead) == kBadRequest);
    CHECK(judged(kProtocol + kProtocol + kAead) == kBadRequest);
    CHECK(judged(from_hex("000100020000") + kAead) == kBadRequest);
    CHECK(judged(from_hex("80010000") + kAead) == kBadRequest);
    CHECK(judged(from_hex("8001000100") + kAead) == kBadRequest);
    CHECK(judged(from_hex("8001000480010000") + kAead) == "agreed 15");
}

TEST_CASE("section 4.1.2: a request for other protocols only is answered with none")
{
    CHECK(judged(from_hex("800100028001")) == "no ntpv4");
    CHECK(judged(from_hex("800100028001") + kAead) == "no ntpv4");
    CHECK(make_response(agreed(from_hex("800100028001")), nullptr, {}) == from_hex("8001000080000000"));
}

TEST_CASE("section 4.1.5: with NTPv4 there is one list of algorithms, with at least one in it")
{
    CHECK(judged(kProtocol) == kBadRequest);
    CHECK(judged(kProtocol + kAead + kAead) == kBadRequest);
    CHECK(judged(kProtocol + from_hex("80040000")) == kBadRequest);
    CHECK(judged(kProtocol + from_hex("8004000300000F")) == kBadRequest);
}

TEST_CASE("section 4.1.5: the client's first algorithm that we have is chosen, and 15 never refused")
{
    CHECK(judged(kProtocol + from_hex("800400040011000F")) == "agreed 17");
    CHECK(judged(kProtocol + from_hex("80040004000F0011")) == "agreed 15");
    CHECK(judged(kProtocol + from_hex("8004000600100001000F")) == "agreed 15");
    CHECK(judged(kProtocol + from_hex("800400040011000F"), {.aeads = {AeadId::siv_cmac_256}, .servers = {}}) ==
          "agreed 15");
}

TEST_CASE("section 4.1.5: without a common algorithm the answer's list is empty, and there are no cookies")
{
    CHECK(judged(kProtocol + from_hex("800400020010")) == "no aead");
    CHECK(make_response(agreed(kProtocol + from_hex("800400020010")), nullptr, {mixed(104, 1)}) ==
          kProtocol + from_hex("80040000") + kEnd);
}

TEST_CASE("sections 4.1.3, 4.1.4, 4.1.6: Error, Warning and Cookie records are not a client's")
{
    for (const auto* record : {"800200020000", "800300020000", "000200020000", "00050000"}) {
        CHECK(judged(kProtocol + kAead + from_hex(record)) == kBadRequest);
    }
    CHECK(judged(kProtocol + kAead + from_hex("0005000401020304")) == kBadRequest);
}

TEST_CASE("section 4: an unknown record is passed over, unless it is critical")
{
    CHECK(judged(kProtocol + from_hex("0008000101") + kAead) == "agreed 15");
    CHECK(judged(kProtocol + from_hex("7FFF0000") + kAead) == "agreed 15");
    CHECK(judged(kProtocol + from_hex("8008000101") + kAead) == "error 0");
    CHECK(judged(kProtocol + from_hex("FFFF0000") + kAead) == "error 0");
}

TEST_CASE("section 4.1.3: what is not complete or not well formed is a bad request")
{
    const auto whole = kProtocol + kAead + kEnd;
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const auto verdict = judge_request(Bytes{whole}.first(size), {});
        REQUIRE(std::holds_alternative<KeError>(verdict));
        CHECK(std::get<KeError>(verdict) == KeError::bad_request);
    }
    CHECK(std::holds_alternative<KeError>(judge_request(whole + from_hex("00"), {})));
    CHECK(std::holds_alternative<KeError>(judge_request(whole + kEnd, {})));
    CHECK(ntp_shim::make_error(KeError::bad_request) == from_hex("80020002000180000000"));
}

TEST_CASE("sections 4.1.7, 4.1.8: a wish for a server is one address or name, and one port")
{
    const auto with = [](const Octets& record) { return judged(kProtocol + kAead + record); };
    CHECK(with(from_hex("00060009") + from_hex("3139322E302E322E31")) == "agreed 15"); // 192.0.2.1
    CHECK(with(from_hex("00060000")) == kBadRequest);
    CHECK(with(from_hex("000600033A2566")) == kBadRequest);
    CHECK(with(from_hex("0006000161") + from_hex("0006000161")) == kBadRequest);
    CHECK(with(from_hex("00070002007B")) == "agreed 15");
    CHECK(with(from_hex("0007000100")) == kBadRequest);
    CHECK(with(from_hex("00070002007B") + from_hex("00070002007B")) == kBadRequest);
}

TEST_CASE("section 4.1.7: the server wished for is answered where we have it, else one of the session's family")
{
    const KeServerPolicy policy{.aeads = ntp_shim::built_in_aeads(),
                                .servers = {{.host = "192.0.2.1", .port = 123},
                                            {.host = "2001:db8::1", .port = 1123},
                                            {.host = "198.51.100.7", .port = 123}}};
    const auto plain = agreed(kProtocol + kAead, policy);
    CHECK(choose_server(policy, plain, false, 0)->host == "192.0.2.1");
    CHECK(choose_server(policy, plain, false, 1)->host == "198.51.100.7");
    CHECK(choose_server(policy, plain, false, 2)->host == "192.0.2.1");
    CHECK(choose_server(policy, plain, true, 5)->host == "2001:db8::1");
    auto wishing = plain;
    wishing.host_wish = "198.51.100.7";
    CHECK(choose_server(policy, wishing, true, 0)->host == "198.51.100.7");
    wishing.host_wish = "203.0.113.1"; // not ours
    CHECK(choose_server(policy, wishing, true, 0)->host == "2001:db8::1");
    CHECK(choose_server({}, plain, false, 0) == nullptr);
}

TEST_CASE(
    "section 4.1.6: cookies follow, not critical; server and port are critical, and left out when they say nothing")
{
    const ntp_shim::NtpServerOffer server{.host = "a", .port = 1123};
    const auto agreement = agreed(kProtocol + kAead);
    CHECK(make_response(agreement, &server, {from_hex("01020304")}) ==
          kProtocol + kAead + from_hex("8006000161") + from_hex("800700020463") + from_hex("0005000401020304") + kEnd);
    const ntp_shim::NtpServerOffer here{};
    CHECK(make_response(agreement, &here, {}) == kProtocol + kAead + kEnd);
}

TEST_CASE("section 5.1: the exporter's context is protocol, algorithm and direction")
{
    using ntp_shim::Direction;
    const auto context = [](AeadId aead, bool compliant, Direction direction) {
        const auto made = ntp_shim::exporter_context(aead, compliant, direction);
        return Octets(made.begin(), made.end());
    };
    CHECK(context(AeadId::siv_cmac_256, false, Direction::client_to_server) == from_hex("0000000F00"));
    CHECK(context(AeadId::siv_cmac_256, true, Direction::server_to_client) == from_hex("0000000F01"));
    CHECK(context(AeadId::siv_cmac_512, false, Direction::server_to_client) == from_hex("0000001101"));
    // chrony 4.4 to 4.6, and everybody who says by record 1024 that it does not do so
    CHECK(context(AeadId::gcm_siv_128, false, Direction::client_to_server) == from_hex("0000000F00"));
    CHECK(context(AeadId::gcm_siv_128, true, Direction::client_to_server) == from_hex("0000001E00"));
}

TEST_CASE("record 1024 is empty")
{
    CHECK(agreed(kProtocol + kAead + from_hex("04000000")).compliant_export);
    CHECK_FALSE(agreed(kProtocol + kAead).compliant_export);
    CHECK(judged(kProtocol + kAead + from_hex("0400000100")) == kBadRequest);
}

TEST_SUITE_END();
