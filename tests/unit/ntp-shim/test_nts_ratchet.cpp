#include "ntp-shim/nts_ratchet.hpp"

#include "tests/unit/ntp-shim/nts_bits.hpp"

using ntp_shim::Ratchet;
using Standing = ntp_shim::Ratchet::Standing;
using std::chrono::seconds;
using namespace nts;

namespace {

constexpr seconds kPeriod{1000};
constexpr std::int64_t kEpoch = 50;

/// `into` seconds after the begin of epoch 50, or of a later one.
Ratchet::Now at(std::int64_t epochs, std::int64_t into, bool synchronised = true, std::int64_t boot = 0)
{
    return {.wall = kPeriod * (kEpoch + epochs) + seconds{into},
            .boot = seconds{boot != 0 ? boot : 5000 + epochs * 1000 + into},
            .boot_id = "boot-a",
            .synchronised = synchronised};
}

Ratchet seeded()
{
    return Ratchet::create(kPeriod, ntp_shim::AeadSecret{mixed(32, 1)}, kPeriod * kEpoch);
}

Ratchet reread(const Ratchet& ratchet)
{
    auto parsed = Ratchet::parse(ratchet.write());
    if (const auto* error = std::get_if<std::string>(&parsed)) {
        FAIL(*error);
    }
    return std::get<Ratchet>(parsed);
}

Octets cookie_of(const Ratchet& ratchet)
{
    return ratchet.ring().seal_cookie(session_keys(), mixed(16, 9));
}

bool takes(const Ratchet& ratchet, const Octets& cookie)
{
    return ratchet.ring().open_cookie(cookie).has_value();
}

} // namespace

TEST_SUITE_BEGIN("nts_ratchet");

