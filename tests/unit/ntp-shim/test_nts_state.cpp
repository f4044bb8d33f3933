#include "ntp-shim/nts_state.hpp"

#include "tests/unit/ntp-shim/nts_bits.hpp"

using ntp_shim::NtsClientState;
using namespace nts;

namespace {

NtsClientState state()
{
    return {.target = "time.example.org:4460",
            .attempts = 3,
            .not_before = std::chrono::seconds{1700000000},
            .address = "2001:db8::1",
            .port = 1123,
            .ke_address = "2001:db8::2",
            .established = std::chrono::seconds{1699999999},
            .valid_until = std::chrono::seconds{1799999999},
            .trust = std::string(64, 'a'),
            .session = session(own_ring(), 2)};
}

} // namespace

TEST_SUITE_BEGIN("nts_state");

TEST_CASE("what is written is read again")
{
    const auto text = write_state(state());
    const auto parsed = ntp_shim::parse_state(text);
    REQUIRE(std::holds_alternative<NtsClientState>(parsed));
    const auto& again = std::get<NtsClientState>(parsed);
    CHECK(write_state(again) == text);
    CHECK(again.target == "time.example.org:4460");
    CHECK(again.attempts == 3);
    CHECK(again.not_before == std::chrono::seconds{1700000000});
    CHECK(again.address == "2001:db8::1");
    CHECK(again.port == 1123);
    CHECK(again.ke_address == "2001:db8::2");
    CHECK(again.established == std::chrono::seconds{1699999999});
    CHECK(again.valid_until == std::chrono::seconds{1799999999});
    CHECK(again.trust == std::string(64, 'a'));
    REQUIRE(again.session.has_value());
    CHECK(again.session->keys == session_keys());
    CHECK(again.session->cookies == state().session->cookies);
}

TEST_CASE("without cookies only the attempts are kept")
{
    auto empty = state();
    empty.session->cookies.clear();
    const auto parsed = ntp_shim::parse_state(write_state(empty));
    REQUIRE(std::holds_alternative<NtsClientState>(parsed));
    CHECK_FALSE(std::get<NtsClientState>(parsed).session.has_value());
    CHECK(std::get<NtsClientState>(parsed).attempts == 3);
}

TEST_CASE("every line that is missing or wrong is an error that shows no key")
{
    const auto text = write_state(state());
    const auto key = ntp_shim::hex_text(mixed(32, 7));
    std::size_t lines = 0;
    for (std::size_t begin = 0; begin < text.size(); begin = text.find('\n', begin) + 1) {
        auto cut = text;
        cut.erase(begin, text.find('\n', begin) + 1 - begin);
        const bool is_cookie = text.compare(begin, 6, "cookie") == 0;
        const auto parsed = ntp_shim::parse_state(cut);
        CHECK(std::holds_alternative<NtsClientState>(parsed) == is_cookie);
        auto changed = text;
        changed[begin] = changed[begin] == 'X' ? 'Y' : 'X';
        const auto wrong = ntp_shim::parse_state(changed);
        REQUIRE(std::holds_alternative<std::string>(wrong));
        CHECK(std::get<std::string>(wrong).find(key.substr(0, 8)) == std::string::npos);
        ++lines;
    }
    CHECK(lines == 12);
}

TEST_CASE("of a file of version 1, which bounds its cookies by nothing, the attempts are read and the cookies are not")
{
    const auto key = ntp_shim::hex_text(mixed(32, 7));
    const auto parsed = ntp_shim::parse_state("ntpgate-nts-state 1\ntarget a:4460\nattempts 3 5\n"
                                              "server 192.0.2.1 123 192.0.2.2\nestablished 5\naead 15\nc2s " +
                                              key + "\ns2c " + key + "\ncookie " + key + "\n");
    REQUIRE(std::holds_alternative<NtsClientState>(parsed));
    const auto& state = std::get<NtsClientState>(parsed);
    CHECK(state.target == "a:4460");
    CHECK(state.attempts == 3);
    CHECK(state.not_before == std::chrono::seconds{5});
    CHECK_FALSE(state.session.has_value());
    CHECK(std::holds_alternative<std::string>(ntp_shim::parse_state("ntpgate-nts-state 3\ntarget a:4460\n")));
}

TEST_CASE("keys of another size and cookies of none are refused")
{
    const auto broken = [](const std::string& from, const std::string& to) {
        auto text = write_state(state());
        text.replace(text.find(from), from.size(), to);
        return std::holds_alternative<std::string>(ntp_shim::parse_state(text));
    };
    CHECK(broken("aead 15", "aead 17"));
    CHECK(broken("aead 15", "aead 99"));
    CHECK(broken("cookie ", "cookie 00"));
    CHECK(broken("cookie ", "cookie G"));
    CHECK(broken("1123", "70000"));
    CHECK(broken("until 1799999999", "until -1"));
    CHECK(broken("until 1799999999", "until 9223372037")); // more nanoseconds than there are
    CHECK(broken("trust aa", "trust "));
    CHECK(broken("trust aa", "trust ax"));
}

TEST_SUITE_END();
