#include "ntp-shim/nts_key_ring.hpp"

#include "tests/unit/ntp-shim/nts_bits.hpp"

using ntp_shim::CookieLayout;
using ntp_shim::KeyRing;
using namespace nts;

namespace {

KeyRing read_own(const std::string& text)
{
    auto parsed = KeyRing::parse_own(text);
    if (const auto* error = std::get_if<std::string>(&parsed)) {
        FAIL(*error);
    }
    return std::move(std::get<KeyRing>(parsed));
}

KeyRing read_chrony(const std::string& text)
{
    auto parsed = KeyRing::parse_chrony(text);
    if (const auto* error = std::get_if<std::string>(&parsed)) {
        FAIL(*error);
    }
    return std::move(std::get<KeyRing>(parsed));
}

std::string fault_of(const KeyRing::Parsed& parsed)
{
    const auto* error = std::get_if<std::string>(&parsed);
    return error == nullptr ? "none" : *error;
}

Octets cookie_of(const KeyRing& ring)
{
    return ring.seal_cookie(session_keys(), mixed(16, 9));
}

// As chronyd 4.3 writes it with ntsrotate.
const std::string kNks0 = "NKS0\n15 3.5\n"
                          "CCB4B2A2 0102030405060708090A0B0C0D0E0F100102030405060708090A0B0C0D0E0F10\n"
                          "7F8C4B0B 1102030405060708090A0B0C0D0E0F100102030405060708090A0B0C0D0E0F10\n"
                          "D15AEBF8 2102030405060708090A0B0C0D0E0F100102030405060708090A0B0C0D0E0F10\n"
                          "23F04C11 3102030405060708090A0B0C0D0E0F100102030405060708090A0B0C0D0E0F10\n";

} // namespace

TEST_SUITE_BEGIN("nts_key_ring");

TEST_CASE("RFC 8915 section 6: after a rotation older cookies open, new ones have the next key")
{
    auto ring = own_ring();
    CHECK(ring.current().id() == 0x100);
    const auto before = cookie_of(ring);
    ring.rotate(fresh(0x300));
    CHECK(ring.current().id() == 0x200);
    CHECK(ring.open_cookie(before) == session_keys());
    CHECK(ntp_shim::key_id_of(cookie_of(ring)) == 0x200);
}

TEST_CASE("a cookie opens for seven rotations more, and then no longer")
{
    auto ring = own_ring();
    const auto cookie = cookie_of(ring);
    for (std::uint32_t count = 0; count < KeyRing::kFormer; ++count) {
        ring.rotate(fresh(0x1000 + count * 16));
        CHECK(ring.open_cookie(cookie).has_value());
    }
    ring.rotate(fresh(0x2000));
    CHECK_FALSE(ring.open_cookie(cookie).has_value());
    CHECK(ring.size() == KeyRing::kFormer + 2);
}

TEST_CASE("who has the same file before a rotation takes cookies of the key that comes next")
{
    auto writer = own_ring();
    const auto reader = read_own(writer.write_own(std::chrono::seconds{5}));
    writer.rotate(fresh(0x300));
    CHECK(reader.open_cookie(cookie_of(writer)) == session_keys());
}

TEST_CASE("an own file says all of a ring, the same way every time")
{
    auto ring = own_ring();
    for (std::uint32_t count = 0; count < 4; ++count) {
        ring.rotate(fresh(0x1000 + count * 16));
    }
    const auto text = ring.write_own(std::chrono::seconds{1700000000});
    const auto again = read_own(text);
    CHECK(again.stamp() == std::chrono::seconds{1700000000});
    CHECK(again.write_own(again.stamp()) == text);
    CHECK(again.current().id() == ring.current().id());
    CHECK(again.open_cookie(cookie_of(ring)) == session_keys());
}

