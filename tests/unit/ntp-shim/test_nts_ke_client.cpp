#include "ntp-shim/nts_ke_client.hpp"

#include "tests/unit/ntp-shim/nts_bits.hpp"

using ntp_shim::AeadId;
using ntp_shim::judge_response;
using ntp_shim::KeOffer;
using ntp_shim::KeRefusal;
using ntp_shim::KeResult;
using namespace nts;

namespace {

const Octets kEnd = from_hex("80000000");
const Octets kProtocol = from_hex("800100020000");
const Octets kAead = from_hex("80040002000F");

Octets cookie(std::size_t size, std::size_t seed = 1)
{
    return field(0x0005, mixed(size, seed), -4); // of a record the length counts the body alone
}

const Octets kGood = kProtocol + kAead + cookie(100);

std::string refused(const Octets& records, const KeOffer& offer = {})
{
    const auto judged = judge_response(records + kEnd, offer);
    const auto* refusal = std::get_if<KeRefusal>(&judged);
    return refusal == nullptr ? "taken" : std::string{name(refusal->fault)};
}

KeResult taken(const Octets& records, const KeOffer& offer = {})
{
    const auto judged = judge_response(records + kEnd, offer);
    REQUIRE(std::holds_alternative<KeResult>(judged));
    return std::get<KeResult>(judged);
}

} // namespace

TEST_SUITE_BEGIN("nts_ke_client");

TEST_CASE("the request names NTPv4 and the algorithms in order, and wishes are not critical")
{
    CHECK(ntp_shim::make_request(
              {.aeads = {AeadId::siv_cmac_256, AeadId::siv_cmac_512}, .host_wish = {}, .port_wish = {}}) ==
          kProtocol + from_hex("80040004000F0011") + kEnd);
    CHECK(ntp_shim::make_request({.aeads = {AeadId::siv_cmac_256}, .host_wish = "a", .port_wish = 1123}) ==
          kProtocol + kAead + from_hex("0006000161") + from_hex("000700020463") + kEnd);
    CHECK(ntp_shim::make_request({.aeads = {AeadId::gcm_siv_128}, .host_wish = {}, .port_wish = {}}) ==
          kProtocol + from_hex("80040002001E") + from_hex("04000000") + kEnd);
}

TEST_CASE("a good response is taken in any order, with the server and port it names")
{
    CHECK(refused(kGood) == "taken");
    CHECK(refused(cookie(100) + kAead + kProtocol) == "taken");
    const auto plain = taken(kGood);
    CHECK(plain.aead == AeadId::siv_cmac_256);
    CHECK_FALSE(plain.host.has_value());
    CHECK(plain.port == 123); // RFC 8915 section 4.1.8: without a record
    const auto named = taken(kGood + from_hex("8006000161") + from_hex("800700020463"));
    CHECK(named.host == "a");
    CHECK(named.port == 1123);
}

TEST_CASE("RFC 8915 section 4.1.2: Next Protocol is there once, critical, and a subset of what was asked")
{
    CHECK(refused(kAead + cookie(100)) == "malformed");
    CHECK(refused(kProtocol + kGood) == "malformed");
    CHECK(refused(from_hex("000100020000") + kAead + cookie(100)) == "malformed");
    CHECK(refused(from_hex("80010000") + kAead) == "no_common_protocol");
    CHECK(refused(from_hex("800100028001") + kAead) == "malformed");
    CHECK(refused(from_hex("8001000400000000") + kAead) == "malformed");
}

TEST_CASE("section 4.1.3: an Error record ends it, wherever it stands, and says why")
{
    for (const auto& message : {from_hex("800200020001"), kGood + from_hex("800200020001"),
                                from_hex("FFFF0000") + from_hex("800200020001")}) {
        const auto judged = judge_response(message + kEnd, {});
        REQUIRE(std::holds_alternative<KeRefusal>(judged));
        CHECK(std::get<KeRefusal>(judged).fault == ntp_shim::KeFault::error_record);
        CHECK(std::get<KeRefusal>(judged).code == 1);
    }
    CHECK(refused(from_hex("80020001") + from_hex("00")) == "malformed");
    CHECK(refused(from_hex("80020000")) == "malformed");
}

