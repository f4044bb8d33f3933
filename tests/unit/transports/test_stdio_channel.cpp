#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/ssh_pair.hpp"
#include "transports/stdio_channel.hpp"

using namespace std::chrono_literals;
using namespace transports;
using support::bytes_of;

namespace {

class Descriptor {
public:
    explicit Descriptor(int number = -1) : number_{number} {}
    ~Descriptor() { shut(); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    [[nodiscard]] int get() const { return number_; }
    void set(int number) { number_ = number; }
    void shut()
    {
        if (number_ >= 0) {
            close(number_);
            number_ = -1;
        }
    }

private:
    int number_;
};

std::string framed(const std::string& text)
{
    return std::string{static_cast<char>(text.size() >> 8U), static_cast<char>(text.size() & 0xFFU)} + text;
}

/// The channel in the middle; the test holds the far ends of both pipes, as sshd does.
struct Rig {
    Loop loop;
    support::SshEnd handler;
    StdioOptions options;
    Descriptor near_in;
    Descriptor near_out;
    Descriptor to_channel;
    Descriptor from_channel;
    std::unique_ptr<Listener> listener;
    int gone = 0;
    std::size_t closed_when_gone = 0;
    bool timed_out = false;
    Timer deadline{loop, [this] {
                       timed_out = true;
                       loop.stop();
                   }};

    Rig()
    {
        (void)std::signal(SIGPIPE, SIG_IGN); // NOLINT(cert-err33-c): as the program does
        std::array<int, 2> ends{};
        REQUIRE(pipe(ends.data()) == 0);
        near_in.set(ends[0]);
        to_channel.set(ends[1]);
        REQUIRE(pipe(ends.data()) == 0);
        from_channel.set(ends[0]);
        near_out.set(ends[1]);
        options.in = near_in.get();
        options.out = near_out.get();
        options.min_message = 3;
        options.max_message = 1000;
        options.gone = [this] {
            ++gone;
            closed_when_gone = handler.closed.size();
        };
    }
    std::variant<std::unique_ptr<Listener>, std::string> listen()
    {
        return make_stdio_listener(loop, options, handler);
    }
    Channel& open()
    {
        auto made = listen();
        REQUIRE(std::holds_alternative<std::unique_ptr<Listener>>(made));
        listener = std::move(std::get<std::unique_ptr<Listener>>(made));
        CHECK(handler.channels.empty()); // never from inside a call
        REQUIRE(until([&] { return handler.channels.size() == 1; }));
        return *handler.channels.front();
    }
    void say(const std::string& octets) const
    {
        REQUIRE(write(to_channel.get(), octets.data(), octets.size()) == static_cast<ssize_t>(octets.size()));
    }
    /// What lies in the pipe now.
    [[nodiscard]] std::string hear() const
    {
        REQUIRE(fcntl(from_channel.get(), F_SETFL, O_NONBLOCK) == 0);
        std::string heard;
        std::array<char, 4096> buffer{};
        for (ssize_t count = 0; (count = read(from_channel.get(), buffer.data(), buffer.size())) > 0;) {
            heard.append(buffer.data(), static_cast<std::size_t>(count));
        }
        return heard;
    }
    bool until(const std::function<bool()>& done)
    {
        handler.progress = [this, done] {
            if (done()) {
                loop.stop();
            }
        };
        deadline.start(30s);
        while (!done() && !timed_out) {
            loop.run();
        }
        return done();
    }
    /// One turn, at least, has passed.
    void pass()
    {
        bool passed = false;
        Timer timer{loop, [&] {
                        passed = true;
                        loop.stop();
                    }};
        timer.start(2ms);
        REQUIRE(until([&] { return passed; }));
    }
    [[nodiscard]] CloseReason ended()
    {
        REQUIRE(until([&] { return handler.closed.size() == 1; }));
        pass();
        CHECK(handler.closed.size() == 1);
        CHECK(handler.channels.empty());
        CHECK(gone == 1);
        CHECK(closed_when_gone == 1); // the handler heard of it first
        return handler.closed.front().reason;
    }
};

} // namespace

TEST_SUITE_BEGIN("stdio_channel");

TEST_CASE("the one peer is there on the next turn, with what sshd said of it")
{
    Rig rig;
    rig.options.peer.address = "192.0.2.1:50022";
    rig.options.peer.subject = "ntp";
    const Channel& channel = rig.open();
    CHECK(channel.peer().address == "192.0.2.1:50022");
    CHECK(channel.peer().subject == "ntp");
    CHECK(rig.listener->address() == "stdio");
    CHECK(rig.listener->counters().accepted == 1);
    CHECK(rig.listener->counters().opened == 1);
    CHECK(rig.listener->counters().pending == 0);
}

TEST_CASE("a message that comes octet by octet is one message")
{
    Rig rig;
    (void)rig.open();
    for (const char octet : framed("slowly")) {
        rig.say(std::string(1, octet));
        rig.pass();
    }
    CHECK(rig.handler.messages == std::vector<std::string>{"slowly"});
}

TEST_CASE("messages that come in one read, and the beginning of another, are as many messages")
{
    Rig rig;
    (void)rig.open();
    rig.say(framed("one") + framed("two") + framed("three").substr(0, 4));
    REQUIRE(rig.until([&] { return rig.handler.messages.size() == 2; }));
    rig.say(framed("three").substr(4));
    REQUIRE(rig.until([&] { return rig.handler.messages.size() == 3; }));
    CHECK(rig.handler.messages == std::vector<std::string>{"one", "two", "three"});
}

TEST_CASE("what is sent leaves behind its length, in order")
{
    Rig rig;
    Channel& channel = rig.open();
    CHECK(channel.send(bytes_of("first")) == SendResult::sent);
    CHECK(channel.send(bytes_of("second")) == SendResult::sent);
    CHECK(rig.hear().empty()); // at the end of the turn, together
    rig.pass();
    CHECK(rig.hear() == framed("first") + framed("second"));
}

TEST_CASE("one socket may be both directions")
{
    Rig rig;
    std::array<int, 2> ends{};
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) == 0);
    const Descriptor near{ends[0]};
    const Descriptor far{ends[1]};
    rig.options.in = rig.options.out = near.get();
    Channel& channel = rig.open();
    rig.handler.echo = true;
    REQUIRE(write(far.get(), framed("there").data(), 7) == 7);
    REQUIRE(rig.until([&] { return rig.handler.messages.size() == 1; }));
    rig.pass();
    std::array<char, 64> heard{};
    CHECK(recv(far.get(), heard.data(), heard.size(), MSG_DONTWAIT) == 7);
    CHECK(std::string(heard.data(), 7) == framed("there"));
    channel.close(CloseReason::drained);
    CHECK(rig.ended() == CloseReason::drained);
}

