#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

#include "gateway/claim_rules.hpp"
#include "tests/unit/gateway/config_folder.hpp"

using namespace gateway;

namespace {

constexpr auto kTls = ChannelKind::tls;
constexpr auto kDtls = ChannelKind::dtls;
constexpr auto kSsh = ChannelKind::ssh;
constexpr auto kMac = ChannelKind::mac;
constexpr auto kNts = ChannelKind::nts;

Profile profile_named(const std::string& name)
{
    auto loaded = load_profile(name, "");
    REQUIRE(loaded.has_value());
    REQUIRE_MESSAGE(loaded->profile.has_value(), listing(loaded->errors));
    return std::move(*loaded->profile);
}

const std::vector<std::string> kAfterTd0321 = {"ndcpp-2.1", "ndcpp-2.2e", "ndcpp-3.0e", "ndcpp-4.0", "ndcpp-4.0-cnsa1"};
const std::vector<std::string> kFree = {"modern", "compat", "lab"};

/// A tunnel's shape, and what carries the claim by each family of profiles; nothing = refused.
struct Row {
    ChannelKind channel;
    bool inner_mac;
    std::optional<ChannelKind> free;
    std::optional<ChannelKind> td0321;
    std::optional<ChannelKind> later;
};
const std::vector<Row> kRows = {
    {kTls, false, kTls, kTls, std::nullopt},
    {kTls, true, kTls, kTls, kMac},
    {kDtls, false, kDtls, kDtls, kDtls},
    {kDtls, true, kDtls, kDtls, kDtls},
    {kSsh, false, kSsh, kSsh, std::nullopt},
    {kSsh, true, kSsh, kSsh, kMac},
    {kMac, false, kMac, std::nullopt, kMac},
    {kNts, false, kNts, std::nullopt, std::nullopt},
    {kNts, true, std::nullopt, std::nullopt, std::nullopt},
};

// The verdict's text, after a check of what carries the claim.
std::string judged(const Profile& profile, const Row& row, std::optional<ChannelKind> expected)
{
    CAPTURE(profile.name);
    CAPTURE(name(row.channel));
    CAPTURE(row.inner_mac);
    const auto verdict = judge_claim(profile, {row.channel, row.inner_mac, false});
    const auto* claim = std::get_if<Claim>(&verdict);
    CHECK((claim != nullptr) == expected.has_value());
    if (claim == nullptr) {
        return std::get<std::string>(verdict);
    }
    CHECK(claim->carried_by == expected);
    CHECK(claim->text.find("under profile " + profile.name) != std::string::npos);
    return claim->text;
}

struct Choice {
    Blocks blocks; // tls_fits, dtls_fits, ssh, mac, nts
    std::optional<ChannelKind> chosen;
};
void check_choices(const std::string& name, const std::vector<Choice>& choices)
{
    const auto profile = profile_named(name);
    for (const auto& choice : choices) {
        CAPTURE(name);
        CAPTURE(&choice - choices.data());
        CHECK(choose_channel(profile, choice.blocks) == choice.chosen);
    }
}

} // namespace