TEST_CASE("section 4.1.4: an unknown warning is an error")
{
    CHECK(refused(kGood + from_hex("800300020000")) == "warning_record");
    CHECK(refused(kGood + from_hex("80030000")) == "malformed");
}

TEST_CASE("section 4.1.5: at most one algorithm is chosen, and only one that was offered")
{
    CHECK(refused(kProtocol + cookie(100)) == "malformed");
    CHECK(refused(kGood + kAead) == "malformed");
    CHECK(refused(kProtocol + from_hex("80040000")) == "no_common_aead");
    CHECK(refused(kProtocol + from_hex("80040004000F0011") + cookie(100)) == "malformed");
    const KeOffer wide{.aeads = {AeadId::siv_cmac_512}, .host_wish = {}, .port_wish = {}};
    CHECK(refused(kGood, wide) == "aead_not_offered"); // as NTPsec answers
    CHECK(refused(kProtocol + from_hex("800400020010") + cookie(100)) == "aead_not_offered");
}

TEST_CASE("section 4.1.6: at least one cookie that a request can carry, of which eight are kept")
{
    CHECK(refused(kProtocol + kAead) == "no_cookie");
    CHECK(refused(kProtocol + kAead + cookie(101)) == "no_cookie");
    CHECK(refused(kProtocol + kAead + cookie(8)) == "no_cookie");
    CHECK(refused(kProtocol + kAead + cookie(1028)) == "no_cookie");
    CHECK(refused(kProtocol + kAead + cookie(1024)) == "taken");
    auto many = kProtocol + kAead;
    for (std::size_t count = 0; count < 12; ++count) {
        many = many + cookie(104, count);
    }
    CHECK(taken(many).cookies.size() == 8);
    CHECK(taken(many).cookies[7] == mixed(104, 7));
}

TEST_CASE("section 4: an unknown record is passed over, unless it is critical")
{
    CHECK(refused(kGood + from_hex("0008000101")) == "taken");
    CHECK(refused(kGood + from_hex("8008000101")) == "critical_unknown");
}

TEST_CASE("sections 4.1.7, 4.1.8: one server, one port, and what they may say")
{
    CHECK(refused(kGood + from_hex("8006000161") + from_hex("8006000161")) == "malformed");
    CHECK(refused(kGood + from_hex("80060000")) == "bad_server");
    CHECK(refused(kGood + from_hex("80060008666538303A3A3125")) == "bad_server"); // fe80::1% : a zone
    CHECK(refused(kGood + from_hex("800700020000")) == "bad_server");
    CHECK(refused(kGood + from_hex("80070001") + from_hex("01")) == "malformed");
    CHECK(refused(kGood + from_hex("800700020463") + from_hex("800700020463")) == "malformed");
}

TEST_CASE("section 4: nothing is taken before End of Message, nor what follows it")
{
    const auto whole = kGood + kEnd;
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const auto judged = judge_response(Bytes{whole}.first(size), {});
        REQUIRE(std::holds_alternative<KeRefusal>(judged));
        CHECK(std::get<KeRefusal>(judged).fault == ntp_shim::KeFault::incomplete);
    }
    CHECK(std::holds_alternative<KeRefusal>(judge_response(whole + from_hex("00"), {})));
}

TEST_CASE("a description shows every record and no cookie")
{
    const auto lines = ntp_shim::describe_message(kGood + from_hex("8006000161") + from_hex("00080001AA") + kEnd);
    CHECK(lines ==
          std::vector<std::string>{"next protocol (critical): 0 [800100020000]", "AEAD (critical): 15 [80040002000F]",
                                   "new cookie: 100 octets [00050064...]", "NTP server (critical): a [8006000161]",
                                   "type 8: 1 octets [00080001...]", "end of message (critical): empty [80000000]"});
    CHECK(ntp_shim::describe_message(kGood).size() == 3);
    CHECK(ntp_shim::describe_message(kProtocol + from_hex("8004")).back() == "and 2 octets more");
    CHECK(ntp_shim::describe_message(kProtocol + from_hex("80040004000F")).back() ==
          "cut short: a record of 4 octets, 2 there");
    CHECK(ntp_shim::describe_message(Octets(65536)).size() == 65);
}

TEST_SUITE_END();
