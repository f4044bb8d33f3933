#include <sstream>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "gateway/check.hpp"
#include "tests/unit/gateway/config_folder.hpp"

using namespace gateway;
using Json = nlohmann::json;

namespace {

const char* const kBoth = "tunnels:\n"
                          "- name: hq\n"
                          "  role: client\n"
                          "  listen: 127.0.0.2:123\n"
                          "  connect: [gw1.example.org, gw2.example.org:5]\n"
                          "  tls: {ca: ca.pem, certificate: client.pem, key: client.key}\n"
                          "- name: front\n"
                          "  role: server\n"
                          "  listen: 127.0.0.1:0\n"
                          "  upstream: {clock: {free-running: true}}\n"
                          "  channel: tls\n"
                          "  tls: {ca: ca.pem, certificate: server.pem, key: server.key}\n";

struct Printed {
    int code{};
    std::string text;
};

Printed print(const Loaded& loaded, bool json)
{
    std::ostringstream out;
    const int code = run_check(loaded, json, out);
    return {code, out.str()};
}

bool has_line(const std::string& text, const std::string& line)
{
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

} // namespace

TEST_SUITE_BEGIN("check");

TEST_CASE("a valid configuration prints its tunnels, claims and warnings")
{
    const ConfigFolder folder;
    const auto [code, printed] = print(folder.load(kBoth), false);
    const std::string& text = printed; // a binding cannot be captured by the assertion macros
    CAPTURE(text);
    CHECK(code == 0);
    CHECK(has_line(text, "tunnel hq"));
    CHECK(has_line(text, "  channel         dtls (chosen by profile modern)"));
    CHECK(has_line(text, "  mtu             1200"));
    CHECK(has_line(text, "  channel         tls"));
    CHECK(
        has_line(text, "  claim           tls, under profile modern: every authenticated channel may carry the claim"));
    CHECK(has_line(text, "  connect         gw1.example.org:4461, gw2.example.org:5"));
    CHECK(has_line(text, "  upstream        clock, stratum 10, free-running"));
    CHECK(text.find("max-age 500ms, max-round-trip 1s,") != std::string::npos);
    CHECK(text.find("warning: " + (folder.path() / "test.yaml").string() + ":12:13: tunnels[1].tls.ca: ") !=
          std::string::npos);
    CHECK(text.find(".key") == std::string::npos);
}

TEST_CASE("an invalid configuration prints every error, each with its place")
{
    const ConfigFolder folder;
    const auto loaded = folder.load("colour: blue\ntunnels: 5\n");
    const auto [code, printed] = print(loaded, false);
    const std::string& text = printed; // a binding cannot be captured by the assertion macros
    CHECK(code == 2);
    for (const auto& error : loaded.errors) {
        CHECK(has_line(text, error.text()));
    }
    CHECK(has_line(text, "not valid: 2 errors"));
}

TEST_CASE("JSON says the same of a valid configuration")
{
    const ConfigFolder folder;
    const auto [code, printed] = print(folder.load(kBoth), true);
    const std::string& text = printed; // a binding cannot be captured by the assertion macros
    CHECK(code == 0);
    const auto document = Json::parse(text);
    CHECK(document["valid"] == true);
    CHECK(document["profile"] == "modern");
    CHECK(document["errors"].empty());
    CHECK(document["warnings"].size() == 2);
    const auto& client = document["tunnels"].at(0);
    CHECK(client["name"] == "hq");
    CHECK(client["role"] == "client");
    CHECK(client["channel"] == "dtls");
    CHECK(client["mtu"] == 1200);
    CHECK(client["channel-chosen"] == true);
    CHECK(client["framing"] == "v1");
    CHECK(client["claim"] == "dtls, under profile modern: every authenticated channel may carry the claim");
    CHECK(client["listen"] == Json{"127.0.0.2:123"});
    CHECK(client["connect"] == Json{"gw1.example.org:4461", "gw2.example.org:5"});
    CHECK(client["timing"]["max-round-trip"] == "1s");
    CHECK(client["tls"]["versions"] == Json{"DTLS1.2"});
    CHECK(client["tls"]["suites"].size() == 6);
    const auto& server = document["tunnels"].at(1);
    CHECK(server["upstream"] == "clock, stratum 10, free-running");
    CHECK(server["tls"]["client-certificate"] == "required");
    CHECK(server["tls"]["suites"].size() == 9);
    CHECK_FALSE(server.contains("connect"));
    CHECK_FALSE(server.contains("mtu"));
}

TEST_CASE("JSON is one document on failure too")
{
    const ConfigFolder folder;
    const auto loaded = folder.load("tunnels: []\n");
    const auto [code, printed] = print(loaded, true);
    const std::string& text = printed; // a binding cannot be captured by the assertion macros
    CHECK(code == 2);
    const auto document = Json::parse(text);
    CHECK(document["valid"] == false);
    CHECK(document["profile"].is_null());
    CHECK(document["tunnels"].empty());
    const auto& error = document["errors"].at(0);
    CHECK(error["file"] == (folder.path() / "test.yaml").string());
    CHECK(error["line"] == 1);
    CHECK(error["column"] == 10);
    CHECK(error["key"] == "tunnels");
    CHECK(error["message"] == "is an empty list (expected at least one entry)");
}

TEST_CASE("a path that is not UTF-8 still gives a JSON document")
{
    const auto [code, printed] = print(load_config("/nonexistent/\xff.yaml"), true);
    const std::string& text = printed; // a binding cannot be captured by the assertion macros
    CHECK(code == 2);
    CHECK(Json::parse(text)["errors"].size() == 1);
}

TEST_SUITE_END();
