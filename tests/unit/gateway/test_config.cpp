#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include <unistd.h>

#include <doctest/doctest.h>

#include "gateway/config.hpp"
#include "tests/unit/gateway/config_folder.hpp"

using namespace gateway;
using std::chrono::milliseconds;
namespace fs = std::filesystem;

namespace {

const fs::path kSourceRoot = NTPGATE_SOURCE_ROOT;

std::vector<fs::path> yaml_files(const fs::path& directory)
{
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator{kSourceRoot / directory}) {
        if (entry.path().extension() == ".yaml") {
            files.push_back(entry.path());
        }
    }
    std::sort(files.begin(), files.end());
    return files;
}

// What the "# expect: " lines of a file say: beginnings of the errors, in the file's order.
std::vector<std::string> expectations(const std::string& text)
{
    const std::string mark = "# expect: ";
    std::vector<std::string> expected;
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with(mark)) {
            expected.push_back(line.substr(mark.size()));
        }
    }
    return expected;
}

// The expectations can not know in which directory the test runs.
void forget_folder(std::string& message, const std::string& folder)
{
    for (auto at = message.find(folder); at != std::string::npos; at = message.find(folder)) {
        message.erase(at, folder.size());
    }
}

bool each_begins_with(const std::vector<Problem>& problems, const std::vector<std::string>& beginnings)
{
    return std::equal(
        problems.begin(), problems.end(), beginnings.begin(), beginnings.end(),
        [](const Problem& problem, const std::string& begin) { return listing({problem}).starts_with(begin); });
}

const std::string kServerTls = "tls: {ca: ca.pem, certificate: server.pem, key: server.key, allow: [\"DNS:a\"]}";

std::string server_with(const std::string& line)
{
    return "tunnels:\n"
           "- name: front\n"
           "  role: server\n"
           "  listen: 127.0.0.1:0\n"
           "  upstream: clock\n  " +
           line + "\n" + (line.starts_with("tls:") ? "" : "  " + kServerTls + "\n");
}

std::string client_with(const std::string& line)
{
    return "tunnels:\n"
           "- name: hq\n"
           "  role: client\n"
           "  listen: 127.0.0.2:0\n"
           "  connect: gw.example.org\n  " +
           line + "\n" + (line.starts_with("tls:") ? "" : "  tls: {ca: ca.pem}\n");
}

} // namespace

TEST_SUITE_BEGIN("config");

TEST_CASE("every valid file loads")
{
    const ConfigFolder folder;
    REQUIRE(folder.problem() == "");
    const auto files = yaml_files("tests/config/valid");
    REQUIRE(files.size() >= 3);
    for (const auto& file : files) {
        CAPTURE(file);
        const auto loaded = folder.load(whole_file(file));
        CHECK_MESSAGE(loaded.config.has_value(), listing(loaded.errors));
    }
}

TEST_CASE("every example loads without a warning beside the one about the number of sources")
{
    const ConfigFolder folder;
    const auto files = yaml_files("configs/examples");
    REQUIRE(files.size() >= 2);
    for (const auto& file : files) {
        CAPTURE(file);
        const auto loaded = folder.load(whole_file(file));
        CHECK_MESSAGE(loaded.config.has_value(), listing(loaded.errors));
        for (const auto& warning : loaded.warnings) {
            const bool lab = file.filename() == "lab.yaml"; // it says what it is, and what is wrong on purpose
            CHECK((warning.message.find("FCS_NTP_EXT.1.4") != std::string::npos ||
                   (lab && (warning.message.find("for laboratories") != std::string::npos ||
                            warning.message.starts_with("deliberate faults: ")))));
        }
    }
}

TEST_CASE("every invalid file gives exactly the errors that it names, in one run")
{
    const ConfigFolder folder;
    const auto files = yaml_files("tests/config/invalid");
    REQUIRE(files.size() >= 10);
    for (const auto& file : files) {
        CAPTURE(file);
        const auto text = whole_file(file);
        const auto expected = expectations(text);
        CHECK_FALSE(expected.empty());
        auto loaded = folder.load(text);
        CHECK_FALSE(loaded.config.has_value());
        for (auto& error : loaded.errors) {
            forget_folder(error.message, folder.path().string() + "/");
        }
        CHECK_MESSAGE(each_begins_with(loaded.errors, expected), "\n" << listing(loaded.errors));
    }
}

