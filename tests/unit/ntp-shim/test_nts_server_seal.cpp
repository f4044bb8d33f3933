#include "ntp-shim/nts_server_seal.hpp"

#include "tests/unit/ntp-shim/nts_bits.hpp"

using ntp_shim::AeadId;
using ntp_shim::DropReason;
using ntp_shim::PlainRequests;
using namespace nts;

namespace {

const Octets kId = field(0x0104, mixed(32, 1));

Octets cookie_field(const ntp_shim::KeyRing& ring, AeadId aead = AeadId::siv_cmac_256)
{
    return field(0x0204, ring.seal_cookie(session_keys(aead), mixed(16, 9)));
}

Octets placeholder(std::size_t size = 104)
{
    return field(0x0304, Octets(size));
}

/// A request with everything in its place, and `extra` before the authenticator.
Octets good(const ntp_shim::KeyRing& ring, const Octets& extra = {}, const Sealed& how = {})
{
    return seal(packets::request() + kId + cookie_field(ring, how.keys.aead) + extra, how);
}

Octets daemon_answer()
{
    return packets::packet(
        {.mode = 4, .stratum = 2, .origin = packets::kT1, .receive = packets::kT2, .transmit = packets::kT3});
}

std::string verdict(Bytes datagram, const ntp_shim::KeyRing&)
{
    auto server = server_of(own_ring());
    return nts::verdict(datagram, server);
}

ntp_shim::NtsFields fields_of(const Octets& reply)
{
    const auto read = ntp_shim::read_fields(reply);
    REQUIRE(std::holds_alternative<ntp_shim::NtsFields>(read));
    return std::get<ntp_shim::NtsFields>(read);
}

/// How many new cookies the reply brings.
std::size_t cookies_for(const Octets& request)
{
    auto server = server_of(own_ring());
    const auto reply = reply_to(request, daemon_answer(), server);
    return (fields_of(reply).authenticator->ciphertext.size() - 16) / 108;
}

} // namespace

TEST_SUITE_BEGIN("nts_server_seal");

TEST_CASE("a good request is accepted under every algorithm")
{
    const auto ring = own_ring();
    for (const auto aead : {AeadId::siv_cmac_256, AeadId::siv_cmac_512}) {
        CHECK(verdict(good(ring, {}, {.keys = session_keys(aead)}), ring) == "accepted");
    }
}

TEST_CASE(
    "RFC 8915 section 5.7: identifier, cookie and authenticator are there once each, in any order before the last")
{
    const auto ring = own_ring();
    const auto request = packets::request();
    const auto cookie = cookie_field(ring);
    CHECK(verdict(seal(request + cookie + kId), ring) == "accepted");
    CHECK(verdict(seal(request + cookie), ring) == "drop bad_nts_field");
    CHECK(verdict(seal(request + kId), ring) == "drop bad_nts_field");
    CHECK(verdict(request + kId + cookie, ring) == "drop bad_nts_field");
    CHECK(verdict(seal(request + kId + kId + cookie), ring) == "drop bad_nts_field");
    CHECK(verdict(seal(request + kId + cookie + cookie), ring) == "drop bad_nts_field");
    CHECK(verdict(seal(good(ring)), ring) == "drop bad_nts_field");
    CHECK(verdict(seal(request + field(0x0104, mixed(28, 1)) + cookie), ring) == "drop bad_nts_field");
}

TEST_CASE("section 5.7: what comes after the authenticator counts for nothing")
{
    const auto ring = own_ring();
    const auto request = packets::request();
    CHECK(verdict(good(ring) + field(0x4000, Octets(24)), ring) == "accepted");
    CHECK(cookies_for(good(ring) + placeholder()) == 1);
    CHECK(verdict(seal(request + kId) + cookie_field(ring), ring) == "drop bad_nts_field");
    CHECK(verdict(seal(request + cookie_field(ring)) + kId, ring) == "drop bad_nts_field");
}

TEST_CASE("section 5.7: a cookie that no key opens is answered with a NAK, and so is a request that is not authentic")
{
    const auto ring = own_ring();
    const auto other = ntp_shim::KeyRing::create(ntp_shim::CookieLayout::own, {fresh(0x700), fresh(0x800)});
    CHECK(verdict(good(other), ring) == "nak bad_cookie");
    auto wrong = session_keys();
    wrong.client_to_server = ntp_shim::AeadSecret{mixed(32, 99)};
    CHECK(verdict(good(ring, {}, {.keys = wrong}), ring) == "nak not_authentic");
    CHECK(verdict(good(ring, {}, {.by_server = true}), ring) == "nak not_authentic");
}

