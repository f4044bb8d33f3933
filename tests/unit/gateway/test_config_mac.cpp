#include "gateway/check.hpp"
#include "gateway/config.hpp"

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string>

#include <doctest/doctest.h>

#include "gateway/profile.hpp"
#include "tests/unit/gateway/config_folder.hpp"

using namespace gateway;

TEST_SUITE_BEGIN("config_mac");

namespace {

class MacFolder : public ConfigFolder {
public:
    MacFolder()
    {
        REQUIRE(problem() == "");
        keys("ntp.keys", "7 SHA256 HEX:" + std::string(40, 'a') + "\n8 AES128 HEX:" + std::string(32, 'b') +
                             "\n9 SHA1 HEX:" + std::string(40, 'c') + "\n");
    }
    void keys(const std::string& name, const std::string& text, unsigned mode = 0600) const
    {
        std::filesystem::permissions(write(name, text), static_cast<std::filesystem::perms>(mode));
    }
    [[nodiscard]] Loaded client(const std::string& mac, const std::string& more = "") const
    {
        return load("tunnels:\n- {name: a, role: client, listen: 127.0.0.2:0, connect: gw, channel: mac" + more +
                    ", mac: " + mac + "}\n");
    }
    [[nodiscard]] Loaded server(const std::string& mac, const std::string& more = "") const
    {
        return load("tunnels:\n- {name: a, role: server, listen: 127.0.0.1:0, upstream: clock, channel: mac" + more +
                    ", mac: " + mac + "}\n");
    }
};

/// Whether one of the errors has `part`.
bool says(const Loaded& loaded, const std::string& part)
{
    const auto text = listing(loaded.errors);
    CAPTURE(text);
    const bool found = text.find(part) != std::string::npos;
    CHECK(found);
    return found && !loaded.config;
}

} // namespace

TEST_CASE("a client role has its key, its port and what it asks in")
{
    const MacFolder folder;
    const auto loaded = folder.client("{keys: ntp.keys, key: 7, version: 3}", ", source-port: 4711");
    INFO(listing(loaded.errors));
    REQUIRE(loaded.config);
    const auto& tunnel = loaded.config->tunnels.front();
    CHECK(tunnel.channel == ChannelKind::mac);
    CHECK(tunnel.connect.front().port == 123);
    CHECK(tunnel.source_port == 4711);
    REQUIRE(tunnel.mac);
    CHECK(tunnel.mac->version == 3);
    REQUIRE(tunnel.mac->loaded.size() == 1);
    CHECK(tunnel.mac->loaded.front().digest == "SHA256");
    CHECK(tunnel.mac->loaded.front().check_value.size() == 8);
    CHECK(tunnel.claim.starts_with("mac, under profile modern"));
}

TEST_CASE("a server role has its trusted keys, its clients and its manners")
{
    const MacFolder folder;
    const auto loaded = folder.server("{keys: ntp.keys, trusted: [7, 8], unauthenticated: serve, on-bad-mac: nak}",
                                      ", clients: [10.0.0.0/8]");
    INFO(listing(loaded.errors));
    REQUIRE(loaded.config);
    const auto& tunnel = loaded.config->tunnels.front();
    CHECK(tunnel.clients.size() == 1);
    CHECK(tunnel.mac->loaded.size() == 2);
    CHECK(tunnel.mac->rules.unauthenticated == ntp_shim::Unauthenticated::serve);
    CHECK(tunnel.mac->rules.on_bad_mac == ntp_shim::OnBadMac::nak);
    CHECK(listing(loaded.warnings).find("requests without a MAC are answered") != std::string::npos);
    CHECK(tunnel.claim == "none, under profile modern: requests without a MAC are answered");
}