TEST_CASE("the end of the input is the peer's orderly end")
{
    Rig rig;
    (void)rig.open();
    rig.say(framed("last"));
    rig.to_channel.shut();
    CHECK(rig.ended() == CloseReason::peer_closed);
    CHECK(rig.handler.messages == std::vector<std::string>{"last"});
}

TEST_CASE("an end in the middle of a message delivers nothing of it")
{
    Rig rig;
    (void)rig.open();
    rig.say(framed("unfinished").substr(0, 6));
    rig.to_channel.shut();
    CHECK(rig.ended() == CloseReason::peer_closed);
    CHECK(rig.handler.messages.empty());
}

TEST_CASE("answers to the last questions leave although the input has ended")
{
    Rig rig;
    (void)rig.open();
    rig.handler.echo = true;
    rig.say(framed("asked"));
    rig.to_channel.shut();
    CHECK(rig.ended() == CloseReason::peer_closed);
    CHECK(rig.hear() == framed("asked"));
}

TEST_CASE("a reader that is gone ends the channel, not the process")
{
    Rig rig;
    Channel& channel = rig.open();
    rig.from_channel.shut();
    CHECK(channel.send(bytes_of("nobody")) == SendResult::sent);
    CHECK(rig.ended() == CloseReason::connection_lost);
    CHECK(rig.handler.closed.front().text == std::strerror(EPIPE));
}

