#include "transports/udp_asker.hpp"

#include <array>
#include <cerrno>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transports/loop.hpp"

using namespace transports;
using std::chrono::seconds;

TEST_SUITE_BEGIN("udp_asker");

namespace {

/// A socket that is asked, read and answered from by hand.
class Peer {
public:
    Peer() : descriptor_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))
    {
        sockaddr_storage local = *numeric_address("127.0.0.1", 0);
        REQUIRE(::bind(descriptor_, as_sockaddr(local), address_length(local)) == 0);
        socklen_t length = sizeof address_;
        REQUIRE(getsockname(descriptor_, as_sockaddr(address_), &length) == 0);
    }
    ~Peer() { close_now(); }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    void close_now()
    {
        if (descriptor_ >= 0) {
            ::close(std::exchange(descriptor_, -1));
        }
    }
    /// The port that the next datagram came from; its source becomes whom say() talks to.
    std::uint16_t hear()
    {
        std::array<char, 64> buffer{};
        socklen_t length = sizeof from_;
        REQUIRE(recvfrom(descriptor_, buffer.data(), buffer.size(), 0, as_sockaddr(from_), &length) > 0);
        return port_of(from_);
    }
    void say(const std::string& text)
    {
        REQUIRE(sendto(descriptor_, text.data(), text.size(), 0, as_sockaddr(from_), address_length(from_)) > 0);
    }
    [[nodiscard]] const sockaddr_storage& address() const noexcept { return address_; }

private:
    int descriptor_;
    sockaddr_storage address_{};
    sockaddr_storage from_{};
};

struct Heard final : UdpAskerHandler {
    explicit Heard(Loop& the_loop) : loop{the_loop}, late{the_loop, [this] { loop.stop(); }} { late.start(seconds{5}); }
    void on_datagram(std::uint64_t socket, const Datagram& datagram) override
    {
        sockets.push_back(socket);
        texts.emplace_back(reinterpret_cast<const char*>(datagram.bytes.data()), datagram.bytes.size());
        truncated = datagram.truncated;
        arrival = datagram.arrival;
        if (closes) {
            asker->close(socket);
        }
        loop.stop();
    }
    void on_refused(std::uint64_t socket, int error) override
    {
        sockets.push_back(socket);
        errors.push_back(error);
        loop.stop();
    }
    Loop& loop;
    Timer late;
    UdpAsker* asker = nullptr;
    bool closes = false;
    bool truncated = false;
    Instant arrival;
    std::vector<std::uint64_t> sockets;
    std::vector<std::string> texts;
    std::vector<int> errors;
};

std::span<const std::byte> octets(const std::string& text)
{
    return std::as_bytes(std::span{text.data(), text.size()});
}

std::uint64_t opened(UdpAsker& asker, const sockaddr_storage& peer, std::uint16_t port = 0)
{
    const auto socket = asker.open(peer, port);
    REQUIRE(std::holds_alternative<std::uint64_t>(socket));
    return std::get<std::uint64_t>(socket);
}

} // namespace

TEST_CASE("each socket asks from a port of its own and hears its own answer")
{
    Loop loop;
    Heard heard{loop};
    Peer peer;
    UdpAsker asker{loop, heard, 64};
    std::set<std::uint16_t> ports;
    std::set<std::uint64_t> numbers;
    for (int i = 0; i < 20; ++i) {
        const auto socket = opened(asker, peer.address());
        CHECK(numbers.insert(socket).second);
        CHECK(asker.send(socket, octets("question")) == 0);
        CHECK(ports.insert(peer.hear()).second);
        CHECK(ports.contains(asker.local_port(socket)));
        peer.say("answer");
        loop.run();
        REQUIRE(heard.sockets.size() == numbers.size());
        CHECK(heard.sockets.back() == socket);
        CHECK(heard.texts.back() == "answer");
        CHECK(heard.arrival.boot <= read_boot());
    }
}

