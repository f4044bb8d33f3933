// Clauses of RFC 8915 that no other suite has a case of its own for; docs/nts-clauses.md lists all of them.
#include <algorithm>
#include <set>
#include <string>

#include "ntp-shim/nts_ke_client.hpp"
#include "ntp-shim/nts_ke_server.hpp"
#include "tests/unit/ntp-shim/nts_bits.hpp"

using namespace nts;

namespace {

const Octets kEnd = from_hex("80000000");
const Octets kProtocol = from_hex("800100020000");
const Octets kAead = from_hex("80040002000F");
const Octets kId = field(0x0104, mixed(32, 1));

/// Type and critical bit of every record of a message of ours.
std::vector<std::pair<std::uint16_t, bool>> records_of(const Octets& message)
{
    const auto records = ntp_shim::parse_message(message);
    REQUIRE(records.has_value());
    std::vector<std::pair<std::uint16_t, bool>> out;
    for (const auto& record : *records) {
        out.emplace_back(record.type, record.critical);
    }
    return out;
}

std::string body(Bytes octets, std::size_t begin, std::size_t size)
{
    std::string out;
    for (const auto octet : octets.subspan(begin, size)) {
        out.push_back(static_cast<char>(octet));
    }
    return out;
}

} // namespace

TEST_SUITE_BEGIN("nts_clauses");

TEST_CASE("rfc8915_4_a_request_of_16384_octets_is_judged_like_a_short_one")
{
    // MUST accept 1024 at least
    const auto filler = field(0x0008, Octets(16384 - 6 - 6 - 4 - 4), -4);
    const auto message = kProtocol + kAead + filler + kEnd;
    REQUIRE(message.size() == ntp_shim::kMaxKeRequest);
    CHECK(std::holds_alternative<ntp_shim::KeAgreement>(ntp_shim::judge_request(message, {})));
}

TEST_CASE("rfc8915_4_a_response_of_65536_octets_is_taken")
{
    const auto filler = field(0x0008, Octets(65536 - 6 - 6 - 104 - 4 - 4), -4);
    const auto message = kProtocol + kAead + field(0x0005, mixed(100, 1), -4) + filler + kEnd;
    REQUIRE(message.size() == ntp_shim::kMaxKeResponse);
    CHECK(std::holds_alternative<ntp_shim::KeResult>(ntp_shim::judge_response(message, {})));
}

TEST_CASE("rfc8915_4_1_2_and_4_1_3_our_records_are_critical_where_they_must_be")
{
    using Records = std::vector<std::pair<std::uint16_t, bool>>;
    CHECK(records_of(ntp_shim::make_request({})).front() == std::pair<std::uint16_t, bool>{1, true});
    ntp_shim::KeAgreement agreement;
    agreement.ntpv4 = true;
    agreement.aead = ntp_shim::AeadId::siv_cmac_256;
    const auto response = records_of(ntp_shim::make_response(agreement, nullptr, {mixed(104, 1)}));
    CHECK(response == Records{{1, true}, {4, true}, {5, false}}); // section 4.1.6: a cookie's SHOULD NOT be set
    for (const auto error : {ntp_shim::KeError::unrecognised_critical_record, ntp_shim::KeError::bad_request,
                             ntp_shim::KeError::internal_error}) {
        CHECK(records_of(ntp_shim::make_error(error)) == Records{{2, true}});
    }
}

TEST_CASE("rfc8915_4_1_3_and_4_1_4_and_4_1_6_our_request_has_no_error_warning_or_cookie")
{
    for (const auto& [type, critical] :
         records_of(ntp_shim::make_request({.aeads = ntp_shim::built_in_aeads(), .host_wish = "a", .port_wish = 1}))) {
        CHECK(type != 2);
        CHECK(type != 3);
        CHECK(type != 5);
        CHECK(critical == (type == 1 || type == 4)); // sections 4.1.7, 4.1.8: clients SHOULD NOT set it
    }
}

