#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "transports/ssh_self_test.hpp"

using namespace transports;

namespace {

SshPolicy policy(std::vector<std::string> ciphers, std::vector<std::string> macs)
{
    SshPolicy made;
    made.ciphers = std::move(ciphers);
    made.macs = std::move(macs);
    return made;
}

} // namespace

TEST_SUITE("ssh_self_test")
{
    TEST_CASE("each cipher that authenticates by itself counts once, each other one with each MAC")
    {
        CHECK(
            ssh_protections(policy({"aes128-ctr", "aes256-gcm@openssh.com"}, {"hmac-sha2-256", "hmac-sha2-512"})) ==
            std::vector<std::string>{"aes128-ctr hmac-sha2-256", "aes128-ctr hmac-sha2-512", "aes256-gcm@openssh.com"});
        CHECK(ssh_protections({}).empty());
    }

    TEST_CASE("whatever a profile may offer notices a changed tag")
    {
        const auto all = policy(
            {"chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr",
             "aes128-ctr"},
            {"hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512", "hmac-sha2-256"});
        const auto broken = find_broken_ssh_protection(all);
        CHECK_MESSAGE(!broken, broken.value_or(""));
    }

    TEST_CASE("what cannot be tried is not taken for sound")
    {
        const auto broken = find_broken_ssh_protection(policy({"aes256-ctr"}, {"no-such-mac"}));
        REQUIRE(broken.has_value());
        CHECK(broken->starts_with("aes256-ctr no-such-mac: "));
    }
}