TEST_SUITE("claim_rules")
{
    TEST_CASE("every profile judges every channel with every inner seal as its requirement says")
    {
        for (const auto& row : kRows) {
            for (const auto& name : kFree) {
                (void)judged(profile_named(name), row, row.free);
            }
            const auto text = judged(profile_named("ndcpp-2.0e-td0321"), row, row.td0321);
            CHECK((text.find("FTP_ITC.1 (TD0321)") != std::string::npos || (row.channel == kNts && row.inner_mac)));
            for (const auto& name : kAfterTd0321) {
                const auto later = judged(profile_named(name), row, row.later);
                CHECK((later.find("FCS_NTP_EXT.1.2") != std::string::npos || (row.channel == kNts && row.inner_mac)));
            }
        }
    }

    TEST_CASE("a refusal names the requirement and what would do")
    {
        const auto refusal = [](const char* name, const Protection& protection) {
            return std::get<std::string>(judge_claim(profile_named(name), protection));
        };
        CHECK(refusal("ndcpp-4.0", {kTls}) ==
              "FCS_NTP_EXT.1.2: channel tls cannot carry the claim under ndcpp-4.0; use "
              "dtls or mac, or add a mac: block");
        CHECK(refusal("ndcpp-2.2e", {kNts}) ==
              "FCS_NTP_EXT.1.2: channel nts is refused under ndcpp-2.2e; use dtls or mac");
        CHECK(refusal("ndcpp-2.0e-td0321", {kMac}) == "FTP_ITC.1 (TD0321): channel mac cannot carry the claim under "
                                                      "ndcpp-2.0e-td0321; use tls, dtls or ssh");
        CHECK(refusal("modern", {kNts, true}).find("a mac: block can not be inside of it") != std::string::npos);
    }

    TEST_CASE("fips: required refuses nts under every profile, and nothing else")
    {
        for (const auto& built_in : built_in_profiles()) {
            const auto profile = profile_named(std::string{built_in.name});
            for (const auto channel : {kTls, kDtls, kSsh, kMac}) {
                CHECK(judge_claim(profile, {channel, false, true}).index() ==
                      judge_claim(profile, {channel, false, false}).index());
            }
            const auto verdict = judge_claim(profile, {kNts, false, true});
            REQUIRE(std::holds_alternative<std::string>(verdict));
            CHECK(std::get<std::string>(verdict).starts_with("fips: required refuses channel nts"));
        }
    }

    TEST_CASE("the blocks of a tunnel and the profile's order decide where channel is not written")
    {
        const Blocks tls{true, true, false, false, false};
        const Blocks tls_only{true, false, false, false, false};
        const Blocks ssh{false, false, true, false, false};
        const Blocks mac{false, false, false, true, false};
        const Blocks nts{false, false, false, false, true};
        const Blocks nts_with_tls{true, true, false, false, true};
        const Blocks tls_and_mac{true, true, false, true, false};
        const Blocks ssh_and_mac{false, false, true, true, false};
        for (const auto* name : {"modern", "lab"}) {
            check_choices(name, {{tls, kDtls},
                                 {tls_only, kTls},
                                 {ssh, kSsh},
                                 {mac, kMac},
                                 {nts, kNts},
                                 {nts_with_tls, kNts},
                                 {tls_and_mac, kDtls},
                                 {ssh_and_mac, kSsh},
                                 {{}, std::nullopt}});
        }
        check_choices("compat", {{tls, kTls},
                                 {tls_only, kTls},
                                 {ssh, std::nullopt},
                                 {mac, kMac},
                                 {nts, std::nullopt},
                                 {tls_and_mac, kTls},
                                 {{}, std::nullopt}});
        check_choices("ndcpp-2.0e-td0321", {{tls, kTls},
                                            {ssh, kSsh},
                                            {mac, std::nullopt},
                                            {nts, std::nullopt},
                                            {nts_with_tls, kTls},
                                            {tls_and_mac, kTls}});
        for (const auto& name : kAfterTd0321) {
            check_choices(name, {{tls, kDtls},
                                 {tls_only, std::nullopt},
                                 {ssh, std::nullopt},
                                 {mac, kMac},
                                 {nts, std::nullopt},
                                 {tls_and_mac, kDtls},
                                 {ssh_and_mac, std::nullopt}});
        }
    }

    TEST_CASE("a configuration under a CC profile gets the channel that may carry the claim, or an error with its name")
    {
        const ConfigFolder folder;
        const auto load = [&](const std::string& profile, const std::string& keys) {
            return folder.load("profile: " + profile +
                               "\ntunnels:\n- {name: a, role: client, listen: 127.0.0.2:0, connect: gw.test:1, " +
                               keys + "}\n");
        };
        const std::string tls = "tls: {ca: ca.pem, revocation: soft}";
        for (const auto& name : kAfterTd0321) {
            CAPTURE(name);
            const auto chosen = load(name, tls);
            REQUIRE_MESSAGE(chosen.config.has_value(), listing(chosen.errors));
            CHECK(chosen.config->tunnels.at(0).channel == kDtls);
            CHECK(chosen.config->tunnels.at(0).channel_chosen);
            CHECK(chosen.config->tunnels.at(0).claim.starts_with("dtls, under profile " + name + ", FCS_NTP_EXT.1.2"));
            CHECK(listing(load(name, "channel: tls, " + tls).errors)
                      .find("FCS_NTP_EXT.1.2: channel tls cannot carry the claim under " + name) != std::string::npos);
            for (const auto* more : {", framing: raw", ""}) {
                CHECK_FALSE(load(name, "channel: tls, " + tls + more).config.has_value());
            }
        }
        const auto td0321 = load("ndcpp-2.0e-td0321", tls);
        REQUIRE_MESSAGE(td0321.config.has_value(), listing(td0321.errors));
        CHECK(td0321.config->tunnels.at(0).channel == kTls);
        CHECK(td0321.config->requirements == Requirements::v2_2e);
        CHECK_FALSE(td0321.config->lab);
        const auto lab = load("lab", tls);
        REQUIRE(lab.config.has_value());
        CHECK(lab.config->lab);
        CHECK(listing(lab.warnings).find("never use it where time matters") != std::string::npos);
    }

    TEST_CASE("what a tunnel would widen is refused under the requirement's name")
    {
        const ConfigFolder folder;
        const auto errors = [&](const std::string& keys) {
            return listing(folder
                               .load("profile: ndcpp-3.0e\ntunnels:\n- {name: a, role: server, listen: 127.0.0.1:0, "
                                     "channel: dtls, " +
                                     keys + "}\n")
                               .errors);
        };
        const auto tls = [&](const std::string& more) {
            return errors("upstream: clock, tls: {certificate: server.pem, key: server.key, ca: ca.pem, " + more + "}");
        };
        CHECK(tls("revocation: soft") == "");
        CHECK(tls("revocation: none").find("FIA_X509_EXT.1/Rev: none is not allowed by profile ndcpp-3.0e") !=
              std::string::npos);
        CHECK(
            tls("revocation: soft, certificate-time: unchecked").find("FIA_X509_EXT.1/Rev: unchecked is not allowed") !=
            std::string::npos);
        CHECK(tls("revocation: soft, client-certificate: none").find("FCS_TLSS_EXT.2: none is not allowed") !=
              std::string::npos);
        CHECK(tls("revocation: soft, groups: [x25519]")
                  .find("FCS_DTLSC_EXT.1/FCS_DTLSS_EXT.1: 'x25519' is not offered "
                        "by profile ndcpp-3.0e, which a tunnel may only narrow") != std::string::npos);
        CHECK(tls("crl: [empty]").find("require has nothing") ==
              std::string::npos); // the profile's own choice: require
        CHECK(tls("ocsp: none").find("require has nothing to look in") != std::string::npos);
        CHECK(errors("upstream: 192.0.2.1:123, upstream-unprotected: true, tls: {certificate: server.pem, key: "
                     "group.key, ca: ca.pem, revocation: soft}")
                  .find("FPT_SKP_EXT.1: '" + (folder.path() / "group.key").string() + "' can be read by its group") !=
              std::string::npos);
        CHECK(errors("upstream: 192.0.2.1:123, upstream-unprotected: true, tls: {certificate: server.pem, key: "
                     "server.key, ca: ca.pem, revocation: soft}")
                  .find("FTP_ITC.1: is not allowed by profile ndcpp-3.0e") != std::string::npos);
    }
}