TEST_CASE("RFC 5869 A.1: HKDF with SHA-256")
{
    Octets out(42);
    const std::string info = "\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9";
    REQUIRE(ntp_shim::hkdf_sha256(Octets(22, std::byte{0x0b}), from_hex("000102030405060708090a0b0c"), info, out));
    CHECK(out == from_hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"));
}

TEST_CASE("RFC 8915 section 6: two who share a seed take each other's cookies, also after any number of rotations")
{
    auto one = seeded();
    auto other = reread(seeded());
    for (const std::int64_t epochs : {0, 1, 2, 7}) {
        REQUIRE(one.advance(at(epochs, 10)) == Standing::sure);
        REQUIRE(other.advance(at(epochs, 20)) == Standing::sure);
        CHECK(takes(other, cookie_of(one)));
        CHECK(takes(one, cookie_of(other)));
    }
    CHECK(one.epoch() == kEpoch + 7);
}

TEST_CASE("one whose clock is behind or ahead by less than an epoch still agrees with the other")
{
    auto ahead = seeded();
    auto behind = seeded();
    REQUIRE(ahead.advance(at(3, 1)) == Standing::sure);
    REQUIRE(behind.advance(at(2, 999)) == Standing::sure);
    CHECK(takes(behind, cookie_of(ahead)));
    CHECK(takes(ahead, cookie_of(behind)));
}

TEST_CASE("the former epoch is taken until the current one is half over")
{
    auto ratchet = seeded();
    REQUIRE(ratchet.advance(at(0, 10)) == Standing::sure);
    const auto cookie = cookie_of(ratchet);
    REQUIRE(ratchet.advance(at(1, 499)) == Standing::sure);
    CHECK(takes(ratchet, cookie));
    REQUIRE(ratchet.advance(at(1, 500)) == Standing::sure);
    CHECK_FALSE(takes(ratchet, cookie));
}

TEST_CASE("forward secrecy: what is written down does not lead back behind the oldest key that is taken")
{
    auto ratchet = seeded();
    const auto cookie = cookie_of(ratchet);
    REQUIRE(ratchet.advance(at(1, 600)) == Standing::sure);
    const auto text = ratchet.write();
    CHECK(text.find(ntp_shim::hex_text(mixed(32, 1))) == std::string::npos);
    CHECK_FALSE(takes(reread(ratchet), cookie));
}

TEST_CASE("an epoch at most for each period of boot time, without a synchronised clock")
{
    auto ratchet = seeded();
    REQUIRE(ratchet.advance(at(1, 0, true, 7000)) == Standing::sure);
    CHECK(ratchet.advance(at(2, 0, false, 7999)) == Standing::unsure);
    CHECK(ratchet.epoch() == kEpoch + 1);
    CHECK(ratchet.advance(at(2, 0, false, 8000)) == Standing::sure);
    CHECK(ratchet.advance(at(4, 0, false, 9000)) == Standing::unsure);
    CHECK(ratchet.advance(at(4, 0, true, 9000)) == Standing::sure);
    CHECK(ratchet.epoch() == kEpoch + 4);
}

TEST_CASE("another boot proves nothing: without a synchronised clock it does not advance")
{
    auto ratchet = seeded();
    REQUIRE(ratchet.advance(at(1, 0, true, 7000)) == Standing::sure);
    auto again = reread(ratchet);
    auto now = at(2, 0, false, 900'000);
    now.boot_id = "boot-b";
    CHECK(again.advance(now) == Standing::unsure);
    now.synchronised = true;
    CHECK(again.advance(now) == Standing::sure);
}

TEST_CASE("a restart within an epoch goes on at once, with the former key where it was taken")
{
    auto ratchet = seeded();
    const auto cookie = cookie_of(ratchet);
    REQUIRE(ratchet.advance(at(1, 10)) == Standing::sure);
    auto again = reread(ratchet);
    CHECK(again.advance(at(1, 20, false)) == Standing::sure);
    CHECK(takes(again, cookie));
    CHECK(takes(again, cookie_of(ratchet)));
}

TEST_CASE("a clock that went back is not believed, and nothing is unlearnt")
{
    auto ratchet = seeded();
    REQUIRE(ratchet.advance(at(3, 600)) == Standing::sure);
    CHECK(ratchet.advance(at(2, 600)) == Standing::unsure);
    CHECK(ratchet.advance(at(3, 700)) == Standing::sure);
    CHECK(ratchet.epoch() == kEpoch + 3);
}

TEST_CASE("a jump beyond all measure is refused, however sure the clock is")
{
    auto ratchet = seeded();
    CHECK(ratchet.advance(at(Ratchet::kMaxJump + 1, 0)) == Standing::unsure);
    CHECK(ratchet.epoch() == kEpoch);
}

TEST_CASE("each change is to be written once")
{
    auto ratchet = seeded();
    CHECK_FALSE(ratchet.take_changed());
    REQUIRE(ratchet.advance(at(1, 0)) == Standing::sure);
    CHECK(ratchet.take_changed());
    CHECK_FALSE(ratchet.take_changed());
    REQUIRE(ratchet.advance(at(1, 500)) == Standing::sure);
    CHECK(ratchet.take_changed());
    REQUIRE(ratchet.advance(at(1, 501)) == Standing::sure);
    CHECK_FALSE(ratchet.take_changed());
}

TEST_CASE("a broken file is refused with its line, and no key is in the error")
{
    auto ratchet = seeded();
    REQUIRE(ratchet.advance(at(1, 0)) == Standing::sure);
    const auto text = ratchet.write();
    const auto broken = [&](const std::string& from, const std::string& to) {
        auto changed = text;
        REQUIRE(changed.find(from) != std::string::npos);
        changed.replace(changed.find(from), from.size(), to);
        const auto parsed = Ratchet::parse(changed);
        const auto* error = std::get_if<std::string>(&parsed);
        REQUIRE(error != nullptr);
        CHECK(error->find(ntp_shim::hex_text(mixed(4, 1))) == std::string::npos);
        return error->substr(0, 7);
    };
    CHECK(broken("ratchet 1", "ratchet 9") == "line 1:");
    CHECK(broken("period 1000", "period 59") == "line 2:");
    CHECK(broken("period 1000", "period") == "line 2:");
    CHECK(broken("epoch 50 ", "epoch x ") == "line 3:");
    CHECK(broken("epoch 50 ", "epoch 50 0") == "line 3:");
    CHECK(broken("reached 51", "reached 52") == "line 4:");
    CHECK(broken("reached 51", "reached 49") == "line 4:");
    CHECK(broken("boot-a", "") == "line 4:");
}

TEST_SUITE_END();
