#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/engine_pair.hpp"
#include "transports/tls_engine.hpp"

using namespace std::chrono_literals;
using support::Identity;
using support::ListWish;
using support::revocation_list;
using support::Scene;
using transports::CloseReason;
using transports::EngineState;
using transports::Revocation;

namespace {

/// A server whose leaf was issued by an intermediate of the scene's authority.
struct Site : Scene {
    Site() : between{support::authority_wish("between"), &authority}, leaf{support::server_wish(), &between}
    {
        show(server_settings, leaf, {&between});
    }
    Identity between;
    Identity leaf;

    /// How a client with these lists judges it; nothing = accepted.
    [[nodiscard]] std::optional<CloseReason> judge(Revocation revocation, const std::vector<std::string>& lists)
    {
        client_settings.revocation = revocation;
        client_settings.crl.clear();
        for (std::size_t i = 0; i < lists.size(); ++i) {
            client_settings.crl.push_back(folder.write(std::to_string(i) + ".crl", lists.at(i)));
        }
        const auto asker = support::make_engine(client_settings);
        const auto asked = support::make_engine(server_settings, "");
        support::converse(*asker, *asked);
        return asker->state() == EngineState::established ? std::nullopt : std::optional{asker->failure().reason};
    }
};

constexpr std::optional<CloseReason> kAccepted = std::nullopt;

} // namespace

TEST_SUITE_BEGIN("tls_revocation");

TEST_CASE("the matrix: what is listed, how fresh the lists are, and how strict the setting is")
{
    Site site;
    const std::string root_clear = revocation_list(site.authority, {});
    const std::string root_lists = revocation_list(site.authority, {.revoked = {&site.between}});
    const std::string clear = revocation_list(site.between, {});
    const std::string lists = revocation_list(site.between, {.revoked = {&site.leaf}});
    const std::string old_clear = revocation_list(site.between, {.ends = -1min});
    const std::string old_lists = revocation_list(site.between, {.revoked = {&site.leaf}, .ends = -1min});
    const std::string future_clear = revocation_list(site.between, {.starts = 1h, .ends = 2h});
    constexpr auto kRevoked = CloseReason::certificate_revoked;
    constexpr auto kIssuer = CloseReason::issuer_revoked;
    constexpr auto kUnknown = CloseReason::revocation_undetermined;
    constexpr auto kStale = CloseReason::crl_stale;
    struct Row {
        const char* what;
        std::vector<std::string> lists;
        std::optional<CloseReason> soft;
        std::optional<CloseReason> require;
    };
    const std::vector<Row> rows{
        {"no list at all", {}, kAccepted, kUnknown},
        {"both lists, nobody on them", {root_clear, clear}, kAccepted, kAccepted},
        {"leaf listed", {root_clear, lists}, kRevoked, kRevoked},
        {"intermediate listed", {root_lists, clear}, kIssuer, kIssuer},
        {"leaf's list missing", {root_clear}, kAccepted, kUnknown},
        {"intermediate's list missing", {clear}, kAccepted, kUnknown},
        {"leaf listed, the other list missing", {lists}, kRevoked, kRevoked},
        {"intermediate listed, the other list missing", {root_lists}, kIssuer, kUnknown},
        {"leaf's list expired", {root_clear, old_clear}, kAccepted, kStale},
        {"leaf's list from the future", {root_clear, future_clear}, kAccepted, kStale},
        {"leaf listed on an expired list", {root_clear, old_lists}, kRevoked, kStale},
        {"an expired list beside a fresh one", {root_clear, old_clear, lists}, kRevoked, kRevoked},
        {"a cleared list beside an expired one that lists", {root_clear, old_lists, clear}, kAccepted, kAccepted},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        CHECK(site.judge(Revocation::none, row.lists) == kAccepted);
        CHECK(site.judge(Revocation::soft, row.lists) == row.soft);
        CHECK(site.judge(Revocation::require, row.lists) == row.require);
    }
}