TEST_CASE("defaults are those of the design")
{
    const ConfigFolder folder;
    const auto loaded = folder.load(client_with(""));
    REQUIRE_MESSAGE(loaded.config, listing(loaded.errors));
    const auto& tunnel = loaded.config->tunnels.at(0);
    CHECK(tunnel.timing.max_age == milliseconds{500});
    CHECK(tunnel.timing.max_round_trip == milliseconds{1000});
    CHECK(tunnel.channel == ChannelKind::dtls);
    CHECK(tunnel.channel_chosen);
    CHECK(tunnel.mtu == 1200);
    CHECK(tunnel.tls.datagrams);
    CHECK(tunnel.framing == Framing::v1);
    CHECK(tunnel.tls.alpn == "ntpgate/1");
    CHECK(tunnel.tls.role == transports::TlsRole::client);
    CHECK(tunnel.tls.revocation == transports::Revocation::soft);
    CHECK(tunnel.tls.check_time);
    CHECK(tunnel.tls.policy.versions == std::vector<std::string>{"DTLS1.2"});
    CHECK(tunnel.connect.at(0).text() == "gw.example.org:4461");
    CHECK(tunnel.claim == "dtls, under profile modern: every authenticated channel may carry the claim");
    CHECK(loaded.config->profile == "modern");
}

TEST_CASE("what is written arrives in the structs")
{
    const ConfigFolder folder;
    const auto loaded = folder.load(whole_file(kSourceRoot / "tests/config/valid/every_key.yaml"));
    REQUIRE_MESSAGE(loaded.config, listing(loaded.errors));
    const auto& config = *loaded.config;
    CHECK(config.log_level == LogLevel::debug);
    CHECK(config.log_format == LogFormat::json);
    CHECK(config.audit.file == folder.path() / "audit.jsonl");
    CHECK_FALSE(config.audit.stop_when_full);
    CHECK(config.limits.requests_per_second_per_client == 20);

    const auto& client = config.tunnels.at(0);
    CHECK(client.framing == Framing::raw);
    CHECK_FALSE(client.channel_chosen);
    CHECK_FALSE(client.tls.alpn.has_value());
    CHECK_FALSE(client.tls.check_time);
    CHECK(client.listen.at(1).text() == "[::1]:1123");
    CHECK(client.clients.at(1).text() == "::1/128");
    CHECK(client.connect.at(2).text() == "[2001:db8::1]:4462");
    CHECK(client.server_name == "localhost");
    CHECK(client.timing.max_age == milliseconds{900});
    CHECK(client.timing.max_channel_age == milliseconds{1000});
    CHECK_FALSE(client.timing.correct_hold);
    CHECK(client.limits.channels == 99);
    CHECK(client.limits.half_open == 50);
    CHECK(client.forward_kod);
    CHECK(client.forward_unsynchronised);
    CHECK(client.tls.policy.suites == std::vector<std::string>{"TLS_CHACHA20_POLY1305_SHA256"});
    CHECK(client.tls.certificate == folder.path() / "client.pem");

    const auto& server = config.tunnels.at(1);
    CHECK(server.tls.role == transports::TlsRole::server);
    CHECK(server.tls.client_certificate == transports::ClientCertificate::optional);
    CHECK(server.tls.allow.size() == 4);
    CHECK(std::get<ClockUpstream>(server.upstream.value()).stratum == 2);
    CHECK(std::get<ClockUpstream>(server.upstream.value()).free_running);
}

TEST_CASE("durations are taken up to their limits and not beyond")
{
    const ConfigFolder folder;
    const auto valid = [&](const std::string& timing) {
        return folder.load(client_with("timing: {" + timing + "}")).config.has_value();
    };
    CHECK(valid("max-age: 10ms"));
    CHECK_FALSE(valid("max-age: 9ms"));
    CHECK(valid("max-age: 900ms"));
    CHECK_FALSE(valid("max-age: 901ms"));
    CHECK(valid("max-round-trip: 4s"));
    CHECK_FALSE(valid("max-round-trip: 4001ms"));
    CHECK(valid("max-round-trip: 500ms"));
    CHECK_FALSE(valid("max-round-trip: 499ms"));
    CHECK(valid("max-uncorrected: 500ms"));
    CHECK_FALSE(valid("max-uncorrected: 501ms"));
    CHECK(valid("idle: 25001ms"));
    CHECK_FALSE(valid("idle: 25s"));
    CHECK(valid("keepalive: 89999ms"));
    CHECK_FALSE(valid("keepalive: 90s"));
}