TEST_CASE("what also answers requests without a MAC cannot carry a claim that a requirement demands")
{
    const MacFolder folder;
    const auto under = [&](const std::string& lists, const std::string& channel, const std::string& rule) {
        std::string profile{built_in_profiles().front().text};
        const std::string piece = "claimable: [nts, dtls, tls, ssh, mac]\n  supplementary: []";
        REQUIRE(profile.find(piece) != std::string::npos);
        profile.replace(profile.find("name: modern"), std::string{"name: modern"}.size(), "name: own");
        profile.replace(profile.find(piece), piece.size(), "requirement: FCS_NTP_EXT.1.2\n  " + lists);
        folder.write("own.yaml", profile);
        return folder.load("profile: own.yaml\ntunnels:\n- {name: a, role: server, listen: 127.0.0.1:0, upstream: "
                           "clock, " +
                           channel + "mac: {keys: ntp.keys, trusted: [7], unauthenticated: " + rule + "}}\n");
    };
    const std::string all = "claimable: [nts, dtls, tls, ssh, mac]\n  supplementary: []";
    const std::string inside = "claimable: [nts, dtls, ssh, mac]\n  supplementary: [tls]";
    const std::string tls = "channel: tls, tls: {certificate: server.pem, key: server.key, ca: ca.pem}, ";
    const std::string error = "tunnels[0].mac.unauthenticated: FCS_NTP_EXT.1.2: serve answers requests that nothing "
                              "protects";
    CHECK(says(under(all, "channel: mac, ", "serve"), error));
    CHECK(says(under(inside, tls, "serve"), error));
    for (const auto& loaded :
         {under(all, "channel: mac, ", "refuse"), under(inside, tls, "refuse"), under(all, tls, "serve")}) {
        INFO(listing(loaded.errors));
        CHECK(loaded.config);
    }
}

TEST_CASE("a mac block alone is channel mac; beside tls it is an inner seal")
{
    const MacFolder folder;
    const auto alone = folder.load("tunnels:\n- {name: a, role: client, listen: 127.0.0.2:0, connect: gw, "
                                   "mac: {keys: ntp.keys, key: 8}}\n");
    INFO(listing(alone.errors));
    REQUIRE(alone.config);
    CHECK(alone.config->tunnels.front().channel == ChannelKind::mac);
    CHECK(alone.config->tunnels.front().channel_chosen);
    const auto inner = folder.load("tunnels:\n- {name: a, role: client, listen: 127.0.0.2:0, connect: gw, "
                                   "channel: tls, tls: {ca: ca.pem}, mac: {keys: ntp.keys, key: [9, 8]}}\n");
    INFO(listing(inner.errors));
    CHECK(says(inner, "key 9 cannot be used: its digest SHA1 is not offered by the profile"));
    const auto sealed = folder.load("tunnels:\n- {name: a, role: client, listen: 127.0.0.2:0, connect: gw, "
                                    "channel: tls, tls: {ca: ca.pem}, mac: {keys: ntp.keys, key: 8}}\n");
    REQUIRE(sealed.config);
    CHECK(sealed.config->tunnels.front().claim.starts_with("tls with an inner mac, under profile modern"));
}

TEST_CASE("what is missing, of the other role or of no use is an error with its place")
{
    const MacFolder folder;
    CHECK(says(folder.client("{key: 7}"), "tunnels[0].mac.keys: is missing"));
    CHECK(says(folder.client("{keys: ntp.keys}"), "tunnels[0].mac.key: is missing"));
    CHECK(says(folder.client("{keys: ntp.keys, key: 0}"), "tunnels[0].mac.key"));
    CHECK(says(folder.client("{keys: ntp.keys, key: [7, 7]}"), "7 is listed twice"));
    CHECK(says(folder.client("{keys: ntp.keys, key: 7, version: 2}"), "tunnels[0].mac.version"));
    CHECK(says(folder.client("{keys: ntp.keys, key: 7, trusted: [7]}"), "belongs to role server"));
    CHECK(says(folder.client("{keys: ntp.keys, key: 7, format: pgp}"), "expected auto, ntp or chrony"));
    CHECK(says(folder.client("{keys: ntp.keys, key: 7, typo: 1}"), "tunnels[0].mac.typo"));
    CHECK(says(folder.client("{keys: ntp.keys, key: 7}", ", tls: {ca: ca.pem}"), "has no use under channel mac"));
    CHECK(says(folder.client("{keys: ntp.keys, key: 7}", ", framing: raw"), "raw belongs to channel tls"));
    CHECK(says(folder.client("{keys: ntp.keys, key: 7}", ", source-port: 123"), "source-port"));
    CHECK(says(folder.server("{keys: ntp.keys, key: 7}"), "belongs to role client (expected trusted:"));
    CHECK(says(folder.server("{keys: ntp.keys, trusted: [7], version: 3}"), "belongs to role client"));
    CHECK(says(folder.server("{keys: ntp.keys, trusted: [7], on-bad-mac: shout}"), "expected silence or nak"));
    CHECK(says(folder.load("tunnels:\n- {name: a, role: client, listen: 127.0.0.2:0, connect: gw, channel: mac}\n"),
               "tunnels[0].mac: is missing"));
}

