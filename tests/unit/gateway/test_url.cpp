#include <string>

#include <doctest/doctest.h>

#include "gateway/url.hpp"
#include "tests/unit/gateway/config_folder.hpp"

using namespace gateway;

namespace {

std::string taken_apart(std::string_view url, UrlUse use = UrlUse::target)
{
    const auto parsed = parse_url(url, use);
    if (const auto* problem = std::get_if<Problem>(&parsed)) {
        return problem->text();
    }
    const auto& parts = std::get<ParsedUrl>(parsed);
    return parts.scheme + " " + parts.user + " " + parts.host + " " + std::to_string(parts.port);
}

std::string refusal(const std::variant<std::string, Problem>& made)
{
    const auto* problem = std::get_if<Problem>(&made);
    return problem == nullptr ? "accepted" : problem->text();
}

Loaded loaded(const std::variant<std::string, Problem>& made, const ConfigFolder& folder)
{
    REQUIRE_MESSAGE(std::holds_alternative<std::string>(made), refusal(made));
    return load_config_text(std::get<std::string>(made), std::string{kCommandLine}, folder.path());
}

const UrlOptions kClientOptions = {{"listen", {"127.0.0.2:0"}}};

} // namespace

TEST_SUITE_BEGIN("url");

TEST_CASE("a URL has a scheme, a host and the scheme's port unless it names one")
{
    CHECK(taken_apart("tls://gw.example.org") == "tls  gw.example.org 4461");
    CHECK(taken_apart("dtls://gw.example.org/") == "dtls  gw.example.org 4461");
    CHECK(taken_apart("ssh://ntp@gw") == "ssh ntp gw 22");
    CHECK(taken_apart("ntp://192.0.2.1") == "ntp  192.0.2.1 123");
    CHECK(taken_apart("mac://[2001:db8::1]") == "mac  2001:db8::1 123");
    CHECK(taken_apart("nts://[2001:db8::1]:4") == "nts  2001:db8::1 4");
}

TEST_CASE("other URLs are refused, and nothing that may be a password is shown")
{
    for (const auto* url :
         {"", "gw", "tls:gw", "http://gw", "tls://", "tls://gw:0", "tls://gw:65536", "tls://::1:5", "tls://gw/path",
          "tls://gw?x", "tls://gw#x", "tls://a b", "tls://u@gw", "ssh://@gw", "TLS://gw"}) {
        CAPTURE(url);
        CHECK(taken_apart(url).starts_with("command line: URL: "));
    }
    for (const auto* url : {"ssh://u:hunter2@gw", "tls://u:hunter2@gw", "ssh://u:hunter2@@gw"}) {
        CHECK(taken_apart(url).starts_with("command line: URL: has a user part"));
        CHECK(taken_apart(url).find("hunter2") == std::string::npos);
    }
}

TEST_CASE("as a listening address a URL needs no host, and takes numbers only")
{
    CHECK(taken_apart("tls://", UrlUse::listener) == "tls  0.0.0.0 4461");
    CHECK(taken_apart("tls://*", UrlUse::listener) == "tls  0.0.0.0 4461");
    CHECK(taken_apart("tls://:0", UrlUse::listener) == "tls  0.0.0.0 0");
    CHECK(taken_apart("tls://*:5", UrlUse::listener) == "tls  0.0.0.0 5");
    CHECK(taken_apart("tls://[::]", UrlUse::listener) == "tls  :: 4461");
    CHECK(taken_apart("tls://192.0.2.1:7", UrlUse::listener) == "tls  192.0.2.1 7");
    CHECK(taken_apart("tls://gw.example.org", UrlUse::listener).starts_with("command line: URL: "));
}

