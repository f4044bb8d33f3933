#include "gateway/mirror_link.hpp"

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <variant>

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ntp-shim/clock_reply.hpp"
#include "ntp-shim/time.hpp"
#include "tests/unit/gateway/audit_folder.hpp"
#include "tests/unit/ntp-shim/packets.hpp"
#include "transports/address.hpp"

using namespace std::chrono_literals;
using namespace gateway;
using ntp_shim::DropReason;

namespace {

/// Serves the system clock's own time, every few milliseconds.
class Daemon {
public:
    explicit Daemon(transports::Loop& loop)
        : descriptor_{socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)}, timer_{loop, [this] { serve(); }}
    {
        address_.storage = *transports::numeric_address("127.0.0.1", 0);
        socklen_t size = sizeof address_.storage;
        REQUIRE(bind(descriptor_, transports::as_sockaddr(address_.storage),
                     transports::address_length(address_.storage)) == 0);
        REQUIRE(getsockname(descriptor_, transports::as_sockaddr(address_.storage), &size) == 0);
        serve();
    }
    ~Daemon() { close(descriptor_); }
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;
    [[nodiscard]] const SocketAddress& address() const noexcept { return address_; }

private:
    void serve()
    {
        std::array<std::byte, 1024> memory{};
        sockaddr_storage from{};
        socklen_t length = sizeof from;
        for (ssize_t size = 0; (size = recvfrom(descriptor_, memory.data(), memory.size(), 0,
                                                transports::as_sockaddr(from), &length)) > 0;) {
            const auto now = ntp_shim::ntp_timestamp(transports::read_wall());
            const auto reply = ntp_shim::clock_reply(ntp_shim::Bytes{memory}.first(static_cast<std::size_t>(size)),
                                                     {.stratum = 2}, now, now);
            CHECK(sendto(descriptor_, reply.data(), reply.size(), 0, transports::as_sockaddr(from), length) ==
                  static_cast<ssize_t>(reply.size()));
        }
        timer_.start(1ms);
    }

    int descriptor_;
    SocketAddress address_;
    transports::Timer timer_;
};

struct Owner final : UpstreamOwner {
    int answers = 0;
    void on_answer(std::span<const std::byte>, transports::Instant) override { ++answers; }
    void on_unasked(std::size_t) override {}
    void on_unreachable(const std::string&) override {}
};

struct Rig {
    AuditFolder folder;
    std::unique_ptr<Audit> audit = open_audit(folder.file());
    transports::Loop loop;
    Log log{LogLevel::error, LogFormat::text};
    Random random;
    transports::Admission admission{{0, 0, 0, 0}, nullptr};
    ExchangeBudget budget;
    Daemon daemon{loop};
    Owner owner;
    std::unique_ptr<UpstreamLink> link;

    Rig()
    {
        // Offsets are no concern here, and on a busy machine they grow.
        auto made = make_mirror({loop, log, *audit, random, admission, budget}, {daemon.address(), 1000ms}, owner);
        REQUIRE(std::holds_alternative<std::unique_ptr<UpstreamLink>>(made));
        link = std::move(std::get<std::unique_ptr<UpstreamLink>>(made));
    }
    std::optional<DropReason> ask() { return link->ask(packets::request({})); }
    void run_for(std::chrono::milliseconds time)
    {
        transports::Timer end{loop, [this] { loop.stop(); }};
        end.start(time);
        loop.run();
    }
};

} // namespace

TEST_SUITE("mirror_link")
{
    TEST_CASE("a step that the kernel tells of ends the answers, and is recorded")
    {
        Rig rig;
        for (int i = 0; i < 200 && rig.ask(); ++i) {
            rig.run_for(50ms);
        }
        REQUIRE(rig.owner.answers == 1);
        rig.link->on_clock_step();
        CHECK(rig.ask() == DropReason::mirror_invalid);
        CHECK(rig.owner.answers == 1);
        const auto lines = lines_of(rig.folder.file());
        REQUIRE_FALSE(lines.empty());
        CHECK(lines.back().find("\"mirror_invalid\"") != std::string::npos);
        CHECK(lines.back().find("\"clock_step\"") != std::string::npos);
    }
}