TEST_CASE("a tunnel lowers the limits of the process and never raises them")
{
    const ConfigFolder folder;
    const auto valid = [&](const std::string& process, const std::string& tunnel) {
        return folder.load("limits: {channels: " + process + "}\n" + server_with("limits: {channels: " + tunnel + "}"))
            .config.has_value();
    };
    CHECK(valid("10", "10"));
    CHECK_FALSE(valid("10", "11"));
    CHECK_FALSE(valid("10", "0")); // no limit
    CHECK(valid("0", "11"));
    CHECK(valid("0", "0"));
}

TEST_CASE("the profile chooses among what the tls block leaves possible")
{
    const ConfigFolder folder;
    const auto chosen = [&](const std::string& more) {
        const auto loaded = folder.load(client_with(more));
        REQUIRE_MESSAGE(loaded.config, listing(loaded.errors));
        CHECK(loaded.config->tunnels.at(0).channel_chosen);
        return loaded.config->tunnels.at(0).channel;
    };
    CHECK(chosen("tls: {ca: ca.pem}") == ChannelKind::dtls);
    CHECK(chosen("tls: {ca: ca.pem, versions: [DTLS1.2]}") == ChannelKind::dtls);
    CHECK(chosen("tls: {ca: ca.pem, versions: [TLS1.2]}") == ChannelKind::tls);
    CHECK(chosen("tls: {ca: ca.pem, suites: [TLS_AES_128_GCM_SHA256], versions: [TLS1.3]}") == ChannelKind::tls);
    CHECK(chosen("tls: {ca: ca.pem, suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]}") == ChannelKind::dtls);
    CHECK(chosen("tls: {ca: ca.pem}\n  framing: raw") == ChannelKind::tls);
}

TEST_CASE("a tunnel narrows its profile in its own order")
{
    const ConfigFolder folder;
    const auto loaded = folder.load(client_with("tls: {ca: ca.pem, groups: [secp384r1, x25519], versions: [TLS1.2]}"));
    REQUIRE_MESSAGE(loaded.config, listing(loaded.errors));
    const auto& policy = loaded.config->tunnels.at(0).tls.policy;
    CHECK(policy.groups == std::vector<std::string>{"secp384r1", "x25519"});
    CHECK(policy.suites.size() == 6);
    CHECK(std::all_of(policy.suites.begin(), policy.suites.end(),
                      [](const auto& suite) { return suite.find("_WITH_") != std::string::npos; }));
}

TEST_CASE("what is allowed but unwise is warned of")
{
    const ConfigFolder folder;
    const auto warnings = [&](const std::string& text) {
        const auto loaded = folder.load(text);
        CHECK_MESSAGE(loaded.config, listing(loaded.errors));
        return listing(loaded.warnings);
    };
    const auto warned = [&](const std::string& text, const std::string& of) {
        const auto all = warnings(text);
        CAPTURE(all);
        return all.find(of) != std::string::npos;
    };
    CHECK(warned(server_with("tls: {ca: ca.pem, certificate: server.pem, key: server.key}"),
                 "tunnels[0].tls.ca: every certificate of ca is admitted"));
    CHECK_FALSE(warned(server_with(""), "every certificate of ca"));
    CHECK(warned(server_with("tls: {ca: ca.pem, certificate: server.pem, key: group.key, allow: [\"DNS:a\"]}"),
                 "tunnels[0].tls.key: "));
    CHECK_FALSE(warned(server_with(""), "tunnels[0].tls.key: "));
    CHECK(warned(client_with("tls: {ca: ca.pem, certificate-time: unchecked}"), "expired certificates are accepted"));
    CHECK(warned("tunnels: [{name: a, role: client, listen: 127.0.0.1:123, connect: gw, channel: tls}]\n",
                 "recommended: 127.0.0.2:123"));
    CHECK_FALSE(warned("tunnels: [{name: a, role: client, listen: 127.0.0.2:123, connect: gw, channel: tls}]\n",
                       "recommended"));
    CHECK(warned("tunnels:\n- {name: a, role: client, listen: 127.0.0.2:123, connect: gw, channel: tls}\n"
                 "- {name: b, role: client, listen: 127.0.0.2:124, connect: gw, channel: tls}\n",
                 "shares its address with tunnel 'a'"));
    CHECK(warned(server_with("upstream-unprotected: true\n  timing: {connect: 1s}"), "has no effect in role server"));
    CHECK(warned("tunnels: [{name: a, role: server, listen: 127.0.0.1:0, upstream: 192.0.2.1:123, "
                 "upstream-unprotected: true, " +
                     kServerTls + "}]\n",
                 "192.0.2.1:123 is asked in the clear"));
}