TEST_CASE("a client URL becomes a client tunnel")
{
    const ConfigFolder folder;
    const auto result = loaded(client_yaml({"tls://gw.example.org",
                                            {{"listen", {"127.0.0.2", "[::1]:1123"}},
                                             {"clients", {"127.0.0.0/8"}},
                                             {"ca", {"ca.pem"}},
                                             {"certificate", {"client.pem"}},
                                             {"key", {"client.key"}},
                                             {"server-name", {"localhost"}},
                                             {"framing", {"raw"}},
                                             {"profile", {"modern"}},
                                             {"timeout", {"3s"}}}}),
                               folder);
    REQUIRE_MESSAGE(result.config, listing(result.errors));
    const auto& tunnel = result.config->tunnels.at(0);
    CHECK(tunnel.name == "client");
    CHECK(tunnel.role == Role::client);
    CHECK(tunnel.listen.at(0).text() == "127.0.0.2:123");
    CHECK(tunnel.listen.at(1).text() == "[::1]:1123");
    CHECK(tunnel.connect.at(0).text() == "gw.example.org:4461");
    CHECK(tunnel.clients.size() == 1);
    CHECK(tunnel.framing == Framing::raw);
    CHECK(tunnel.server_name == "localhost");
    CHECK(tunnel.timing.connect == milliseconds{3000});
    CHECK(tunnel.timing.handshake == milliseconds{3000});
    CHECK(tunnel.tls.ca == folder.path() / "ca.pem");
    CHECK(tunnel.tls.key == folder.path() / "client.key");
}

TEST_CASE("a server URL becomes a server tunnel")
{
    const ConfigFolder folder;
    const auto result = loaded(server_yaml({"tls://*:0",
                                            {{"upstream", {"127.0.0.1"}},
                                             {"ca", {"ca.pem"}},
                                             {"certificate", {"server.pem"}},
                                             {"key", {"server.key"}},
                                             {"allow", {"DNS:a", "DNS:b"}},
                                             {"client-certificate", {"optional"}},
                                             {"upstream-unprotected", {"true"}}}}),
                               folder);
    REQUIRE_MESSAGE(result.config, listing(result.errors));
    const auto& tunnel = result.config->tunnels.at(0);
    CHECK(tunnel.role == Role::server);
    CHECK(tunnel.listen.at(0).text() == "0.0.0.0:0");
    CHECK(std::get<DaemonUpstream>(tunnel.upstream.value()).address.text() == "127.0.0.1:123");
    CHECK(tunnel.tls.allow.size() == 2);
    CHECK(tunnel.upstream_unprotected);
}

TEST_CASE("a query needs no listening address of its own")
{
    const ConfigFolder folder;
    const auto result = loaded(query_yaml({"tls://[2001:db8::1]:5", {{"ca", {"ca.pem"}}}}), folder);
    REQUIRE_MESSAGE(result.config, listing(result.errors));
    CHECK(result.config->tunnels.at(0).connect.at(0).text() == "[2001:db8::1]:5");
    CHECK(result.warnings.empty());
}

TEST_CASE("an option's text stays text")
{
    const ConfigFolder folder;
    const std::string evil = "x\", key: \"y\n- {name: z}";
    const auto result = loaded(client_yaml({"tls://gw", {{"listen", {"127.0.0.2:0"}}, {"ca", {evil}}}}), folder);
    REQUIRE(result.errors.size() == 1);
    CHECK(result.errors[0].key == "tunnels[0].tls.ca");
    const auto flag =
        loaded(server_yaml({"tls://*:0", {{"upstream", {"clock"}}, {"upstream-unprotected", {"{a: 1}"}}}}), folder);
    CHECK(listing(flag.errors).find("tunnels[0].upstream-unprotected: '{a: 1}' is not a flag") != std::string::npos);
}

TEST_CASE("what is wrong with an option is said of the option")
{
    const auto client = [](UrlOptions more) {
        more.insert(kClientOptions.begin(), kClientOptions.end());
        return refusal(client_yaml({"tls://gw", more}));
    };
    CHECK(client({}) == "accepted");
    CHECK(client({{"colour", {"blue"}}}) == "command line: --colour: is not a known option");
    CHECK(client({{"upstream", {"clock"}}}).starts_with("command line: --upstream: belongs to role server"));
    CHECK(client({{"ca", {"a", "b"}}}).starts_with("command line: --ca: has not one value"));
    CHECK(client({{"crl", {"a", "b"}}}) == "accepted");
    CHECK(client({{"ca", {"\xff"}}}) == "command line: --ca: is not UTF-8");
    CHECK(refusal(client_yaml({"tls://gw", {}})).starts_with("command line: --listen: is missing"));
    CHECK(refusal(server_yaml({"tls://*", {}})).starts_with("command line: --upstream: is missing"));
    CHECK(refusal(server_yaml({"tls://*", {{"upstream", {"clock"}}, {"listen", {"127.0.0.2:0"}}}}))
              .starts_with("command line: --listen: belongs to role client"));
}

