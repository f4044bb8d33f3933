#include "ntp-shim/nts_client_seal.hpp"

#include "tests/unit/ntp-shim/nts_bits.hpp"

using ntp_shim::AeadId;
using ntp_shim::DropReason;
using ntp_shim::NtsClientSeal;
using namespace nts;

namespace {

Octets answer_to(Bytes request)
{
    return packets::packet(packets::answer_to(request));
}

Octets served(const Request& request)
{
    auto server = server_of(own_ring());
    return reply_to(request.packet, answer_to(request.packet), server);
}

std::string outcome(NtsClientSeal& client, const Octets& reply, const Request& request)
{
    const auto reason = client.open(reply, *request.memory);
    return reason ? std::string{name(*reason)} : "answer";
}

/// The identifier's field of a request, as the client wrote it.
Octets id_of(const Request& request)
{
    return {request.packet.begin() + 48, request.packet.begin() + 84};
}

Octets kiss(std::uint32_t code, std::uint64_t origin = packets::kT1)
{
    return packets::packet({.leap = 3, .mode = 4, .stratum = 0, .reference_id = code, .origin = origin});
}

constexpr std::uint32_t kRate = 0x52415445;

} // namespace

TEST_SUITE_BEGIN("nts_client_seal");

TEST_CASE("what the client seals the server accepts, and what the server seals the client opens")
{
    for (const auto aead : {AeadId::siv_cmac_256, AeadId::siv_cmac_512}) {
        NtsClientSeal client{counting(40)};
        client.adopt(session(own_ring(), 8, aead));
        const auto request = protect(client);
        CHECK(client.session()->cookies.size() == 7);
        CHECK(outcome(client, served(request), request) == "answer");
        REQUIRE(client.session()->cookies.size() == 8);
        CHECK(own_ring().open_cookie(client.session()->cookies.back()) == session_keys(aead));
        CHECK(client.was_answered());
    }
}

TEST_CASE("RFC 8915 section 5.7: placeholders bring the stock back to eight, and never make a datagram too long")
{
    for (std::size_t stock = 1; stock <= 8; ++stock) {
        NtsClientSeal client{counting(40)};
        client.adopt(session(own_ring(), stock));
        const auto request = protect(client);
        CHECK(request.packet.size() == 48 + 36 + 40 + 108 * (1 + 8 - stock));
        CHECK(outcome(client, served(request), request) == "answer");
        CHECK(client.session()->cookies.size() == 8);
    }
    NtsClientSeal wide{counting(40)};
    wide.adopt(session(own_ring(), 1, AeadId::siv_cmac_512)); // cookies of 168 octets
    const auto request = protect(wide);
    CHECK(request.packet.size() <= ntp_shim::kMaxSealed);
    CHECK(outcome(wide, served(request), request) == "answer");
    CHECK(wide.session()->cookies.size() == 6);
}

TEST_CASE("section 5.7: no cookie is used twice; without one nothing is sent")
{
    NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring(), 2));
    const auto one = protect(client).packet;
    const auto other = protect(client).packet;
    CHECK(Octets(one.begin() + 88, one.begin() + 192) != Octets(other.begin() + 88, other.begin() + 192));
    CHECK(Octets(one.begin() + 52, one.begin() + 84) != Octets(other.begin() + 52, other.begin() + 84));
    ntp_shim::SealBuffer buffer{};
    const auto third = client.seal(buffer);
    REQUIRE(std::holds_alternative<DropReason>(third));
    CHECK(std::get<DropReason>(third) == DropReason::no_cookie);
    NtsClientSeal none{counting(1)};
    CHECK(std::holds_alternative<DropReason>(none.seal(buffer)));
}

TEST_CASE("a stock holds eight cookies and no more")
{
    ntp_shim::NtsSession stock;
    for (int count = 0; count < 10; ++count) {
        stock.put(mixed(104, 1));
    }
    CHECK(stock.cookies.size() == 8);
}

TEST_CASE("section 5.7: a reply with any single bit changed is not taken, nor one that was cut")
{
    NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring(), 7));
    const auto request = protect(client);
    auto reply = served(request);
    for (std::size_t at = 0; at < reply.size(); ++at) {
        for (unsigned bit = 0; bit < 8; bit += 3) {
            reply[at] ^= std::byte{1} << bit;
            CAPTURE(at);
            CHECK(outcome(client, reply, request) != "answer");
            reply[at] ^= std::byte{1} << bit;
        }
    }
    for (std::size_t size = 48; size < reply.size(); ++size) {
        CHECK(outcome(client, {reply.begin(), reply.begin() + static_cast<std::ptrdiff_t>(size)}, request) != "answer");
    }
    CHECK_FALSE(client.was_answered());
    CHECK(outcome(client, reply, request) == "answer");
}