TEST_CASE("a list that its issuer did not sign neither revokes nor clears, unless it is old, when it may still revoke")
{
    Site site;
    const std::string root = revocation_list(site.authority, {});
    const Identity stranger{support::authority_wish("stranger"), nullptr};
    const std::string forged = revocation_list(site.between, {.revoked = {&site.leaf}, .signer = &stranger});
    CHECK(site.judge(Revocation::soft, {root, forged}) == kAccepted);
    CHECK(site.judge(Revocation::require, {root, forged}) == CloseReason::revocation_undetermined);
    const std::string old_forged =
        revocation_list(site.between, {.revoked = {&site.leaf}, .ends = -1min, .signer = &stranger});
    CHECK(site.judge(Revocation::soft, {root, old_forged}) == CloseReason::certificate_revoked);
    const std::string forged_clear = revocation_list(site.between, {.signer = &stranger});
    CHECK(site.judge(Revocation::require, {root, forged_clear}) == CloseReason::revocation_undetermined);
}

TEST_CASE("a list of an authority that may not sign lists neither revokes nor clears")
{
    Site site;
    support::Wish wish = support::authority_wish("between");
    wish.key_usage = "critical,keyCertSign";
    site.between = Identity{wish, &site.authority};
    site.leaf = Identity{support::server_wish(), &site.between};
    site.show(site.server_settings, site.leaf, {&site.between});
    const std::string root = revocation_list(site.authority, {});
    const std::string lists = revocation_list(site.between, {.revoked = {&site.leaf}});
    CHECK(site.judge(Revocation::soft, {root, lists}) == kAccepted);
    CHECK(site.judge(Revocation::require, {root, lists}) == CloseReason::revocation_undetermined);
}

TEST_CASE("the trust anchor itself is not looked up")
{
    Site site;
    const std::string root = revocation_list(site.authority, {.revoked = {&site.authority}});
    const std::string clear = revocation_list(site.between, {});
    CHECK(site.judge(Revocation::soft, {root, clear}) == kAccepted);
    CHECK(site.judge(Revocation::require, {root, clear}) == kAccepted);
}

TEST_CASE("without check_time an expired list is as good as a fresh one")
{
    Site site;
    site.client_settings.check_time = false;
    const std::string root = revocation_list(site.authority, {.ends = -1min});
    const std::string clear = revocation_list(site.between, {.ends = -1min});
    CHECK(site.judge(Revocation::require, {root, clear}) == kAccepted);
    const std::string lists = revocation_list(site.between, {.revoked = {&site.leaf}, .ends = -1min});
    CHECK(site.judge(Revocation::require, {root, lists}) == CloseReason::certificate_revoked);
}

TEST_CASE("lists come from files with several, and from directories")
{
    Site site;
    const std::string root = revocation_list(site.authority, {});
    const std::string lists = revocation_list(site.between, {.revoked = {&site.leaf}});
    CHECK(site.judge(Revocation::require, {root + lists}) == CloseReason::certificate_revoked);
    std::filesystem::create_directory(site.folder.path() / "lists");
    site.folder.write("lists/a.pem", lists);
    site.folder.write("lists/b.pem", root);
    site.folder.write("lists/README", "not a list");
    site.client_settings.crl = {site.folder.path() / "lists"};
    const auto client = support::make_engine(site.client_settings);
    const auto server = support::make_engine(site.server_settings, "");
    support::converse(*client, *server);
    CHECK(client->failure().reason == CloseReason::certificate_revoked);
}

TEST_CASE("a server looks up its clients too")
{
    Site site;
    site.server_settings.crl = {
        site.folder.write("c.crl", revocation_list(site.authority, {.revoked = {&site.client}}))};
    const auto client = support::make_engine(site.client_settings);
    const auto server = support::make_engine(site.server_settings, "");
    support::converse(*client, *server);
    CHECK(server->failure().reason == CloseReason::certificate_revoked);
    CHECK(client->failure().text == "alert certificate_revoked");
}

TEST_SUITE_END();
