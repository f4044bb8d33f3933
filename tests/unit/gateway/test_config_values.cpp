#include <string>

#include <doctest/doctest.h>

#include "gateway/config_values.hpp"

using namespace gateway;
using std::chrono::hours;
using std::chrono::milliseconds;

namespace {

std::optional<milliseconds> duration(std::string_view text)
{
    const auto parsed = parse_duration(text);
    const auto* value = std::get_if<milliseconds>(&parsed);
    return value == nullptr ? std::nullopt : std::optional{*value};
}

} // namespace

TEST_SUITE_BEGIN("config_values");

TEST_CASE("a duration is a whole number and a unit")
{
    CHECK(duration("0ms") == milliseconds{0});
    CHECK(duration("500ms") == milliseconds{500});
    CHECK(duration("2s") == milliseconds{2000});
    CHECK(duration("3m") == milliseconds{180'000});
    CHECK(duration("24h") == hours{24});
    for (const auto* wrong : {"", "5", "ms", "1.5s", "-1s", "+1s", "1 s", "1S", "1d", "010ms", "1us", "0x1s", "1ss",
                              "99999999999999999999s"}) {
        CAPTURE(wrong);
        CHECK_FALSE(duration(wrong).has_value());
    }
}

TEST_CASE("a duration is at most a year")
{
    CHECK(duration("8784h") == hours{8784});
    CHECK_FALSE(duration("8785h").has_value());
    CHECK_FALSE(duration("9223372036854775807h").has_value());
}

TEST_CASE("a duration without its unit is told which ones there are")
{
    const auto refused = std::get<Refused>(parse_duration("5"));
    CHECK(refused.why == "'5' has no unit (expected a whole number and a unit ms, s, m or h, such as 500ms)");
}

TEST_CASE("a duration prints as it may be written")
{
    for (const auto* text : {"0ms", "1ms", "999ms", "1s", "90s", "2m", "24h", "36h"}) {
        CHECK(duration_text(duration(text).value()) == text);
    }
    CHECK(duration_text(milliseconds{60'000}) == "1m");
}

TEST_CASE("numbers are decimal, and a leading zero is not guessed at")
{
    CHECK(std::get<std::uint64_t>(parse_number("0")) == 0);
    CHECK(std::get<std::uint64_t>(parse_number("18446744073709551615")) == 18446744073709551615U);
    for (const auto* wrong : {"", "010", "00", "-1", "+1", "0x10", "1e3", "1_000", "1 ", "18446744073709551616"}) {
        CAPTURE(wrong);
        CHECK(std::holds_alternative<Refused>(parse_number(wrong)));
    }
}

TEST_CASE("text is shown in quotes, escaped and cut")
{
    CHECK(shown("a b") == "'a b'");
    CHECK(shown("a\x1b[0m\n") == "'a\\x1b[0m\\x0a'");
    CHECK(shown(std::string(80, 'a')) == "'" + std::string(80, 'a') + "'");
    CHECK(shown(std::string(81, 'a')) == "'" + std::string(80, 'a') + "...'");
    CHECK(is_utf8(shown(std::string(79, 'a') + "\xc3\xa9z")));
    CHECK(shown("\xc3\xa9") == "'\xc3\xa9'");
    CHECK(shown("\xc3\xa9\xff") == "'\\xc3\\xa9\\xff'");
    CHECK(shown_key("max-age") == "max-age");
    CHECK(shown_key("a.b") == "'a.b'");
}

TEST_CASE("UTF-8 is what RFC 3629 says")
{
    for (const auto* right :
         {"", "a", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
        CHECK(is_utf8(right));
    }
    for (const auto* wrong : {"\x80", "\xc1\xbf", "\xc3", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                              "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82"}) {
        CHECK_FALSE(is_utf8(wrong));
    }
}

TEST_SUITE_END();