TEST_CASE("three client tunnels with distinct peers satisfy who asks for them")
{
    const ConfigFolder folder;
    const auto tunnels = [](const std::vector<std::string>& peers) {
        std::string text = "tunnels:\n";
        for (const auto& peer : peers) {
            text += "- {name: " + peer + std::to_string(text.size()) +
                    ", role: client, listen: 127.0.0.2:0, connect: " + peer + ", channel: tls}\n";
        }
        return text;
    };
    const auto few = folder.load(tunnels({"a", "b", "b"}));
    CHECK(few.config.has_value());
    CHECK(listing(few.warnings).find("FCS_NTP_EXT.1.4") != std::string::npos);
    const auto enough = folder.load(tunnels({"a", "b", "c"}));
    CHECK(listing(enough.warnings).find("FCS_NTP_EXT.1.4") == std::string::npos);
    CHECK_FALSE(folder.load("require-sources: 3\n" + tunnels({"a", "b", "b"})).config.has_value());
    CHECK(folder.load("require-sources: 3\n" + tunnels({"a", "b", "c"})).config.has_value());
}

TEST_CASE("relative paths are relative to the file, and a file that can not be read is one error")
{
    const ConfigFolder folder;
    const auto loaded = folder.load(client_with(""));
    REQUIRE(loaded.config);
    CHECK(loaded.config->tunnels.at(0).tls.ca == folder.path() / "ca.pem");
    for (const auto& path : {folder.path() / "absent.yaml", folder.path()}) {
        const auto none = load_config(path);
        REQUIRE(none.errors.size() == 1);
        CHECK(none.errors[0].text().starts_with(path.string() + ": "));
    }
}

TEST_CASE("an unknown user is an error for root, who would have to become it, and a warning for others")
{
    const ConfigFolder folder;
    const auto loaded = folder.load("user: no.such.user\n" + client_with(""));
    const auto& problems = geteuid() == 0 ? loaded.errors : loaded.warnings;
    CHECK(listing(problems).find("1:7: user: there is no user 'no.such.user'") != std::string::npos);
    CHECK(loaded.config.has_value() == (geteuid() != 0));
}

TEST_CASE("no error shows a key that was pasted in place of its path")
{
    const ConfigFolder folder;
    const auto loaded = folder.load(client_with("tls: {certificate: client.pem, key: \"-----BEGIN PRIVATE KEY-----\\n"
                                                "c2VjcmV0\\n-----END PRIVATE KEY-----\\n\"}"));
    REQUIRE(loaded.errors.size() == 1);
    CHECK(loaded.errors[0].key == "tunnels[0].tls.key");
    CHECK(loaded.errors[0].message.find("c2VjcmV0") == std::string::npos);
}

TEST_CASE("what only OpenSSL knows is reported at the key it is about")
{
    const ConfigFolder folder;
    folder.write("torn.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    const auto torn = folder.load(client_with("tls: {ca: torn.pem}"));
    CHECK_MESSAGE(each_begins_with(torn.errors, {"6:13: tunnels[0].tls.ca: "}), listing(torn.errors));
    const auto other = folder.load(client_with("tls: {ca: ca.pem, certificate: client.pem, key: server.key}"));
    CHECK_MESSAGE(each_begins_with(other.errors, {"6:51: tunnels[0].tls.key: "}), listing(other.errors));
}

TEST_CASE("a problem prints its place, and none when it came from the command line")
{
    CHECK(Problem{"a.yaml", 3, 7, "tunnels[0].name", "is empty"}.text() == "a.yaml:3:7: tunnels[0].name: is empty");
    CHECK(Problem{"a.yaml", 0, 0, "", "no such file"}.text() == "a.yaml: no such file");
    CHECK(Problem{"command line", 3, 7, "--ca", "no such file"}.text() == "command line: --ca: no such file");
}

TEST_SUITE_END();