TEST_CASE("section 5.7: the identifier is that of the outstanding request, the key its S2C key")
{
    NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring()));
    const auto request = protect(client);
    const auto other = protect(client, packets::kT1 + 1);
    CHECK(outcome(client, served(request), other) == "no_exchange");
    CHECK(outcome(client, seal(answer_to(request.packet) + id_of(request)), request) == "not_authentic");
    auto strange = session_keys();
    strange.server_to_client = ntp_shim::AeadSecret{mixed(32, 99)};
    const auto forged = seal(answer_to(request.packet) + id_of(request), {.keys = strange, .by_server = true});
    CHECK(outcome(client, forged, request) == "not_authentic");
}

TEST_CASE("section 5.7: an unprotected reply is discarded, and told from noise: somebody answers on the way")
{
    NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring()));
    const auto request = protect(client);
    const auto plain = answer_to(request.packet);
    CHECK(outcome(client, plain, request) == "unprotected");
    CHECK(outcome(client, plain + id_of(request), request) == "unprotected");
    auto stray = plain;
    stray[24] ^= std::byte{1};
    CHECK(outcome(client, stray, request) == "no_exchange");
    CHECK(client.unanswered() == 1);
}

TEST_CASE("section 5.7: a NAK counts only with the right identifier and stamp, and is told from other kisses")
{
    NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring()));
    const auto request = protect(client);
    const auto other = protect(client, packets::kT1 + 1);
    const auto nak = kiss(ntp_shim::kKissNak);
    CHECK(outcome(client, nak, request) == "unprotected");
    CHECK(outcome(client, nak + id_of(other), request) == "no_exchange");
    CHECK(outcome(client, kiss(ntp_shim::kKissNak, 5) + id_of(request), request) == "no_exchange");
    CHECK_FALSE(client.was_refused());
    CHECK(outcome(client, kiss(kRate) + id_of(request), request) == "kiss_of_death");
    CHECK_FALSE(client.was_refused());
    CHECK(outcome(client, nak + id_of(request), request) == "nts_nak");
    CHECK(client.was_refused());
}

TEST_CASE("the server's own NAK is one to the client")
{
    NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring()));
    const auto request = protect(client);
    auto stranger = server_of(ntp_shim::KeyRing::create(ntp_shim::CookieLayout::own, {fresh(0x700), fresh(0x800)}));
    ntp_shim::SealBuffer answer{};
    const auto nak = first(answer, stranger.refusal(request.packet, DropReason::bad_cookie, answer));
    CHECK(outcome(client, nak, request) == "nts_nak");
}

TEST_CASE("section 5.7: an authentic answer beats a NAK to the same request")
{
    NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring()));
    const auto request = protect(client);
    CHECK(outcome(client, kiss(ntp_shim::kKissNak) + id_of(request), request) == "nts_nak");
    CHECK(outcome(client, served(request), request) == "answer");
    CHECK_FALSE(client.was_refused());
}

TEST_CASE("a sealed kiss is the server's own word: it opens, and the shim sees what it says")
{
    NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring()));
    const auto request = protect(client);
    CHECK(outcome(client, seal(kiss(kRate) + id_of(request), {.by_server = true}), request) == "answer");
}

TEST_CASE("section 5.7: cookies in the clear are not taken, nor those that no request can carry")
{
    NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring(), 3));
    const auto request = protect(client);
    const auto header = answer_to(request.packet) + id_of(request);
    const auto clear = seal(header + field(0x0204, mixed(104, 1)), {.by_server = true});
    CHECK(outcome(client, clear, request) == "answer");
    CHECK(client.session()->cookies.size() == 2);
    CHECK(outcome(client, seal(header, {.by_server = true, .plain = field(0x0204, Octets(8))}), request) == "answer");
    CHECK(client.session()->cookies.size() == 2);
    CHECK(outcome(client, seal(header, {.by_server = true, .plain = Octets(5)}), request) == "bad_nts_field");
}

TEST_CASE("section 5.7: after a new key establishment nothing of the old is used, yet its replies are still read")
{
    NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring(), 3));
    const auto request = protect(client);
    client.adopt(session(own_ring(), 2));
    CHECK(client.unanswered() == 0);
    CHECK(outcome(client, served(request), request) == "answer");
    CHECK(client.session()->cookies.size() == 2); // the reply's cookies are of keys that are gone
    CHECK_FALSE(client.was_answered());
}

TEST_CASE("requests without an answer are counted, until there is one")
{
    NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring()));
    (void)protect(client);
    (void)protect(client, packets::kT1 + 1);
    const auto request = protect(client, packets::kT1 + 2);
    CHECK(client.unanswered() == 3);
    CHECK(outcome(client, served(request), request) == "answer");
    CHECK(client.unanswered() == 0);
}

TEST_CASE("a session that was taken is used no more")
{
    NtsClientSeal client{counting(40)};
    client.adopt(session(own_ring(), 3));
    CHECK(client.take_session()->cookies.size() == 3);
    ntp_shim::SealBuffer buffer{};
    CHECK(std::holds_alternative<DropReason>(client.seal(buffer)));
}

TEST_SUITE_END();