TEST_CASE("a broken own file is refused with its line, and no key is in the error")
{
    const auto text = own_ring().write_own(std::chrono::seconds{5});
    const auto key = ntp_shim::hex_text(mixed(32, 0x100 % 251));
    REQUIRE(text.find(key) != std::string::npos);
    const auto broken = [&](const std::string& from, const std::string& to) {
        auto changed = text;
        changed.replace(changed.find(from), from.size(), to);
        const auto fault = fault_of(KeyRing::parse_own(changed));
        CHECK(fault.find(key.substr(0, 8)) == std::string::npos);
        return fault.substr(0, 7);
    };
    CHECK(broken("ntpgate-nts-keys 1", "ntpgate-nts-keys 2") == "line 1:");
    CHECK(broken("rotated 5", "rotated x") == "line 2:");
    CHECK(broken("rotated 5", "rotated -5") == "line 2:");
    CHECK(broken("next", "current") == "line 3:");
    CHECK(broken("current", "former") == "line 4:");
    CHECK(broken(" 15 ", " 16 ") == "line 3:");
    CHECK(broken(key, key.substr(2)) == "line 4:");
    CHECK(broken(key, "G" + key.substr(1)) == "line 4:");
    CHECK(broken("00000100", "00000200") == "two key");
    CHECK(broken("00000100", "0000000100") == "line 4:");
    CHECK(fault_of(KeyRing::parse_own(text.substr(0, text.find("current")))) == "it ends before its current key");
    CHECK(fault_of(KeyRing::parse_own("")).substr(0, 7) == "line 1:");
}

TEST_CASE("chrony's file: the third key is current, the fourth next, and it is written as it was read")
{
    const auto ring = read_chrony(kNks0);
    CHECK(ring.layout() == CookieLayout::chrony);
    CHECK(ring.current().id() == 0xD15AEBF8);
    CHECK(ring.stamp() == std::chrono::seconds{3});
    CHECK(ring.size() == 4);
    auto expected = kNks0;
    expected.replace(expected.find("3.5"), 3, "3.0");
    CHECK(ring.write_chrony(std::chrono::seconds{3}) == expected);
}

TEST_CASE("chrony's newer file names each key's AEAD")
{
    auto text = std::string{"NKS1\n7.0\n"};
    auto rest = std::string_view{kNks0};
    rest.remove_prefix(rest.find("CCB4"));
    while (!rest.empty()) {
        text += std::string{ntp_shim::take_line(rest)} + " 15\n";
    }
    CHECK(read_chrony(text).current().id() == 0xD15AEBF8);
    // 30 where the library has no GCM-SIV
    if (!ntp_shim::find_aead(30)) {
        text.replace(text.find(" 15\n"), 4, " 30\n");
        CHECK(fault_of(KeyRing::parse_chrony(text)).substr(0, 7) == "line 3:");
    }
}

TEST_CASE("a rotation keeps chrony's rule: identifiers follow each other in their last two bits")
{
    auto ring = read_chrony(kNks0);
    const auto cookie = cookie_of(ring);
    for (std::uint32_t count = 0; count < 9; ++count) {
        ring.rotate(fresh(0xABCD0000 + count * 64 + 3));
        const auto again = read_chrony(ring.write_chrony(std::chrono::seconds{0}));
        CHECK(again.current().id() == ring.current().id());
        // two former keys: two rotations
        CHECK(again.open_cookie(cookie).has_value() == (count < 2));
    }
}

TEST_CASE("a new ring for chrony is one that chrony reads")
{
    const auto ring = KeyRing::create(CookieLayout::chrony, {fresh(0x10), fresh(0x20), fresh(0x30), fresh(0x40)});
    CHECK(read_chrony(ring.write_chrony(std::chrono::seconds{0})).current().id() == ring.current().id());
}

TEST_CASE("a broken file of chrony's is refused with its line")
{
    const auto broken = [](const std::string& from, const std::string& to) {
        auto changed = kNks0;
        changed.replace(changed.find(from), from.size(), to);
        return fault_of(KeyRing::parse_chrony(changed)).substr(0, 7);
    };
    CHECK(broken("NKS0", "NKS2") == "line 1:");
    CHECK(broken("15 3.5", "3.5") == "line 2:");
    CHECK(broken("15 3.5", "15 x") == "line 2:");
    CHECK(broken("CCB4B2A2 01", "CCB4B2A2 ") == "line 3:");
    CHECK(broken("7F8C4B0B", "7F8C4B0C") == "line 4:");
    CHECK(broken("23F04C11 31", "23F04C11") == "line 6:");
    CHECK(fault_of(KeyRing::parse_chrony(kNks0.substr(0, kNks0.find("23F0")))).substr(0, 7) == "line 6:");
}

TEST_SUITE_END();