TEST_CASE("a reader that goes while something waits for it ends the channel")
{
    Rig rig;
    Channel& channel = rig.open();
    const auto message = bytes_of(std::string(1000, 'x'));
    while (channel.send(message) == SendResult::sent) {
        rig.pass();
    }
    rig.from_channel.shut();
    CHECK(rig.ended() == CloseReason::connection_lost);
}

TEST_CASE("for a reader that stops nothing is queued, nothing is cut, and the loop goes on")
{
    Rig rig;
    Channel& channel = rig.open();
    std::size_t taken = 0;
    SendResult result = SendResult::sent;
    const auto message = bytes_of(std::string(997, 'x')); // no pipe holds a whole number of these
    while (result == SendResult::sent) {
        // So many in one turn that a pipe may take a part of them: what is smaller it takes whole, or not at all.
        for (int i = 0; i < 20 && (result = channel.send(message)) == SendResult::sent; ++i) {
            ++taken;
        }
        rig.pass();
    }
    CHECK(result == SendResult::congested);
    for (int i = 0; i < 1000; ++i) {
        REQUIRE(channel.send(message) == SendResult::congested);
    }
    rig.say(framed("asked")); // and is heard all the same
    REQUIRE(rig.until([&] { return rig.handler.messages.size() == 1; }));
    std::string heard;
    for (std::string more = rig.hear(); !more.empty(); more = rig.hear()) {
        heard += more;
        rig.pass();
    }
    std::string whole;
    for (std::size_t i = 0; i < taken; ++i) {
        whole += framed(std::string(997, 'x'));
    }
    CHECK(heard == whole);
    CHECK(channel.send(bytes_of("now")) == SendResult::sent);
    rig.pass();
    CHECK(rig.hear() == framed("now"));
    CHECK(rig.handler.closed.empty());
}

TEST_CASE("one turn takes no more than what may be queued")
{
    Rig rig;
    Channel& channel = rig.open();
    const auto message = bytes_of(std::string(1000, 'x'));
    std::size_t taken = 0;
    while (channel.send(message) == SendResult::sent) {
        ++taken;
    }
    CHECK(taken * 1002 <= std::size_t{32} * 1024);
    CHECK(taken == 32);
    rig.pass();
    CHECK(rig.hear().size() == taken * 1002);
}

TEST_CASE("a length outside the bounds ends the channel")
{
    for (const std::size_t length : {std::size_t{0}, std::size_t{2}, std::size_t{1001}, std::size_t{65535}}) {
        Rig rig;
        (void)rig.open();
        rig.say(framed("good") + framed(std::string(length, 'x')).substr(0, 2));
        CHECK(rig.ended() == CloseReason::bad_framing);
        CHECK(rig.handler.messages == std::vector<std::string>{"good"});
    }
}

TEST_CASE("a silent peer is let go")
{
    Rig rig;
    rig.options.idle = 50ms;
    (void)rig.open();
    const auto begun = read_boot();
    CHECK(rig.ended() == CloseReason::idle_timeout);
    CHECK(read_boot() - begun >= 49ms);
}

TEST_CASE("what was sent before a close still leaves, and nothing is taken after it")
{
    Rig rig;
    Channel& channel = rig.open();
    CHECK(channel.send(bytes_of("goodbye")) == SendResult::sent);
    channel.close(CloseReason::drained);
    channel.close(CloseReason::local_request); // twice is as good as once
    CHECK(channel.send(bytes_of("late")) == SendResult::closed);
    CHECK(rig.ended() == CloseReason::drained);
    CHECK(rig.hear() == framed("goodbye"));
}

TEST_CASE("what can not be waited for is named")
{
    const support::Folder folder;
    const Descriptor file{open((folder.path() / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    REQUIRE(file.get() >= 0);
    Rig rig;
    rig.options.in = file.get();
    CHECK(std::get<std::string>(rig.listen()) == "standard input: is neither a pipe nor a socket");
    rig.options.in = rig.near_in.get();
    rig.options.out = file.get();
    CHECK(std::get<std::string>(rig.listen()) == "standard output: is neither a pipe nor a socket");
    rig.options.out = -1;
    CHECK(std::get<std::string>(rig.listen()) == "standard output: " + std::string{std::strerror(EBADF)});
    CHECK(rig.handler.channels.empty());
}

TEST_SUITE_END();