TEST_CASE("section 5.7: a NAK is a kiss with code NTSN, the request's stamp and identifier, and nothing of NTS else")
{
    const auto ring = own_ring();
    auto request = good(ring);
    request.back() ^= std::byte{1};
    auto server = server_of(own_ring());
    ntp_shim::SealBuffer answer{};
    const auto nak = first(answer, server.refusal(request, DropReason::not_authentic, answer));
    CHECK(first(answer, server.refusal(request, DropReason::bad_cookie, answer)) == nak);
    for (const auto silent : {DropReason::bad_nts_field, DropReason::rate_limited, DropReason::unprotected}) {
        CHECK(server.refusal(request, silent, answer) == 0);
    }
    CHECK(nak.size() == 48 + 36);
    CHECK(nak.size() < request.size());
    const auto packet = packets::parse(nak);
    CHECK(packet.mode == 4);
    CHECK(packet.version == 4);
    CHECK(packet.stratum == 0);
    CHECK(packet.reference_id == 0x4e54534e);
    CHECK(packet.origin == packets::kT1);
    CHECK(packet.receive == 0);
    CHECK(Octets(nak.begin() + 48, nak.end()) == kId);
}

TEST_CASE("any single bit changed is noticed: a NAK, a drop, or a plain request, never accepted")
{
    const auto ring = own_ring();
    auto request = good(ring, placeholder());
    for (std::size_t at = 0; at < request.size(); ++at) {
        for (unsigned bit = 0; bit < 8; bit += 3) {
            request[at] ^= std::byte{1} << bit;
            CAPTURE(at);
            CHECK(verdict(request, ring) != "accepted");
            request[at] ^= std::byte{1} << bit;
        }
    }
    CHECK(verdict(request, ring) == "accepted");
}

TEST_CASE("cut or lengthened at any place a request is never accepted")
{
    const auto ring = own_ring();
    const auto request = good(ring);
    for (std::size_t size = 0; size < request.size(); ++size) {
        CHECK(verdict({request.data(), size}, ring) != "accepted");
    }
    CHECK(verdict(request + Octets(1), ring) == "drop bad_nts_field");
    CHECK(verdict(request + Octets(4), ring) == "drop bad_nts_field");
}

TEST_CASE("section 5.6: a request that leaves too little room for a nonce is discarded")
{
    const auto ring = own_ring();
    const auto with = [&](std::size_t nonce, std::size_t padding) {
        return verdict(good(ring, {}, {.nonce = mixed(nonce, 5), .padding = padding}), ring);
    };
    CHECK(with(16, 0) == "accepted");
    CHECK(with(32, 0) == "accepted");
    CHECK(with(16, 40) == "accepted");
    CHECK(with(13, 0) == "accepted");
    CHECK(with(12, 0) == "drop bad_nts_field");
    CHECK(with(12, 4) == "accepted");
    CHECK(with(1, 8) == "drop bad_nts_field");
    CHECK(with(1, 12) == "accepted");
}

TEST_CASE("section 5.5: a placeholder is as long as the cookie, and comes with one")
{
    const auto ring = own_ring();
    CHECK(cookies_for(good(ring, placeholder() + placeholder())) == 3);
    CHECK(verdict(good(ring, placeholder(100)), ring) == "drop bad_nts_field");
    CHECK(verdict(good(ring, placeholder() + placeholder(108)), ring) == "drop bad_nts_field");
    CHECK(verdict(seal(packets::request() + kId + placeholder()), ring) == "drop bad_nts_field");
    CHECK(verdict(good(ring, field(0x0304, mixed(104, 4))), ring) == "accepted"); // its contents are ignored
}

TEST_CASE("section 5.7: placeholders may be encrypted; identifier and cookie may not")
{
    const auto ring = own_ring();
    CHECK(cookies_for(good(ring, {}, {.plain = placeholder()})) == 2);
    CHECK(verdict(good(ring, {}, {.plain = placeholder(100)}), ring) == "drop bad_nts_field");
    CHECK(verdict(good(ring, {}, {.plain = kId}), ring) == "drop bad_nts_field");
    CHECK(verdict(good(ring, {}, {.plain = cookie_field(ring)}), ring) == "drop bad_nts_field");
    CHECK(verdict(good(ring, {}, {.plain = Octets(3)}), ring) == "drop bad_nts_field");
    CHECK(verdict(good(ring, {}, {.plain = field(0x4000, Octets(4))}), ring) == "accepted");
}

TEST_CASE("section 5.7: the reply is as long as the request, with a cookie for each one asked for")
{
    const auto ring = own_ring();
    for (std::size_t count = 0; count <= 7; ++count) {
        Octets placeholders;
        for (std::size_t added = 0; added < count; ++added) {
            placeholders = placeholders + placeholder();
        }
        const auto request = good(ring, placeholders);
        auto server = server_of(own_ring());
        const auto reply = reply_to(request, daemon_answer(), server);
        CHECK(reply.size() == request.size());
        const auto fields = fields_of(reply);
        CHECK_FALSE(fields.cookie.has_value()); // section 5.7: MUST be encrypted
        CHECK(fields.placeholders == 0);        // section 5.5: MUST NOT be in mode 4
        CHECK(fields.authenticator->ciphertext.size() == 16 + 108 * (1 + count));
    }
}

