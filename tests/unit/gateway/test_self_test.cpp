#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "gateway/profile.hpp"
#include "transports/tls_self_test.hpp"

using namespace gateway;

namespace {

std::vector<std::string> all_offered(const Profile& profile)
{
    std::vector<std::string> names;
    for (const auto* list : {&profile.tls.suites, &profile.tls.groups, &profile.tls.signatures, &profile.ssh.kex,
                             &profile.ssh.public_keys, &profile.ssh.ciphers, &profile.ssh.macs, &profile.digests}) {
        names.insert(names.end(), list->begin(), list->end());
    }
    return names;
}

/// A hash of SHA-2, alone or in HMAC: tested whatever is offered.
bool is_always_tested(const std::string& name)
{
    return name.starts_with("hmac-sha2-") || (name.starts_with("SHA") && name != "SHA1");
}

} // namespace

TEST_SUITE("self_test")
{
    TEST_CASE("each name that a profile offers asks for a known answer")
    {
        const auto always = transports::primitives_tested({}).size();
        for (const auto& built_in : built_in_profiles()) {
            const auto loaded = load_profile(std::string{built_in.name}, "");
            REQUIRE(loaded.has_value());
            REQUIRE(loaded->profile.has_value());
            const auto names = all_offered(*loaded->profile);
            REQUIRE(names.size() > 10);
            for (const auto& name : names) {
                CAPTURE(name);
                CHECK((is_always_tested(name) || transports::primitives_tested({&name, 1}).size() > always));
            }
        }
    }
}
