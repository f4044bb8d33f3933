#include <doctest/doctest.h>

#include <string>

#include "gateway/printable.hpp"

using gateway::printable;

TEST_SUITE("printable")
{
    TEST_CASE("ordinary text stays")
    {
        CHECK(printable("CN=gw.example.org, O=Example {1}") == "CN=gw.example.org, O=Example {1}");
    }

    TEST_CASE("control characters, the backslash and everything above ASCII are escaped")
    {
        CHECK(printable(std::string{"a\n\x1b[31m\\\xc3\xa4\x00z", 12}) == "a\\x0a\\x1b[31m\\x5c\\xc3\\xa4\\x00z");
    }

    TEST_CASE("long text is cut, never in the middle of an escape")
    {
        CHECK(printable("abcdef", 6) == "abcdef");
        CHECK(printable("abcdefg", 6) == "abcdef...");
        CHECK(printable("abc\n", 6) == "abc...");
        CHECK(printable(std::string(100000, '\n')).size() <= 259);
    }
}
