#include <string>

#include <doctest/doctest.h>

#include "gateway/profile.hpp"
#include "tests/unit/gateway/config_folder.hpp"

using namespace gateway;

namespace {

std::string modern_text()
{
    const auto profiles = built_in_profiles();
    REQUIRE_FALSE(profiles.empty());
    REQUIRE(profiles.front().name == "modern");
    return std::string{profiles.front().text};
}

// The modern profile under a name that a file may have.
std::string own_text(const std::string& name = "own")
{
    auto text = modern_text();
    text.replace(text.find("name: modern"), std::string{"name: modern"}.size(), "name: " + name);
    return text;
}

// The modern profile with one piece of its text replaced.
LoadedProfile changed(const std::string& piece, const std::string& replacement)
{
    auto text = modern_text();
    const auto at = text.find(piece);
    REQUIRE(at != std::string::npos);
    text.replace(at, piece.size(), replacement);
    return load_profile_text(text, "changed.yaml");
}

bool names(const LoadedProfile& loaded, const std::string& beginning)
{
    const auto errors = listing(loaded.errors);
    CAPTURE(errors);
    return !loaded.profile && loaded.errors.size() == 1 && errors.find(beginning) != std::string::npos;
}

} // namespace

TEST_SUITE_BEGIN("profile");

TEST_CASE("every built-in profile loads under its own name")
{
    for (const auto& built_in : built_in_profiles()) {
        const auto loaded = load_profile(std::string{built_in.name}, "/nonexistent");
        REQUIRE(loaded.has_value());
        REQUIRE_MESSAGE(loaded->profile, listing(loaded->errors));
        CHECK(loaded->profile->name == built_in.name);
    }
}

TEST_CASE("the built-in text is the file")
{
    CHECK(modern_text() == whole_file(std::filesystem::path{NTPGATE_SOURCE_ROOT} / "configs/profiles/modern.yaml"));
}

TEST_CASE("modern offers AEAD with forward secrecy only, and lets every channel carry the claim")
{
    const auto loaded = load_profile("modern", "");
    REQUIRE(loaded);
    REQUIRE(loaded->profile);
    const auto& modern = *loaded->profile;
    CHECK(modern.order ==
          std::vector{ChannelKind::nts, ChannelKind::dtls, ChannelKind::tls, ChannelKind::ssh, ChannelKind::mac});
    CHECK(modern.claim.claimable.size() == 5);
    CHECK(modern.claim.forbidden.empty());
    CHECK(modern.tls.versions == std::vector<std::string>{"TLS1.3", "TLS1.2"});
    CHECK(modern.tls.groups == std::vector<std::string>{"x25519", "secp256r1", "secp384r1"});
    CHECK(modern.tls.suites.size() == 9);
    CHECK(modern.tls.suites.front() == "TLS_AES_256_GCM_SHA384");
    for (const auto& suite : modern.tls.suites) {
        CAPTURE(suite);
        CHECK((suite.find("GCM") != std::string::npos || suite.find("POLY1305") != std::string::npos));
        CHECK((suite.find("_WITH_") == std::string::npos || suite.find("ECDHE") != std::string::npos));
    }
    CHECK(modern.tls.signatures.size() == 13);
    CHECK(modern.tls.min_rsa_bits == 2048);
    CHECK_FALSE(modern.tls.wildcards);
    CHECK(modern.revocation == transports::Revocation::soft);
    CHECK(modern.group_readable_keys);
    CHECK(modern.upstream_unprotected);
}

TEST_CASE("modern keeps the lists of channels to come, and says why things are left out")
{
    const auto loaded = load_profile("modern", "");
    REQUIRE(loaded);
    REQUIRE(loaded->profile);
    const auto& modern = *loaded->profile;
    CHECK(modern.dtls.versions == std::vector<std::string>{"DTLS1.2"});
    CHECK(modern.ssh.public_keys == std::vector<std::string>{"ssh-ed25519", "rsa-sha2-512"});
    CHECK(modern.digests.front() == "SHA512");
    CHECK(modern.aeads == std::vector<std::uint16_t>{15, 17});
    CHECK(modern.left_out.size() >= 10);
    for (const auto& left_out : modern.left_out) {
        CHECK_FALSE(left_out.items.empty());
        CHECK(left_out.reason.size() > 10);
    }
}