TEST_CASE("rfc8915_4_1_5_our_request_has_one_list_and_an_answer_at_most_one_algorithm")
{
    const auto request = ntp_shim::make_request({});
    const auto judged = ntp_shim::judge_request(request, {});
    REQUIRE(std::holds_alternative<ntp_shim::KeAgreement>(judged));
    const auto& agreement = std::get<ntp_shim::KeAgreement>(judged);
    CHECK(agreement.aead == ntp_shim::built_in_aeads().front());
    const auto parsed = ntp_shim::parse_message(ntp_shim::make_response(agreement, nullptr, {mixed(104, 1)}));
    REQUIRE(parsed.has_value());
    CHECK(std::ranges::count_if(*parsed, [](const ntp_shim::Record& record) {
              return record.is(ntp_shim::RecordType::aead) && record.body.size() == 2;
          }) == 1);
}

TEST_CASE("rfc8915_4_1_6_and_5_4_a_cookie_is_not_interpreted_whatever_is_in_it")
{
    for (const auto& cookie : {Octets(100), Octets(100, std::byte{0xff}), kEnd + kEnd + kEnd + kEnd, kId}) {
        const auto judged =
            ntp_shim::judge_response(kProtocol + kAead + field(0x0005, cookie, -4) + kEnd, ntp_shim::KeOffer{});
        REQUIRE(std::holds_alternative<ntp_shim::KeResult>(judged));
        CHECK(std::get<ntp_shim::KeResult>(judged).cookies.front() == cookie);
        ntp_shim::NtsClientSeal client{counting(40)};
        ntp_shim::NtsSession session{.keys = session_keys(), .cookies = {}};
        session.put(cookie);
        client.adopt(std::move(session));
        CHECK(body(protect(client).packet, 88, cookie.size()) == body(cookie, 0, cookie.size()));
    }
}

TEST_CASE("rfc8915_4_3_the_label_is_that_of_the_registry_and_the_context_begins_with_the_protocol")
{
    CHECK(std::string{ntp_shim::kExporterLabel} == "EXPORTER-network-time-security");
    for (const auto direction : {ntp_shim::Direction::client_to_server, ntp_shim::Direction::server_to_client}) {
        const auto context = ntp_shim::exporter_context(ntp_shim::AeadId::siv_cmac_512, true, direction);
        CHECK(context[0] == std::byte{0});
        CHECK(context[1] == std::byte{0});
        CHECK(context.size() == 5);
    }
}

TEST_CASE("rfc8915_5_3_every_request_has_another_identifier_of_32_octets")
{
    ntp_shim::NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring()));
    std::set<std::string> seen;
    for (std::uint64_t count = 0; count < 8; ++count) {
        const auto request = protect(client, packets::kT1 + count).packet;
        CHECK(body(request, 48, 4) == std::string("\x01\x04\x00\x24", 4));
        seen.insert(body(request, 52, 32));
    }
    CHECK(seen.size() == 8);
}

TEST_CASE("rfc8915_5_3_a_long_identifier_is_repeated_whole_in_an_answer_and_in_a_nak")
{
    const auto id = field(0x0104, mixed(96, 5));
    const auto cookie = field(0x0204, own_ring().seal_cookie(session_keys(), mixed(16, 9)));
    const auto request = seal(packets::request() + id + cookie);
    auto server = server_of(own_ring());
    const auto header = packets::packet(packets::answer_to(request));
    const auto reply = reply_to(request, header, server);
    CHECK(body(reply, 48, id.size()) == body(id, 0, id.size()));
    ntp_shim::SealBuffer answer{};
    const auto nak = first(answer, server.refusal(request, ntp_shim::DropReason::bad_cookie, answer));
    CHECK(body(nak, 48, nak.size() - 48) == body(id, 0, id.size()));
}