TEST_CASE("a stranger's datagram does not arrive")
{
    Loop loop;
    Heard heard{loop};
    Peer peer;
    Peer stranger;
    UdpAsker asker{loop, heard, 4};
    const auto socket = opened(asker, peer.address());
    CHECK(asker.send(socket, octets("question")) == 0);
    const auto port = peer.hear();
    const auto other = opened(asker, stranger.address());
    CHECK(asker.send(other, octets("question")) == 0);
    (void)stranger.hear();
    const auto to = from_mapped(mapped(peer.address()), port, 0);
    const int forged = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)sendto(forged, "forged", 6, 0, as_sockaddr(to), address_length(to)); // refused at once, or dropped
    ::close(forged);
    stranger.say("second"); // comes after what must not come
    loop.run();
    REQUIRE(heard.texts == std::vector<std::string>{"second"});
}

TEST_CASE("a refusal is told for the socket that asked")
{
    Loop loop;
    Heard heard{loop};
    Peer peer;
    UdpAsker asker{loop, heard, 4};
    (void)opened(asker, peer.address());
    const auto socket = opened(asker, peer.address());
    peer.close_now();
    CHECK(asker.send(socket, octets("question")) == 0);
    loop.run();
    REQUIRE(heard.errors == std::vector<int>{ECONNREFUSED});
    CHECK(heard.sockets.back() == socket);
}

TEST_CASE("there are never more sockets than it was told, and a number is never used twice")
{
    Loop loop;
    Heard heard{loop};
    Peer peer;
    UdpAsker asker{loop, heard, 2};
    const auto one = opened(asker, peer.address());
    const auto two = opened(asker, peer.address());
    CHECK(asker.is_full());
    const auto refused = asker.open(peer.address(), 0);
    REQUIRE(std::holds_alternative<int>(refused));
    CHECK(std::get<int>(refused) == EMFILE);
    asker.close(one);
    asker.close(one); // again does nothing
    CHECK_FALSE(asker.is_full());
    const auto three = opened(asker, peer.address());
    CHECK(three != one);
    CHECK(three != two);
    CHECK(asker.send(one, octets("x")) == EBADF);
    CHECK(asker.local_port(one) == 0);
    CHECK(asker.send(three, octets("x")) == 0);
}

TEST_CASE("a handler may close the socket it hears of, with more on it")
{
    Loop loop;
    Heard heard{loop};
    Peer peer;
    UdpAsker asker{loop, heard, 4};
    heard.asker = &asker;
    heard.closes = true;
    const auto socket = opened(asker, peer.address());
    CHECK(asker.send(socket, octets("question")) == 0);
    (void)peer.hear();
    peer.say("one");
    peer.say("two");
    loop.run();
    CHECK(heard.texts == std::vector<std::string>{"one"});
}

TEST_CASE("a source port is used when it is named, and refused while another has it")
{
    Loop loop;
    Heard heard{loop};
    Peer peer;
    Peer other;
    UdpAsker asker{loop, heard, 4};
    const auto taken = asker.open(peer.address(), port_of(other.address()));
    REQUIRE(std::holds_alternative<int>(taken));
    CHECK(std::get<int>(taken) == EADDRINUSE);
    const auto port = port_of(other.address());
    other.close_now();
    const auto socket = opened(asker, peer.address(), port);
    CHECK(asker.send(socket, octets("question")) == 0);
    CHECK(peer.hear() == port);
}

TEST_CASE("a longer datagram than any of NTP is marked")
{
    Loop loop;
    Heard heard{loop};
    Peer peer;
    UdpAsker asker{loop, heard, 4};
    const auto socket = opened(asker, peer.address());
    CHECK(asker.send(socket, octets("question")) == 0);
    (void)peer.hear();
    peer.say(std::string(kMaxDatagram + 1, 'x'));
    loop.run();
    REQUIRE(heard.texts.size() == 1);
    CHECK(heard.truncated);
    CHECK(heard.texts.front().size() == kMaxDatagram);
}

TEST_SUITE_END();