TEST_CASE("a profile is read as strictly as a configuration")
{
    CHECK(names(changed("title:", "titel: x\ntitle:"), "titel: is not a known key"));
    CHECK(names(changed("x25519, secp256r1", "x25519, x25519"), "tls.groups[1]: 'x25519' is listed twice"));
    CHECK(names(changed("[x25519, ", "[x25518, "), "tls.groups[0]: 'x25518': "));
    CHECK(names(changed("- TLS_AES_256_GCM_SHA384", "- TLS_NONE"), "tls.suites[0]: 'TLS_NONE': "));
    CHECK(names(changed("- ed25519", "- ed25518"), "tls.signatures[3]: 'ed25518': "));
    CHECK(names(changed("[TLS1.3, TLS1.2]", "[TLS1.3, TLS1.4]"), "tls.versions: 'TLS1.4' is not among the choices"));
    CHECK(names(changed("name: modern", ""), "name: is missing"));
    CHECK(names(changed("revocation: soft", "revocation: hard"), "certificates.revocation: 'hard' is not among"));
    CHECK(
        names(changed("min-rsa-bits: 2048", "min-rsa-bits: 2047"), "certificates.min-rsa-bits: 2047 is out of range"));
    CHECK(names(changed("[MD5, SHA1]", "[MD5, SHA256]"), "left-out[15].items: 'SHA256' is offered as well"));
}

TEST_CASE("each channel stands in exactly one of the lists of the claim")
{
    CHECK(
        names(changed("claimable: [nts, ", "claimable: ["), "claim.claimable: channel nts must stand in exactly one"));
    CHECK(
        names(changed("forbidden: []", "forbidden: [nts]"), "claim.claimable: channel nts must stand in exactly one"));
}

TEST_CASE("what may be used has its lists, and what is forbidden is not chosen")
{
    CHECK(names(changed("nts:\n  aeads: [15, 17]\n", ""), "nts: is missing (expected the channel's lists"));
    CHECK(names(changed("claimable: [nts, dtls, tls, ssh, mac]\n  supplementary: []\n  forbidden: []",
                        "claimable: [dtls, tls, ssh, mac]\n  supplementary: []\n  forbidden: [nts]"),
                "order: nts is forbidden"));
    CHECK(names(changed("revocation: soft", "revocation: soft\n  revocation-choices: [require]"),
                "certificates.revocation: is not among revocation-choices"));
    CHECK(names(changed("claim:\n", "requirements: 4.1\nclaim:\n"), "requirements: '4.1' is not among the choices"));
    CHECK(names(changed("claim:\n", "demands: {tsl: x}\nclaim:\n"), "demands.tsl: is not a known key"));
    CHECK(names(changed("duties:\n", "duties:\n  laboratory: true\n"), "duties.laboratory: is not a known key"));
    CHECK(names(changed("ssh:\n", "ssh:\n  rekey-time: 2h\n"), "ssh.rekey-time: "));
    CHECK(names(changed("ssh:\n", "ssh:\n  rekey-bytes: 1073741825\n"), "ssh.rekey-bytes: "));
    const std::string macs = "macs: [hmac-sha2-512-etm@openssh.com, hmac-sha2-256-etm@openssh.com]";
    CHECK(names(changed("aes128-gcm@openssh.com, chacha20-poly1305@openssh.com]\n  " + macs,
                        "aes128-gcm@openssh.com, aes192-cbc]\n  macs: []"),
                "ssh.macs: is empty, but aes192-cbc needs a MAC"));
    CHECK_FALSE(names(changed(macs, "macs: []"), "ssh.macs: "));
}

TEST_CASE("a path names a file in place of a built-in profile, and a word without one is unknown")
{
    const ConfigFolder folder;
    folder.write("own.yaml", own_text());
    const auto by_slash = load_profile("./own.yaml", folder.path());
    REQUIRE(by_slash);
    CHECK(by_slash->profile.has_value());
    const auto by_suffix = load_profile("own.yaml", folder.path());
    REQUIRE(by_suffix);
    CHECK(by_suffix->profile.has_value());
    const auto missing = load_profile("./other.yaml", folder.path());
    REQUIRE(missing);
    CHECK_FALSE(missing->profile.has_value());
    CHECK(missing->errors.size() == 1);
    CHECK_FALSE(load_profile("own", folder.path()).has_value());
}

