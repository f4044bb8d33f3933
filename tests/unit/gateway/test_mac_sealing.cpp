#include "gateway/mac_sealing.hpp"

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <unistd.h>
#include <uv.h>

#include "tests/unit/gateway/config_folder.hpp"

using namespace std::chrono_literals;
using namespace gateway;

TEST_SUITE_BEGIN("mac_sealing");

namespace {

/// Keeps every thread that looks names up busy until it is told to let go.
class BusyThreads {
public:
    explicit BusyThreads(transports::Loop& loop) : loop_{loop}, works_(1024) // libuv has no more threads
    {
        for (auto& work : works_) {
            work.data = this;
            REQUIRE(uv_queue_work(
                        loop.raw(), &work,
                        [](uv_work_t* each) { static_cast<BusyThreads*>(each->data)->released_.wait(); },
                        [](uv_work_t* each, int) { static_cast<BusyThreads*>(each->data)->ended(); }) == 0);
        }
    }
    ~BusyThreads()
    {
        release_.set_value();
        loop_.run();
    }
    BusyThreads(const BusyThreads&) = delete;
    BusyThreads& operator=(const BusyThreads&) = delete;

private:
    void ended()
    {
        if (++ended_ == works_.size()) {
            loop_.stop();
        }
    }
    transports::Loop& loop_;
    std::promise<void> release_;
    std::shared_future<void> released_ = release_.get_future().share();
    std::vector<uv_work_t> works_;
    std::size_t ended_ = 0;
};

} // namespace

TEST_CASE("a name look-up without an end is given up when the time to connect is over")
{
    const ConfigFolder folder;
    transports::Loop loop;
    Log log{LogLevel::error, LogFormat::text};
    AuditSettings nowhere;
    nowhere.file = "/dev/null";
    const auto audit = std::move(std::get<std::unique_ptr<Audit>>(Audit::open(nowhere)));
    Random random;
    transports::Admission admission{{0, 0, 0, 0}, nullptr};
    ExchangeBudget budget;
    Tunnel tunnel;
    tunnel.channel = ChannelKind::mac;
    tunnel.timing.connect = 50ms;
    tunnel.mac.emplace();
    tunnel.mac->keys = folder.write("ntp.keys", "7 SHA256 " + std::string(40, 'a') + "\n");
    std::filesystem::permissions(tunnel.mac->keys, static_cast<std::filesystem::perms>(0600));
    tunnel.mac->digests = {"SHA256"};
    tunnel.mac->owners = {getuid()};
    tunnel.mac->format = ntp_shim::KeyFormat::ntp;
    const BusyThreads busy{loop};
    auto made = make_mac_client_sealing(Services{loop, log, *audit, random, admission, budget}, tunnel);
    REQUIRE(std::holds_alternative<std::unique_ptr<ClientSealing>>(made));
    auto& sealing = *std::get<std::unique_ptr<ClientSealing>>(made);
    std::vector<transports::Failed> failures;
    sealing.find({"localhost", 123}, [&](std::variant<std::vector<Route>, transports::Failed> result) {
        if (auto* failed = std::get_if<transports::Failed>(&result)) {
            failures.push_back(*failed);
        }
        loop.stop();
    });
    transports::Timer end{loop, [&] { loop.stop(); }};
    end.start(10s);
    loop.run();
    REQUIRE(failures.size() == 1);
    CHECK(failures.front().reason == transports::CloseReason::connect_timeout);
}

TEST_SUITE_END();
