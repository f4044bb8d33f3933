#include "gateway/own_listeners.hpp"

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <doctest/doctest.h>
#include <sys/resource.h>

#include "gateway/address.hpp"

using namespace gateway;

namespace {

SocketAddress address(std::string_view text)
{
    return std::get<SocketAddress>(parse_socket_address(text));
}

OwnListeners listening(const std::string& bound)
{
    Tunnel tunnel;
    tunnel.channel = ChannelKind::mac;
    tunnel.role = Role::server;
    tunnel.listen = {address(bound)};
    OwnListeners own;
    own.add(tunnel, {bound});
    return own;
}

/// No descriptor can be opened meanwhile, so that the interfaces cannot be listed.
class NoDescriptors {
public:
    NoDescriptors()
    {
        REQUIRE(getrlimit(RLIMIT_NOFILE, &before_) == 0);
        const rlimit none{0, before_.rlim_max};
        REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
    }
    ~NoDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
    NoDescriptors(const NoDescriptors&) = delete;
    NoDescriptors& operator=(const NoDescriptors&) = delete;

private:
    rlimit before_{};
};

} // namespace

TEST_SUITE("own_listeners")
{
    TEST_CASE("an address is reached in whichever form it is written")
    {
        CHECK(listening("127.0.0.2:123").reached_by(address("127.0.0.2:123")));
        CHECK(listening("127.0.0.2:123").reached_by(address("[::ffff:127.0.0.2]:123")));
        CHECK(listening("0.0.0.0:123").reached_by(address("[::ffff:127.0.0.2]:123")));
        CHECK_FALSE(listening("127.0.0.2:123").reached_by(address("[::ffff:127.0.0.3]:123")));
        CHECK_FALSE(listening("127.0.0.2:123").reached_by(address("[::ffff:127.0.0.2]:124")));
        CHECK_FALSE(listening("[::]:123").reached_by(address("[::ffff:127.0.0.2]:123"))); // it takes IPv6 only
    }

    TEST_CASE("the unspecified address leads to this host")
    {
        for (const std::string text : {"0.0.0.0:123", "[::ffff:0.0.0.0]:123"}) {
            CAPTURE(text);
            CHECK(listening("0.0.0.0:123").reached_by(address(text)));
        }
        CHECK(listening("[::]:123").reached_by(address("[::]:123")));
    }

    TEST_CASE("an address elsewhere is not ours, unless nobody can say so")
    {
        const auto elsewhere = address("192.0.2.1:123");
        CHECK(locality_of(elsewhere) == Locality::remote);
        CHECK_FALSE(listening("0.0.0.0:123").reached_by(elsewhere));
        const auto everywhere = listening("0.0.0.0:123");
        const NoDescriptors none;
        CHECK(locality_of(elsewhere) == Locality::unknown);
        CHECK(everywhere.reached_by(elsewhere));
        CHECK_FALSE(everywhere.reached_by(address("192.0.2.1:124")));
    }
}