TEST_CASE("a file has a name of its own: what is not served is not claimed")
{
    const ConfigFolder folder;
    for (const std::string name : {"modern", "ndcpp-4.0", "NDcPP-4.0", "lab"}) {
        folder.write("own.yaml", own_text(name));
        const auto loaded = folder.load("profile: own.yaml\ntunnels:\n- {name: a, role: server, listen: 127.0.0.1:0, "
                                        "upstream: clock, channel: tls, tls: {certificate: server.pem, key: "
                                        "server.key, ca: ca.pem}}\n");
        CAPTURE(listing(loaded.errors));
        CHECK_FALSE(loaded.config);
        REQUIRE(loaded.errors.size() == 2);
        CHECK(loaded.errors[0].message == "the profile 'own.yaml' can not be used");
        CHECK(loaded.errors[1].file == (folder.path() / "own.yaml").string());
        CHECK(loaded.errors[1].line == 3);
        CHECK(loaded.errors[1].column == 7);
        CHECK(loaded.errors[1].key == "name");
        CHECK(loaded.errors[1].message == "'" + name +
                                              "' is the name of a built-in profile, and this is a file (expected a "
                                              "name of its own, or profile: NAME for the built-in one)");
    }
    for (const std::string name : {"\"ndcpp-4.0 \"", "\"ndcpp-4.0, evaluated\"", "\"ndcpp\\u20104.0\""}) {
        folder.write("own.yaml", own_text(name));
        const auto loaded = load_profile("own.yaml", folder.path());
        REQUIRE(loaded);
        CAPTURE(listing(loaded->errors));
        CHECK(names(*loaded, "name: "));
        CHECK(names(*loaded, "(expected letters, digits, '.', '-' and '_')"));
    }
}

TEST_CASE("a tunnel obeys the profile of its file")
{
    const ConfigFolder folder;
    const auto with_profile = [&](const std::string& piece, const std::string& replacement, const std::string& tls,
                                  const std::string& channel = "channel: tls, ") {
        auto text = own_text();
        text.replace(text.find(piece), piece.size(), replacement);
        folder.write("own.yaml", text);
        return listing(
            folder
                .load("profile: own.yaml\ntunnels:\n- {name: a, role: server, listen: 127.0.0.1:0, upstream: "
                      "clock, " +
                      channel + "tls: {" + tls + "}}\n")
                .errors);
    };
    const std::string own = "certificate: server.pem, key: server.key, ca: ca.pem";
    CHECK(with_profile("name: own", "name: own-2", own) == "");
    CHECK(with_profile("[strict, bootstrap, unchecked]", "[strict]", own + ", certificate-time: unchecked")
              .find("tls.certificate-time: unchecked is not allowed by profile own") != std::string::npos);
    CHECK(with_profile("[required, optional, none]", "[required]", own + ", client-certificate: optional")
              .find("tls.client-certificate: optional is not allowed by profile own") != std::string::npos);
    CHECK(with_profile("group-readable-keys: true", "group-readable-keys: false",
                       "certificate: server.pem, key: group.key, ca: ca.pem")
              .find("can be read by its group, which profile own refuses") != std::string::npos);
    CHECK(with_profile("claimable: [nts, dtls, tls, ssh, mac]\n  supplementary: []",
                       "requirement: FCS_NTP_EXT.1.2\n  claimable: [nts, dtls, ssh, mac]\n  supplementary: [tls]", own)
              .find("FCS_NTP_EXT.1.2: channel tls cannot carry the claim under own; use nts, dtls, ssh or mac, or "
                    "add a mac: block") != std::string::npos);
    CHECK(with_profile("order: [nts, dtls, tls,", "order: [nts,", own, "")
              .find("profile own chooses among nts, ssh or mac, and the block tls: is good for none of them") !=
          std::string::npos);
}

TEST_SUITE_END();
