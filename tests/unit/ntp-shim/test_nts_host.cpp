#include "ntp-shim/nts_host.hpp"

#include <string>

#include <doctest/doctest.h>

using ntp_shim::host_form;
using ntp_shim::HostForm;

TEST_SUITE_BEGIN("nts_host");

TEST_CASE("RFC 8915 section 4.1.7: an IPv4 address in dotted decimal")
{
    for (const auto* text : {"192.0.2.1", "0.0.0.0", "255.255.255.255"}) {
        CHECK(host_form(text) == HostForm::ipv4);
    }
    for (const auto* text : {"192.0.2", "192.0.2.256", "192.0.2.01", "192.0.2.1.1", "1234", "1.2.3.", ".1.2.3"}) {
        CAPTURE(text);
        CHECK_FALSE(host_form(text).has_value());
    }
}

TEST_CASE("section 4.1.7: an IPv6 address without a zone")
{
    for (const auto* text : {"2001:db8::1", "::", "::1", "1::", "1:2:3:4:5:6:7:8", "::ffff:192.0.2.1", "FE80::1"}) {
        CAPTURE(text);
        CHECK(host_form(text) == HostForm::ipv6);
    }
    for (const auto* text : {"fe80::1%eth0", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "g::", ":1",
                             "1:2:3:4:5:6:7:8::", "[::1]", "::192.0.2.256"}) {
        CAPTURE(text);
        CHECK_FALSE(host_form(text).has_value());
    }
}

TEST_CASE("section 4.1.7: a name in ASCII, with or without its last dot")
{
    for (const auto* text : {"time.example.org", "time.example.org.", "xn--bcher-kva.example", "a", "1st.example"}) {
        CAPTURE(text);
        CHECK(host_form(text) == HostForm::name);
    }
    CHECK(host_form(std::string(63, 'a') + ".b") == HostForm::name);
    for (const auto& text : {std::string{}, std::string{"."}, std::string{"a..b"}, std::string{"-a"}, std::string{"a-"},
                             std::string{"b\xc3\xbc.example"}, std::string{"a b"}, std::string{"a\0b", 3},
                             std::string(64, 'a'), std::string(127, 'a') + std::string(127, 'b')}) {
        CAPTURE(text);
        CHECK_FALSE(host_form(text).has_value());
    }
}

TEST_CASE("rfc8915_4_1_7_a_name_is_looked_up_as_a_fully_qualified_one")
{
    CHECK(ntp_shim::absolute_host("time.example.org") == "time.example.org.");
    CHECK(ntp_shim::absolute_host("time.example.org.") == "time.example.org.");
    CHECK(ntp_shim::absolute_host("time") == "time.");
    CHECK(ntp_shim::absolute_host("192.0.2.1") == "192.0.2.1");
    CHECK(ntp_shim::absolute_host("2001:db8::1") == "2001:db8::1");
    CHECK(ntp_shim::absolute_host("localhost") == "localhost");
}

TEST_SUITE_END();
