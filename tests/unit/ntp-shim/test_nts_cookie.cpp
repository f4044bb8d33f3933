#include "ntp-shim/nts_cookie.hpp"

#include "tests/unit/ntp-shim/nts_bits.hpp"

using ntp_shim::AeadId;
using ntp_shim::CookieKey;
using ntp_shim::CookieLayout;
using namespace nts;

namespace {

CookieKey key(std::uint32_t id = 0x01020304, std::size_t seed = 1)
{
    auto made = CookieKey::make(id, AeadId::siv_cmac_256, mixed(32, seed));
    REQUIRE(made.has_value());
    return std::move(*made);
}

constexpr std::array kLayouts = {CookieLayout::own, CookieLayout::chrony};

} // namespace

TEST_SUITE_BEGIN("nts_cookie");

TEST_CASE("RFC 8915 section 6: a cookie is a key identifier, a nonce and the sealed keys, and opens again")
{
    for (const auto layout : kLayouts) {
        const auto cookie = key().seal(session_keys(), layout, mixed(16, 9));
        CHECK(cookie.size() == (layout == CookieLayout::own ? 104 : 100));
        CHECK(cookie.size() == cookie_size(AeadId::siv_cmac_256, AeadId::siv_cmac_256, layout));
        CHECK(cookie.size() % 4 == 0);
        CHECK(ntp_shim::key_id_of(cookie) == 0x01020304);
        CHECK(Octets(cookie.begin() + 4, cookie.begin() + 20) == mixed(16, 9));
        CHECK(key().open(cookie, layout) == session_keys());
    }
}

TEST_CASE("chrony's layout is chrony's: no associated data, C2S key before S2C key")
{
    const auto cookie = key().seal(session_keys(), CookieLayout::chrony, mixed(16, 9));
    const auto cipher = ntp_shim::Aead::make(AeadId::siv_cmac_256, mixed(32, 1));
    Octets plain(64);
    REQUIRE(cipher->open({.nonce = mixed(16, 9), .associated = {}}, Bytes{cookie}.subspan(20), plain));
    CHECK(plain == mixed(32, 7) + mixed(32, 8));
}

TEST_CASE("a cookie binds its AEAD: keys of one are never taken for another's")
{
    for (const auto aead : {AeadId::siv_cmac_256, AeadId::siv_cmac_512}) {
        const auto cookie = key().seal(session_keys(aead), CookieLayout::own, mixed(16, 9));
        REQUIRE(key().open(cookie, CookieLayout::own).has_value());
        CHECK(key().open(cookie, CookieLayout::own)->aead == aead);
        CHECK_FALSE(key().open(cookie, CookieLayout::chrony).has_value());
    }
    CHECK(key().seal(session_keys(AeadId::siv_cmac_512), CookieLayout::chrony, mixed(16, 9)).empty());
    const auto chrony = key().seal(session_keys(), CookieLayout::chrony, mixed(16, 9));
    CHECK_FALSE(key().open(chrony, CookieLayout::own).has_value());
}

TEST_CASE("a cookie with any bit changed, cut or lengthened does not open")
{
    for (const auto layout : kLayouts) {
        auto cookie = key().seal(session_keys(), layout, mixed(16, 9));
        for (auto& octet : cookie) {
            for (unsigned bit = 0; bit < 8; ++bit) {
                octet ^= std::byte{1} << bit;
                CHECK_FALSE(key().open(cookie, layout).has_value());
                octet ^= std::byte{1} << bit;
            }
        }
        for (std::size_t size = 0; size < cookie.size(); ++size) {
            CHECK_FALSE(key().open(Bytes{cookie}.first(size), layout).has_value());
        }
        CHECK_FALSE(key().open(cookie + Octets(4), layout).has_value());
        CHECK_FALSE(key(0x01020304, 2).open(cookie, layout).has_value());
        CHECK_FALSE(key(0x01020305, 1).open(cookie, layout).has_value());
    }
}

TEST_CASE("without enough nonce there is no cookie")
{
    CHECK(key().seal(session_keys(), CookieLayout::own, mixed(15, 9)).empty());
    CHECK_FALSE(CookieKey::make(1, AeadId::siv_cmac_256, mixed(16, 1)).has_value());
    CHECK_FALSE(ntp_shim::key_id_of(Octets(3)).has_value());
}

TEST_SUITE_END();
