// Every way in which one message or packet of NTS can be wrong in one place (RFC 8915 sections 4 and 5).
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "ntp-shim/nts_ke_client.hpp"
#include "ntp-shim/nts_ke_server.hpp"
#include "tests/unit/ntp-shim/nts_bits.hpp"

using namespace nts;

namespace {

using Parts = std::vector<Octets>;
using Words = std::vector<std::string>;

const Octets kEnd = from_hex("80000000");
const Octets kProtocol = from_hex("800100020000");
const Octets kAead = from_hex("80040002000F");
const Octets kServer = from_hex("00060004") + from_hex("6E2E6578"); // "n.ex"
const Octets kPort = from_hex("000700020463");
const Octets kUnknown = from_hex("0008000101");

Octets cookie_record(std::size_t seed)
{
    return field(0x0005, mixed(100, seed), -4); // of a record the length counts the body alone
}

const Parts kRequest{kProtocol, kAead, kServer, kPort, kUnknown, kEnd};
const Parts kResponse{kProtocol, kAead, cookie_record(1), cookie_record(2), kServer, kPort, kUnknown, kEnd};

Octets joined(const Parts& parts)
{
    Octets out;
    for (const auto& part : parts) {
        out = out + part;
    }
    return out;
}

std::string server_says(const Octets& message)
{
    const auto verdict = ntp_shim::judge_request(message, {});
    const auto* error = std::get_if<ntp_shim::KeError>(&verdict);
    return error == nullptr ? "agreed" : "error " + std::to_string(static_cast<int>(*error));
}

std::string client_says(const Octets& message)
{
    const auto verdict = ntp_shim::judge_response(message, {});
    const auto* refusal = std::get_if<ntp_shim::KeRefusal>(&verdict);
    return refusal == nullptr ? "taken" : std::string{name(refusal->fault)};
}

/// What `says` of the message with each of its parts changed by `change` in turn.
template <class Says, class Change>
Words each_changed(const Parts& parts, Says says, Change change)
{
    Words out;
    for (std::size_t at = 0; at < parts.size(); ++at) {
        auto changed = parts;
        change(changed, at);
        out.push_back(says(joined(changed)));
    }
    return out;
}

void add_to_length(Octets& record, int off)
{
    const auto length = std::to_integer<int>(record[2]) << 8 | std::to_integer<int>(record[3]);
    record[2] = static_cast<std::byte>((length + off) >> 8);
    record[3] = static_cast<std::byte>(length + off);
}

void flip_critical(Parts& parts, std::size_t at)
{
    parts[at][0] ^= std::byte{0x80};
}

void repeat(Parts& parts, std::size_t at)
{
    const auto again = parts[at];
    parts.insert(parts.begin() + static_cast<std::ptrdiff_t>(at), again);
}

/// Calls `each` with every order of all parts but the last.
template <class Each>
void every_order(const Parts& parts, Each each)
{
    std::vector<std::size_t> order(parts.size() - 1);
    for (std::size_t at = 0; at < order.size(); ++at) {
        order[at] = at;
    }
    do {
        Parts shuffled;
        for (const auto at : order) {
            shuffled.push_back(parts[at]);
        }
        shuffled.push_back(parts.back());
        each(shuffled);
    } while (std::ranges::next_permutation(order).found);
}

// Extension fields of a request: identifier, cookie, placeholder; the authenticator is made last, over what there is.
const Octets kId = field(0x0104, mixed(32, 1));

Octets cookie_field()
{
    return field(0x0204, own_ring().seal_cookie(session_keys(), mixed(16, 9)));
}

Parts fields_before_authenticator()
{
    return {packets::request(), kId, cookie_field(), field(0x0304, Octets(104))};
}

std::string front_says(const Octets& packet)
{
    auto server = server_of(own_ring());
    return nts::verdict(packet, server);
}

/// Where the length of the authenticator's field is, in a packet that ends with it.
std::size_t authenticator_at(const Octets& packet)
{
    return packet.size() - 40;
}

void add_to_u16(Octets& packet, std::size_t at, int off)
{
    const auto value = std::to_integer<int>(packet[at]) << 8 | std::to_integer<int>(packet[at + 1]);
    packet[at] = static_cast<std::byte>((value + off) >> 8);
    packet[at + 1] = static_cast<std::byte>(value + off);
}

/// A client with one request under way, and what it says of replies to it.
struct Asked {
    ntp_shim::NtsClientSeal client{counting(40)};
    Request request;
    Asked()
    {
        client.adopt(session(own_ring(), 7));
        request = protect(client);
    }
    [[nodiscard]] Octets header() const { return packets::packet(packets::answer_to(request.packet)); }
    [[nodiscard]] Octets id() const { return {request.packet.begin() + 48, request.packet.begin() + 84}; }
    [[nodiscard]] Octets good() const
    {
        return seal(header() + id(), {.by_server = true, .plain = field(0x0204, mixed(104, 3))});
    }
    std::string says(const Octets& reply)
    {
        const auto reason = client.open(reply, *request.memory);
        return reason ? std::string{name(*reason)} : "answer";
    }
};

} // namespace

