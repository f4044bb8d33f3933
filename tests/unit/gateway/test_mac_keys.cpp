#include "gateway/mac_keys.hpp"

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include <doctest/doctest.h>
#include <unistd.h>

#include "tests/unit/gateway/config_folder.hpp"
#include "transports/address.hpp"

using namespace gateway;

TEST_SUITE_BEGIN("mac_keys");

namespace {

const std::string kSecret(40, 'a');

ntp_shim::SealPeer peer(const char* address)
{
    return transports::mapped(*transports::numeric_address(address, 123));
}

struct Rig {
    ConfigFolder folder;
    transports::Loop loop;
    Log log{LogLevel::error, LogFormat::text};
    std::unique_ptr<Audit> audit;
    Random random;
    transports::Admission admission{{0, 0, 0, 0}, nullptr};
    ExchangeBudget budget;
    Tunnel tunnel;
    MacKeys::Ring ring;
    std::unique_ptr<MacKeys> keys;

    explicit Rig(const std::string& file)
    {
        AuditSettings settings;
        settings.file = folder.path() / "audit";
        audit = std::move(std::get<std::unique_ptr<Audit>>(Audit::open(settings)));
        tunnel.name = "hq";
        tunnel.channel = ChannelKind::mac;
        tunnel.mac.emplace();
        tunnel.mac->keys = folder.path() / "ntp.keys";
        tunnel.mac->digests = {"SHA256", "SHA512"};
        tunnel.mac->owners = {getuid()};
        tunnel.mac->format = ntp_shim::KeyFormat::ntp;
        write(file);
        auto loaded = load_mac_keys(tunnel);
        REQUIRE(loaded.ring);
        ring = loaded.ring;
        keys = std::make_unique<MacKeys>(Services{loop, log, *audit, random, admission, budget}, tunnel,
                                         std::move(loaded.ring), [this](MacKeys::Ring fresh) { ring = fresh; });
    }
    void write(const std::string& file) const
    {
        std::filesystem::permissions(folder.write("ntp.keys", file), static_cast<std::filesystem::perms>(0600));
    }
    void reload(const std::string& file) const
    {
        write(file);
        keys->reload();
    }
    [[nodiscard]] std::size_t recorded(const std::string& words) const
    {
        const auto records = whole_file(folder.path() / "audit");
        std::size_t count = 0;
        for (auto at = records.find(words); at != std::string::npos; at = records.find(words, at + 1)) {
            ++count;
        }
        return count;
    }
};

} // namespace

TEST_CASE("an address that a reload takes from a key's list is served no longer, and the change is recorded")
{
    Rig rig{"7 SHA256 " + kSecret + " 192.0.2.1,192.0.2.2\n"};
    REQUIRE(rig.ring->find(7)->may_serve(peer("192.0.2.2")));
    rig.reload("7 SHA256 " + kSecret + " 192.0.2.1\n");
    CHECK(rig.ring->find(7)->may_serve(peer("192.0.2.1")));
    CHECK_FALSE(rig.ring->find(7)->may_serve(peer("192.0.2.2")));
    CHECK(rig.recorded("\"key_loaded\"") == 2);
    CHECK(rig.recorded("its address list has changed") == 1);
    rig.reload("7 SHA256 " + kSecret + "\n");
    CHECK(rig.ring->find(7)->may_serve(peer("198.51.100.1")));
    CHECK(rig.recorded("its address list has changed") == 2);
}

TEST_CASE("a key that moved to another line stays the same object, and nothing is recorded")
{
    Rig rig{"7 SHA256 " + kSecret + " 192.0.2.1\n"};
    const auto before = rig.ring->find(7);
    rig.reload("# moved\n\n7 SHA256 " + kSecret + " 192.0.2.1\n");
    CHECK(rig.ring->find(7) == before);
    CHECK(rig.recorded("\"key_loaded\"") == 1);
}

TEST_CASE("another secret or digest under the same id is another key")
{
    Rig rig{"7 SHA256 " + kSecret + "\n"};
    auto before = rig.ring->find(7)->check_value();
    rig.reload("7 SHA256 " + std::string(40, 'b') + "\n");
    CHECK(rig.ring->find(7)->check_value() != before);
    before = rig.ring->find(7)->check_value();
    rig.reload("7 SHA512 " + std::string(40, 'b') + "\n");
    CHECK(rig.ring->find(7)->check_value() != before);
    CHECK(rig.recorded("it replaces another key of its id") == 2);
}

TEST_SUITE_END();