TEST_CASE("ssh has options of its own, and takes none of tls")
{
    auto options = kClientOptions;
    options["identity"] = {"id_ed25519"};
    options["known-hosts"] = {"known_hosts"};
    const auto client = client_yaml({"ssh://ntp@gw:2222", options});
    REQUIRE(std::holds_alternative<std::string>(client));
    const auto& text = std::get<std::string>(client);
    for (const auto* part : {"\"channel\": \"ssh\"", "\"gw:2222\"", "\"user\": \"ntp\"", "\"key\": \"id_ed25519\"",
                             "\"known-hosts\": \"known_hosts\""}) {
        CHECK_MESSAGE(text.find(part) != std::string::npos, text);
    }
    CHECK(text.find("\"tls\"") == std::string::npos);
    const auto server = server_yaml({"ssh://*:2222", {{"upstream", {"clock"}}, {"identity", {"a", "b"}}}});
    REQUIRE(std::holds_alternative<std::string>(server));
    CHECK(std::get<std::string>(server).find("\"host-keys\"") != std::string::npos);
    options["user"] = {"other"};
    CHECK(refusal(client_yaml({"ssh://ntp@gw", options})).starts_with("command line: --user: is given beside a user"));
    CHECK(refusal(client_yaml({"ssh://gw", {{"listen", {"127.0.0.2:0"}}, {"ca", {"x"}}}}))
              .starts_with("command line: --ca: has no effect under ssh://"));
    CHECK(refusal(client_yaml({"tls://gw", {{"listen", {"127.0.0.2:0"}}, {"identity", {"x"}}}}))
              .starts_with("command line: --identity: has no effect under tls://"));
    CHECK(refusal(server_yaml({"ssh://*", {{"upstream", {"clock"}}, {"known-hosts", {"x"}}}}))
              .starts_with("command line: --known-hosts: belongs to role client"));
}

TEST_CASE("a front for NTS is not made from a URL, which can not say where its keys are")
{
    CHECK(refusal(server_yaml({"nts://*", {{"upstream", {"clock"}}}})) ==
          "command line: URL: a front for NTS needs a file, which says where its keys are (expected tls://, dtls://, "
          "ssh:// or mac://, or run -c FILE with nts: {keys: ...})");
}

TEST_CASE("ntp:// makes no tunnel")
{
    CHECK(
        refusal(client_yaml({"ntp://gw", kClientOptions})).starts_with("command line: URL: ntp:// is for query only"));
}

TEST_CASE("nts://: a client needs no more than the URL")
{
    CHECK(refusal(client_yaml({"nts://gw", kClientOptions})) == "accepted");
}

TEST_CASE("mac://: the key id is a number, sealed with by the client role and trusted by the server role")
{
    const UrlOptions keys{{"mac-keys", {"ntp.keys"}}, {"mac-key", {"7", "8"}}};
    auto client_keys = kClientOptions;
    client_keys.insert(keys.begin(), keys.end());
    const auto client = std::get<std::string>(client_yaml({"mac://gw", client_keys}));
    CHECK(client.find("\"gw:123\"") != std::string::npos);
    CHECK(client.find("\"key\": [\n          7,\n          8\n        ]") != std::string::npos);
    CHECK(client.find("\"tls\"") == std::string::npos);
    auto server_keys = keys;
    server_keys.insert({"upstream", {"clock"}});
    const auto server = std::get<std::string>(server_yaml({"mac://*", server_keys}));
    CHECK(server.find("\"trusted\": [") != std::string::npos);
    CHECK(server.find("\"key\"") == std::string::npos);
    // An inner seal of another channel.
    const auto inner = std::get<std::string>(client_yaml({"tls://gw", client_keys}));
    CHECK(inner.find("\"tls\"") != std::string::npos);
    CHECK(inner.find("\"mac\"") != std::string::npos);
}

TEST_SUITE_END();