TEST_CASE("rfc8915_5_4_and_5_5_and_5_6_our_fields_are_in_packets_of_mode_3_and_4_only")
{
    ntp_shim::NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring(), 3));
    const auto request = protect(client);
    CHECK(packets::parse(request.packet).mode == 3);
    auto server = server_of(own_ring());
    const auto reply = reply_to(request.packet, packets::packet(packets::answer_to(request.packet)), server);
    CHECK(packets::parse(reply).mode == 4);
    const auto read = ntp_shim::read_fields(reply);
    REQUIRE(std::holds_alternative<ntp_shim::NtsFields>(read));
    CHECK(std::get<ntp_shim::NtsFields>(read).placeholders == 0); // section 5.5: mode 3 only
    CHECK_FALSE(std::get<ntp_shim::NtsFields>(read).cookie.has_value());
    ntp_shim::SealBuffer answer{};
    const auto nak = first(answer, server.refusal(request.packet, ntp_shim::DropReason::bad_cookie, answer));
    CHECK(packets::parse(nak).mode == 4);
}

TEST_CASE("rfc8915_5_5_a_placeholder_is_as_long_as_the_cookie_beside_it_and_zero")
{
    ntp_shim::NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring(), 4));
    const auto request = protect(client).packet;
    const auto cookie_size = std::size_t{108};
    for (std::size_t at = 84 + cookie_size; at + 40 < request.size(); at += cookie_size) {
        CHECK(body(request, at, 4) == std::string("\x03\x04\x00\x6c", 4));
        CHECK(body(request, at + 4, 104) == std::string(104, '\0'));
    }
    CHECK(request.size() == 84 + 5 * cookie_size + 40);
}

TEST_CASE("rfc8915_5_6_requests_are_sealed_by_the_c2s_key_over_all_that_precedes_with_room_for_a_nonce")
{
    ntp_shim::NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring()));
    const auto request = protect(client).packet;
    const auto read = ntp_shim::read_fields(request);
    REQUIRE(std::holds_alternative<ntp_shim::NtsFields>(read));
    const auto& fields = std::get<ntp_shim::NtsFields>(read);
    CHECK(fields.associated.size() == request.size() - 40);
    CHECK(fields.authenticator->nonce_room >= 16);
    const auto cipher = ntp_shim::Aead::make(session_keys().aead, session_keys().client_to_server.view());
    Octets plain(fields.authenticator->ciphertext.size() - 16);
    CHECK(cipher->open({.nonce = fields.authenticator->nonce, .associated = Bytes{request}.first(request.size() - 40)},
                       fields.authenticator->ciphertext, plain));
    CHECK(plain.empty());
}

TEST_CASE("rfc8915_5_7_the_cookie_of_a_request_is_one_that_was_given")
{
    ntp_shim::NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring()));
    std::set<std::string> given;
    for (const auto& cookie : client.session()->cookies) {
        given.insert(body(cookie, 0, cookie.size()));
    }
    for (std::uint64_t count = 0; count < 8; ++count) {
        CHECK(given.erase(body(protect(client, packets::kT1 + count).packet, 88, 104)) == 1);
    }
}

TEST_CASE("rfc8915_5_7_a_kiss_without_the_identifier_of_the_request_is_discarded")
{
    ntp_shim::NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring()));
    const auto request = protect(client);
    const auto own_id = Octets(request.packet.begin() + 48, request.packet.begin() + 84);
    for (const std::uint32_t code : {0x44454e59U, 0x52415445U, 0x52535452U, ntp_shim::kKissNak}) {
        const auto kiss =
            packets::packet({.leap = 3, .mode = 4, .stratum = 0, .reference_id = code, .origin = packets::kT1});
        CHECK(client.open(kiss, *request.memory) == ntp_shim::DropReason::unprotected);
        CHECK(client.open(kiss + kId, *request.memory) == ntp_shim::DropReason::no_exchange);
        CHECK(client.open(kiss + own_id, *request.memory).has_value());
    }
}

TEST_SUITE_END();