TEST_SUITE_BEGIN("nts_malformed");

TEST_CASE("rfc8915_4_record_lengths_off_by_one_are_a_bad_request_and_no_answer")
{
    for (const int off : {-1, 1}) {
        CAPTURE(off);
        const auto shift = [&](Parts& parts, std::size_t at) { add_to_length(parts[at], off); };
        for (const auto& says : each_changed(kRequest, server_says, shift)) {
            CHECK(says == "error 1");
        }
        for (const auto& says : each_changed(kResponse, client_says, shift)) {
            CHECK(says != "taken");
        }
    }
    CHECK(server_says(joined(kRequest)) == "agreed");
    CHECK(client_says(joined(kResponse)) == "taken");
}

TEST_CASE("rfc8915_4_critical_bits_flipped_are_judged_record_by_record")
{
    // Next Protocol and End of Message MUST have it; AEAD MAY; an unknown record with it is an error.
    CHECK(each_changed(kRequest, server_says, flip_critical) ==
          Words{"error 1", "agreed", "agreed", "agreed", "error 0", "error 1"});
    CHECK(each_changed(kResponse, client_says, flip_critical) ==
          Words{"malformed", "taken", "taken", "taken", "taken", "taken", "critical_unknown", "malformed"});
}

TEST_CASE("rfc8915_4_records_come_in_any_order_and_only_the_end_has_a_place")
{
    every_order(kRequest, [](const Parts& parts) { CHECK(server_says(joined(parts)) == "agreed"); });
    every_order(kResponse, [](const Parts& parts) { CHECK(client_says(joined(parts)) == "taken"); });
    for (std::size_t at = 0; at + 1 < kRequest.size(); ++at) {
        auto parts = kRequest;
        parts.pop_back();
        parts.insert(parts.begin() + static_cast<std::ptrdiff_t>(at), kEnd);
        CHECK(server_says(joined(parts)) == "error 1");
    }
    for (std::size_t at = 0; at + 1 < kResponse.size(); ++at) {
        auto parts = kResponse;
        parts.pop_back();
        parts.insert(parts.begin() + static_cast<std::ptrdiff_t>(at), kEnd);
        CHECK(client_says(joined(parts)) == "malformed");
    }
}

TEST_CASE("rfc8915_4_repeated_records_are_refused_but_for_cookies_and_what_is_unknown")
{
    CHECK(each_changed(kRequest, server_says, repeat) ==
          Words{"error 1", "error 1", "error 1", "error 1", "agreed", "error 1"});
    CHECK(each_changed(kResponse, client_says, repeat) ==
          Words{"malformed", "malformed", "taken", "taken", "malformed", "malformed", "taken", "malformed"});
}

TEST_CASE("rfc8915_4_1_1_nothing_may_follow_the_end_and_nothing_may_lack_it")
{
    for (std::size_t more = 1; more <= 8; ++more) {
        CHECK(server_says(joined(kRequest) + Octets(more)) == "error 1");
        CHECK(client_says(joined(kResponse) + Octets(more)) == "malformed");
    }
    const auto request = joined(kRequest);
    for (std::size_t size = 0; size < request.size(); ++size) {
        CHECK(server_says({request.begin(), request.begin() + static_cast<std::ptrdiff_t>(size)}) == "error 1");
    }
    const auto response = joined(kResponse);
    for (std::size_t size = 0; size < response.size(); ++size) {
        CHECK(client_says({response.begin(), response.begin() + static_cast<std::ptrdiff_t>(size)}) == "incomplete");
    }
}

TEST_CASE("rfc8915_5_7_field_lengths_off_by_one_or_a_word_are_never_accepted")
{
    const auto good = seal(joined(fields_before_authenticator()));
    REQUIRE(front_says(good) == "accepted");
    for (const std::size_t begin : {std::size_t{48}, std::size_t{84}, std::size_t{192}, authenticator_at(good)}) {
        for (const int off : {-2, -1, 1, 2, 3}) {
            auto changed = good;
            add_to_u16(changed, begin + 2, off);
            CAPTURE(begin);
            CHECK(front_says(changed) == "drop bad_nts_field"); // RFC 7822: not a multiple of four
        }
        for (const int off : {-4, 4}) {
            auto changed = good;
            add_to_u16(changed, begin + 2, off);
            CHECK(front_says(changed) != "accepted");
        }
    }
}

