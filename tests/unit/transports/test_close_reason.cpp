#include <cctype>
#include <set>
#include <string>

#include <doctest/doctest.h>

#include "transports/channel.hpp"

using transports::CloseReason;

TEST_SUITE_BEGIN("close_reason");

TEST_CASE("every reason has a name of its own, spelt like the enumerator")
{
    std::set<std::string> names;
    for (std::size_t i = 0; i < transports::kCloseReasons; ++i) {
        const std::string name{transports::name(static_cast<CloseReason>(i))};
        CHECK_MESSAGE(names.insert(name).second, name);
        for (const char letter : name) {
            const auto octet = static_cast<unsigned char>(letter);
            CHECK_MESSAGE((std::islower(octet) != 0 || std::isdigit(octet) != 0 || letter == '_'), name);
        }
    }
    CHECK(names.size() == transports::kCloseReasons);
    CHECK(names.count("unknown") == 0);
    CHECK(transports::name(CloseReason::local_request) == "local_request");
    CHECK(transports::name(CloseReason::unexpected_alpn) == "unexpected_alpn");
    CHECK(transports::name(CloseReason::certificate_invalid) == "certificate_invalid");
}

TEST_CASE("certificate reasons are those about the peer's certificate, and no others")
{
    CHECK(transports::is_certificate_reason(CloseReason::no_certificate));
    CHECK(transports::is_certificate_reason(CloseReason::name_mismatch));
    CHECK(transports::is_certificate_reason(CloseReason::not_on_allow_list));
    CHECK(transports::is_certificate_reason(CloseReason::certificate_invalid));
    CHECK_FALSE(transports::is_certificate_reason(CloseReason::renegotiation));
    CHECK_FALSE(transports::is_certificate_reason(CloseReason::no_alpn));
    CHECK_FALSE(transports::is_certificate_reason(CloseReason::refused_by_peer));
    CHECK_FALSE(transports::is_certificate_reason(CloseReason::local_request));
}

TEST_SUITE_END();
