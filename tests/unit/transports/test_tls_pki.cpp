#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <sys/stat.h>

#include <doctest/doctest.h>

#include "tests/support/engine_pair.hpp"
#include "transports/tls_pki.hpp"

namespace fs = std::filesystem;
using transports::TrialPki;
using transports::write_trial_pki;

namespace {

const std::vector<std::string> kNames{"ca.pem", "ca.key", "server.pem", "server.key", "client.pem", "client.key"};

transports::TlsSettings settings_in(const fs::path& directory, transports::TlsRole role)
{
    transports::TlsSettings settings;
    const std::string own = role == transports::TlsRole::server ? "server" : "client";
    settings.role = role;
    settings.policy = support::test_policy();
    settings.ca = directory / "ca.pem";
    settings.certificate = directory / (own + ".pem");
    settings.key = directory / (own + ".key");
    settings.alpn = "ntpgate/1";
    return settings;
}

std::string content(const fs::path& file)
{
    std::ostringstream text;
    text << std::ifstream{file, std::ios::binary}.rdbuf();
    return text.str();
}

std::size_t entries(const fs::path& directory)
{
    return static_cast<std::size_t>(std::distance(fs::directory_iterator{directory}, fs::directory_iterator{}));
}

} // namespace

TEST_SUITE_BEGIN("tls_pki");

TEST_CASE("trial certificates open a channel under every name they were asked for")
{
    const support::Folder folder;
    TrialPki request;
    request.directory = folder.path() / "new" / "pki";
    request.server_names = {"gw.example.org", "192.0.2.1", "::1"};
    request.client_name = "site1.example.org";
    request.lifetime = std::chrono::hours{48};
    REQUIRE_FALSE(write_trial_pki(request));
    auto server_settings = settings_in(request.directory, transports::TlsRole::server);
    server_settings.allow = {"DNS:site1.example.org"};
    const auto client_settings = settings_in(request.directory, transports::TlsRole::client);
    for (const std::string& name : request.server_names) {
        CAPTURE(name);
        const auto client = support::make_engine(client_settings, name);
        const auto server = support::make_engine(server_settings, "");
        support::converse(*client, *server);
        CHECK(client->state() == transports::EngineState::established);
        CHECK(server->state() == transports::EngineState::established);
        CHECK(client->peer().names == std::vector<std::string>{"DNS:gw.example.org", "IP:192.0.2.1", "IP:::1"});
        CHECK(server->peer().matched == "DNS:site1.example.org");
        const auto left = client->peer().valid_until - transports::read_wall();
        CHECK(left > std::chrono::hours{47});
        CHECK(left <= std::chrono::hours{48});
    }
    auto timeless = client_settings;
    timeless.check_time = false;
    const auto unbounded = support::make_engine(timeless, "gw.example.org");
    const auto some = support::make_engine(server_settings, "");
    support::converse(*unbounded, *some);
    REQUIRE(unbounded->state() == transports::EngineState::established);
    CHECK(unbounded->peer().valid_until == transports::Nanoseconds::zero()); // or an expired one's channels would end
    const auto wrong = support::make_engine(client_settings, "other.example.org");
    const auto server = support::make_engine(server_settings, "");
    support::converse(*wrong, *server);
    CHECK(wrong->failure().reason == transports::CloseReason::name_mismatch);
}

TEST_CASE("keys and the directory are for their owner only, whatever the umask")
{
    const support::Folder folder;
    TrialPki request;
    request.directory = folder.path() / "pki";
    const mode_t before = ::umask(0077);
    const auto error = write_trial_pki(request);
    ::umask(before);
    REQUIRE_FALSE(error);
    CHECK(fs::status(request.directory).permissions() == fs::perms::owner_all);
    CHECK(entries(request.directory) == kNames.size());
    const auto owner = fs::perms::owner_read | fs::perms::owner_write;
    for (const std::string& name : kNames) {
        const bool key = name.ends_with(".key");
        const auto readable = fs::perms::group_read | fs::perms::others_read;
        CHECK(fs::status(request.directory / name).permissions() == (key ? owner : owner | readable));
    }
}

TEST_CASE("nothing is overwritten, and nothing written beside what is there")
{
    for (const std::string& present : kNames) {
        CAPTURE(present);
        const support::Folder folder;
        folder.write(present, "precious");
        TrialPki request;
        request.directory = folder.path();
        const auto error = write_trial_pki(request);
        REQUIRE(error);
        CHECK(error->find(present) != std::string::npos);
        CHECK(content(folder.path() / present) == "precious");
        CHECK(entries(folder.path()) == 1);
    }
    const support::Folder folder;
    fs::create_symlink(folder.path() / "elsewhere", folder.path() / "client.key");
    TrialPki request;
    request.directory = folder.path();
    CHECK(write_trial_pki(request));
    CHECK_FALSE(fs::exists(folder.path() / "elsewhere"));
}

TEST_CASE("what cannot be issued is told, and leaves nothing behind")
{
    const support::Folder folder;
    TrialPki good;
    good.directory = folder.path() / "pki";
    std::map<std::string, TrialPki> bad;
    for (const char* const what : {"names", "injection", "client", "short", "long", "directory", "file"}) {
        bad[what] = good;
    }
    bad["names"].server_names.clear();
    bad["injection"].server_names = {"a.test,DNS:b.test"};
    bad["client"].client_name = "";
    bad["short"].lifetime = std::chrono::hours{0};
    bad["long"].lifetime = std::chrono::hours::max();
    bad["directory"].directory = "";
    bad["file"].directory = folder.write("file", "not a directory") / "pki";
    for (const auto& entry : bad) {
        CAPTURE(entry.first);
        const auto error = write_trial_pki(entry.second);
        REQUIRE(error);
        CHECK_FALSE(error->empty());
        CHECK(entries(folder.path()) == 1);
    }
}

TEST_CASE("a lifetime reaches from an hour to a century")
{
    for (const auto lifetime : {std::chrono::hours{1}, std::chrono::hours{24 * 36525}}) {
        const support::Folder folder;
        TrialPki request;
        request.directory = folder.path();
        request.lifetime = lifetime;
        CHECK_FALSE(write_trial_pki(request));
    }
    const support::Folder folder;
    TrialPki request;
    request.directory = folder.path();
    request.lifetime = std::chrono::hours{24 * 36525 + 1};
    CHECK(write_trial_pki(request));
}

TEST_CASE("two calls make two authorities that do not know each other")
{
    const support::Folder folder;
    TrialPki request;
    request.directory = folder.path() / "a";
    REQUIRE_FALSE(write_trial_pki(request));
    request.directory = folder.path() / "b";
    REQUIRE_FALSE(write_trial_pki(request));
    const auto client = support::make_engine(settings_in(folder.path() / "a", transports::TlsRole::client), "::1");
    const auto server = support::make_engine(settings_in(folder.path() / "b", transports::TlsRole::server), "");
    support::converse(*client, *server);
    CHECK(client->state() == transports::EngineState::failed);
    CHECK(transports::is_certificate_reason(client->failure().reason));
}

TEST_SUITE_END();