TEST_CASE("rfc8915_5_6_nonce_and_ciphertext_lengths_off_by_one_are_never_accepted")
{
    const auto good = seal(joined(fields_before_authenticator()), {.padding = 8});
    REQUIRE(front_says(good) == "accepted");
    const auto nonce = good.size() - 48 + 4;
    const auto after = [&](std::size_t at, int off) {
        auto changed = good;
        add_to_u16(changed, at, off);
        return front_says(changed);
    };
    for (const int off : {-1, 1}) {
        CHECK(after(nonce, off) == "nak not_authentic"); // well formed, with another nonce
    }
    CHECK(after(nonce, -16) == "drop bad_nts_field"); // no nonce at all
    CHECK(after(nonce, 24) == "drop bad_nts_field");  // it does not fit
    CHECK(after(nonce + 2, -1) == "drop bad_nts_field");
    CHECK(after(nonce + 2, 1) == "nak not_authentic");
    CHECK(after(nonce + 2, 12) == "drop bad_nts_field");
}

TEST_CASE("rfc8915_5_6_a_wrong_nonce_is_not_authentic_and_too_little_padding_is_discarded")
{
    const auto good = seal(joined(fields_before_authenticator()));
    for (std::size_t octet = 0; octet < 16; ++octet) {
        auto changed = good;
        changed[authenticator_at(good) + 8 + octet] ^= std::byte{0x40};
        CHECK(front_says(changed) == "nak not_authentic");
    }
    const auto base = joined(fields_before_authenticator());
    for (std::size_t nonce = 1; nonce <= 16; ++nonce) {
        const auto lacking = 16 - ntp_shim::padded(nonce);
        CAPTURE(nonce);
        CHECK(front_says(seal(base, {.nonce = mixed(nonce, 5), .padding = lacking})) == "accepted");
        if (lacking >= 4 && nonce >= 5) { // shorter ones make a field of less than 28 octets, which is no field
            CHECK(front_says(seal(base, {.nonce = mixed(nonce, 5), .padding = lacking - 4})) == "drop bad_nts_field");
        }
    }
}

TEST_CASE("rfc8915_5_7_fields_come_in_any_order_before_the_authenticator_and_count_for_nothing_behind_it")
{
    auto parts = fields_before_authenticator();
    const auto request = parts.front();
    parts.erase(parts.begin());
    parts.emplace_back(); // every_order leaves the last where it is
    every_order(parts,
                [&](const Parts& shuffled) { CHECK(front_says(seal(request + joined(shuffled))) == "accepted"); });
    for (const std::size_t late : {0U, 1U}) { // identifier, cookie
        auto before = parts;
        before.erase(before.begin() + static_cast<std::ptrdiff_t>(late));
        CHECK(front_says(seal(request + joined(before)) + parts[late]) == "drop bad_nts_field");
    }
    CHECK(front_says(seal(request) + joined(parts)) == "drop bad_nts_field");
}

TEST_CASE("rfc8915_5_7_repeated_fields_are_discarded_but_for_placeholders")
{
    const auto parts = fields_before_authenticator();
    const auto base = joined(parts);
    CHECK(front_says(seal(base + parts[1])) == "drop bad_nts_field");
    CHECK(front_says(seal(base + parts[2])) == "drop bad_nts_field");
    CHECK(front_says(seal(base + parts[3])) == "accepted");
    CHECK(front_says(seal(seal(base))) == "drop bad_nts_field");
}

TEST_CASE("rfc8915_5_7_octets_that_trail_make_no_packet")
{
    const auto good = seal(joined(fields_before_authenticator()));
    for (std::size_t more = 1; more < 28; ++more) { // 20 and 24 octets would be a MAC anywhere else
        CAPTURE(more);
        CHECK(front_says(good + Octets(more)) == "drop bad_nts_field");
        CHECK(front_says(good + mixed(more, 3)) == "drop bad_nts_field");
    }
}

TEST_CASE("rfc8915_5_7_the_client_discards_every_reply_with_one_thing_wrong")
{
    Asked asked;
    const auto good = asked.good();
    const auto authenticator = std::size_t{84};
    for (const auto begin : {std::size_t{48}, authenticator}) {
        for (const int off : {-4, -2, -1, 1, 2, 4}) {
            auto changed = good;
            add_to_u16(changed, begin + 2, off);
            CAPTURE(off);
            CHECK(asked.says(changed) == "bad_nts_field");
        }
    }
    for (const auto at : {authenticator + 4, authenticator + 6}) { // nonce and ciphertext length
        for (const int off : {-1, 1}) {
            auto changed = good;
            add_to_u16(changed, at, off);
            CHECK(asked.says(changed) != "answer");
        }
    }
    auto nonce = good;
    nonce[authenticator + 8] ^= std::byte{1};
    CHECK(asked.says(nonce) == "not_authentic");
    CHECK(asked.says(seal(asked.header(), {.by_server = true}) + asked.id()) == "no_exchange");
    CHECK(asked.says(seal(asked.header() + asked.id() + asked.id(), {.by_server = true})) == "bad_nts_field");
    CHECK(asked.says(seal(good, {.by_server = true})) == "bad_nts_field");
    CHECK(asked.says(seal(asked.header() + asked.id(), {.by_server = true, .plain = asked.id()})) == "answer");
    for (std::size_t more = 1; more < 28; ++more) {
        CHECK(asked.says(good + Octets(more)) == "bad_nts_field");
    }
}

TEST_SUITE_END();