TEST_CASE("every line of the key file that is wrong is reported with its number")
{
    const MacFolder folder;
    folder.keys("bad.keys", "# three\n7 SHA256 HEX:0g\n\n8 SHA256 x y z\n9 SHA256 HEX:" + std::string(40, 'a') + "\n");
    const auto loaded = folder.server("{keys: bad.keys, trusted: [9]}");
    REQUIRE_FALSE(loaded.config);
    const auto of_file = [&](std::size_t line) {
        return std::count_if(loaded.errors.begin(), loaded.errors.end(), [&](const Problem& problem) {
            return problem.file.ends_with("bad.keys") && problem.line == line;
        });
    };
    CHECK(of_file(2) == 1);
    CHECK(of_file(4) == 1);
    CHECK(loaded.errors.size() == 2);
}

TEST_CASE("a key that nobody asked for may be weak, one that is wanted may not")
{
    const MacFolder folder;
    folder.keys("some.keys",
                "1 MD5 ASCII:abcdefghijkl\n2 SHA256 HEX:0011\n7 SHA256 HEX:" + std::string(40, 'a') + "\n");
    const auto fine = folder.server("{keys: some.keys, trusted: [7]}");
    INFO(listing(fine.errors));
    REQUIRE(fine.config);
    CHECK(listing(fine.warnings).find("line 2: key 2 cannot be used: has 16 bits") != std::string::npos);
    CHECK(says(folder.server("{keys: some.keys, trusted: [2, 7]}"), "key 2 cannot be used: has 16 bits"));
    CHECK(says(folder.server("{keys: some.keys, trusted: [1, 7]}"), "its digest MD5 is not offered"));
    CHECK(says(folder.server("{keys: some.keys}"), "key 1 cannot be used"));
    CHECK(says(folder.server("{keys: some.keys, trusted: [40]}"), "has no key for this tunnel"));
}

TEST_CASE("a key file is kept like a secret")
{
    const MacFolder folder;
    const std::string line = "7 SHA256 HEX:" + std::string(40, 'a') + "\n";
    folder.keys("open.keys", line, 0644);
    CHECK(says(folder.server("{keys: open.keys, trusted: [7]}"), "can be read by others"));
    folder.keys("writable.keys", line, 0620);
    CHECK(says(folder.server("{keys: writable.keys, trusted: [7]}"), "can be written by group"));
    CHECK(says(folder.server("{keys: no.keys, trusted: [7]}"), "no such file"));
    CHECK(says(folder.server("{keys: empty, trusted: [7]}"), "is not a regular file"));
}

TEST_CASE("an address list has no meaning inside a channel")
{
    const MacFolder folder;
    folder.keys("listed.keys", "7 SHA256 " + std::string(40, 'a') + " 192.0.2.1\n");
    CHECK(folder.server("{keys: listed.keys, trusted: [7]}").config);
    CHECK(says(folder.load("tunnels:\n- {name: a, role: client, listen: 127.0.0.2:0, connect: gw, channel: tls, "
                           "tls: {ca: ca.pem}, mac: {keys: listed.keys, key: 7}}\n"),
               "says nothing about the peers of a channel"));
}

TEST_CASE("check shows ids, digests and check values, and of keys nothing more")
{
    const MacFolder folder;
    const auto loaded = folder.server("{keys: ntp.keys, trusted: [7, 8]}");
    REQUIRE(loaded.config);
    const auto value = loaded.config->tunnels.front().mac->loaded.front().check_value;
    for (const bool json : {false, true}) {
        std::ostringstream out;
        CHECK(run_check(loaded, json, out) == 0);
        CHECK(out.str().find(value) != std::string::npos);
        CHECK(out.str().find("SHA256") != std::string::npos);
        CHECK(out.str().find("aaaaaaaa") == std::string::npos);
        CHECK(out.str().find("suites") == std::string::npos); // there is no TLS
    }
}

TEST_SUITE_END();