TEST_CASE("more placeholders than seven bring no more cookies than eight")
{
    const auto ring = own_ring();
    Octets placeholders;
    for (int added = 0; added < 9; ++added) {
        placeholders = placeholders + placeholder();
    }
    CHECK(cookies_for(good(ring, placeholders)) == 8);
}

TEST_CASE("no reply is longer than its request, though cookies have become longer meanwhile")
{
    const auto chrony = [] {
        return ntp_shim::KeyRing::create(ntp_shim::CookieLayout::chrony, {fresh(0), fresh(16), fresh(32), fresh(48)});
    }; // whose cookies are four octets shorter than ours
    const auto cookie = field(0x0204, chrony().seal_cookie(session_keys(), mixed(16, 9)));
    const auto sealed = [&](const Octets& request, ntp_shim::SealBuffer& buffer) {
        auto server = server_of(chrony());
        const auto opened = server.open(request, {});
        REQUIRE(std::holds_alternative<ntp_shim::SealMemoryPointer>(opened));
        server.use(shared(own_ring()));
        return server.seal(buffer, *std::get<ntp_shim::SealMemoryPointer>(opened));
    };
    ntp_shim::SealBuffer buffer{};
    const auto none = sealed(seal(packets::request() + kId + cookie), buffer);
    REQUIRE(std::holds_alternative<DropReason>(none));
    CHECK(std::get<DropReason>(none) == DropReason::no_cookie);
    // With one placeholder there is room for one of the longer ones.
    const auto wider = seal(packets::request() + kId + cookie + placeholder(100));
    const auto one = sealed(wider, buffer);
    REQUIRE(std::holds_alternative<std::size_t>(one));
    CHECK(std::get<std::size_t>(one) == wider.size());
    CHECK(fields_of(first(buffer, wider.size())).authenticator->ciphertext.size() == 16 + 108);
}

TEST_CASE("section 5.7: new cookies have the current key, each another nonce, and open to the same keys")
{
    const auto rotated = [] {
        auto ring = own_ring();
        ring.rotate(fresh(0x300));
        return ring;
    };
    auto server = server_of(rotated());
    const auto reply = reply_to(good(own_ring(), placeholder()), daemon_answer(), server);
    const auto fields = fields_of(reply);
    Octets plain(fields.authenticator->ciphertext.size() - 16);
    const auto cipher = ntp_shim::Aead::make(AeadId::siv_cmac_256, session_keys().server_to_client.view());
    REQUIRE(cipher->open({.nonce = fields.authenticator->nonce, .associated = fields.associated},
                         fields.authenticator->ciphertext, plain));
    const Octets one(plain.begin() + 4, plain.begin() + 108);
    const Octets other(plain.begin() + 112, plain.end());
    CHECK(one != other);
    for (const auto& cookie : {one, other}) {
        CHECK(ntp_shim::key_id_of(cookie) == 0x200);
        CHECK(rotated().open_cookie(cookie) == session_keys());
    }
}

TEST_CASE("while its keys are unsure a server neither opens nor seals, and tells nobody that a cookie is bad")
{
    auto server = server_of(own_ring());
    const auto request = good(own_ring());
    const auto opened = server.open(request, {});
    server.use(nullptr);
    CHECK(nts::verdict(request, server) == "drop keys_unsure");
    ntp_shim::SealBuffer buffer{};
    const auto sealed = server.seal(buffer, *std::get<ntp_shim::SealMemoryPointer>(opened));
    REQUIRE(std::holds_alternative<DropReason>(sealed));
    CHECK(std::get<DropReason>(sealed) == DropReason::keys_unsure);
}

TEST_CASE("plain requests are refused, or served; section 5.3: their replies repeat an identifier")
{
    const auto ring = own_ring();
    CHECK(verdict(packets::request(), ring) == "drop unprotected");
    CHECK(verdict(packets::request() + kId, ring) == "drop unprotected");
    auto server = server_of(own_ring(), PlainRequests::serve);
    CHECK(nts::verdict(packets::request(), server) == "plain");
    CHECK(nts::verdict(packets::request() + Octets(24), server) == "plain"); // a MAC
    CHECK(nts::verdict(packets::request({.version = 3}) + kId, server) == "plain");
    CHECK(reply_to(packets::request() + kId, daemon_answer(), server) == daemon_answer() + kId);
    CHECK(nts::verdict(good(ring), server) == "accepted");
    auto forged = good(ring);
    forged.back() ^= std::byte{1};
    CHECK(nts::verdict(forged, server) == "nak not_authentic");
    CHECK(nts::verdict(Octets(47), server) == "drop too_short");
}

TEST_SUITE_END();
