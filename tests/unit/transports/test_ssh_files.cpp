#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "transports/address.hpp"
#include "transports/ssh_authorized_keys.hpp"
#include "transports/ssh_known_hosts.hpp"
#include "transports/tls_digest.hpp"

using namespace transports;

namespace {

const std::string kEd = "AAAAC3NzaC1lZDI1NTE5AAAAICVa1lU3Fv2amPnTsTYubObOcT+m6p5VMAcGt85RG0tk";
const std::string kOther = "AAAAC3NzaC1lZDI1NTE5AAAAICVa1lU3Fv2amPnTsTYubObOcT+m6p5VMAcGt85RG0tl";
// RFC 5656: type, curve, a point of 65 octets that begins with 4
const std::string kEcdsa = "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBAAAAAAAAAAAAAAAAA"
                           "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

SshPublicKey key(const std::string& base64 = kEd, const std::string& type = "ssh-ed25519")
{
    auto read = read_ssh_key(type, base64);
    REQUIRE(std::holds_alternative<SshPublicKey>(read));
    return std::get<SshPublicKey>(read);
}

std::array<std::byte, 20> hash(std::string_view salt, std::string_view text)
{
    return hmac_sha1(salt, text);
}

KnownHosts hosts(const std::string& text)
{
    auto parsed = KnownHosts::parse(text);
    REQUIRE(std::holds_alternative<KnownHosts>(parsed));
    return std::get<KnownHosts>(std::move(parsed));
}

HostKeyVerdict judge(const std::string& text, const SshHost& host, const SshPublicKey& shown = key())
{
    return hosts(text).judge(host, shown, &hash);
}

std::string host_fault(const std::string& text)
{
    auto parsed = KnownHosts::parse(text);
    auto* problems = std::get_if<std::vector<SshLineProblem>>(&parsed);
    return problems == nullptr
               ? ""
               : std::to_string(problems->front().line) + ":" + std::to_string(problems->front().column);
}

AuthorizedKeys users(const std::string& text)
{
    auto parsed = AuthorizedKeys::parse(text);
    if (auto* problems = std::get_if<std::vector<SshLineProblem>>(&parsed)) {
        FAIL(problems->front().text);
    }
    return std::get<AuthorizedKeys>(std::move(parsed));
}

std::string user_fault(const std::string& text)
{
    auto parsed = AuthorizedKeys::parse(text);
    auto* problems = std::get_if<std::vector<SshLineProblem>>(&parsed);
    return problems == nullptr ? "" : problems->front().text;
}

MappedAddress address(const std::string& text)
{
    const auto read = numeric_address(text, 0);
    REQUIRE(read);
    return mapped(*read);
}

UserKeyVerdict admit(const std::string& options, const std::string& from, Nanoseconds now = std::chrono::hours{1})
{
    const auto file = users(options + " ssh-ed25519 " + kEd + " somebody\n");
    return file.judge(key(), {address(from), now}).verdict;
}

const SshHost kHost{"gw.example.org", 22};
const SshHost kElsewhere{"gw.example.org", 2222};

} // namespace

TEST_SUITE_BEGIN("ssh_files");

TEST_CASE("a host is known by its name, its port, and its key")
{
    const std::string line = "ssh-ed25519 " + kEd + "\n";
    CHECK(judge("gw.example.org " + line, kHost) == HostKeyVerdict::known);
    CHECK(judge("GW.Example.org " + line, {"gw.EXAMPLE.org", 22}) == HostKeyVerdict::known);
    CHECK(judge("a,*.example.org,b " + line + "# comment\n\n", kHost) == HostKeyVerdict::known);
    CHECK(judge("gw.example.org " + line, kElsewhere) == HostKeyVerdict::unknown);
    CHECK(judge("[gw.example.org]:2222 " + line, kElsewhere) == HostKeyVerdict::known);
    CHECK(judge("[gw.example.org]:2222 " + line, kHost) == HostKeyVerdict::unknown);
    CHECK(judge("[*.example.org]:* " + line, kElsewhere) == HostKeyVerdict::known);
    CHECK(judge("!gw.example.org,* " + line, kHost) == HostKeyVerdict::unknown);
    CHECK(judge("", kHost) == HostKeyVerdict::unknown);
    CHECK(judge("gw.example.orgx,gw?example " + line, kHost) == HostKeyVerdict::unknown);
}

TEST_CASE("another key of the host, of whatever type, is a changed one; several may be right")
{
    const std::string name = "gw.example.org ";
    CHECK(judge(name + "ssh-ed25519 " + kOther, kHost) == HostKeyVerdict::changed);
    CHECK(judge(name + "ecdsa-sha2-nistp256 " + kEcdsa, kHost) == HostKeyVerdict::changed);
    CHECK(judge(name + "ssh-ed25519 " + kOther + "\n" + name + "ssh-ed25519 " + kEd, kHost) == HostKeyVerdict::known);
    const auto both = hosts(name + "ecdsa-sha2-nistp256 " + kEcdsa + "\n" + name + "ssh-ed25519 " + kEd);
    CHECK(both.key_types(kHost, &hash) == std::vector<std::string>{"ecdsa-sha2-nistp256", "ssh-ed25519"});
    CHECK(both.key_types(kElsewhere, &hash).empty());
}

TEST_CASE("a revoked key is revoked wherever the line stands, and an authority vouches for no plain key")
{
    const std::string known = "gw.example.org ssh-ed25519 " + kEd + "\n";
    const std::string revoked = "@revoked * ssh-ed25519 " + kEd + "\n";
    CHECK(judge(known + revoked, kHost) == HostKeyVerdict::revoked);
    CHECK(judge(revoked + known, kHost) == HostKeyVerdict::revoked);
    CHECK(judge(known + "@revoked other ssh-ed25519 " + kEd + "\n", kHost) == HostKeyVerdict::known);
    CHECK(judge(known + "@revoked * ssh-ed25519 " + kOther + "\n", kHost) == HostKeyVerdict::known);
    const std::string authority = "@cert-authority * ssh-ed25519 " + kEd + "\n";
    CHECK(judge(authority, kHost) == HostKeyVerdict::unknown);
    CHECK(hosts(authority).names_authority(kHost, &hash));
    CHECK_FALSE(hosts(known).names_authority(kHost, &hash));
}

TEST_CASE("a hashed name is found, and only by its own name")
{
    // ssh-keygen -H over "gw.example.org" and "[gw.example.org]:2222", salts of twenty octets
    std::string salt(20, 'S');
    const auto line = [&](const std::string& name) {
        const auto digest = hash(salt, name);
        const auto base64 = [](std::string_view octets) {
            static constexpr std::string_view kAlphabet =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            std::string out;
            for (std::size_t i = 0; i < octets.size(); i += 3) {
                unsigned group = 0;
                for (std::size_t at = i; at < i + 3; ++at) {
                    group = group << 8U | (at < octets.size() ? static_cast<unsigned char>(octets[at]) : 0U);
                }
                for (unsigned at = 0; at < 4; ++at) {
                    out += i + at > octets.size() ? '=' : kAlphabet[group >> (18U - 6U * at) & 63U];
                }
            }
            return out;
        };
        const std::string octets{reinterpret_cast<const char*>(digest.data()), digest.size()};
        return "|1|" + base64(salt) + "|" + base64(octets) + " ssh-ed25519 " + kEd + "\n";
    };
    CHECK(judge(line("gw.example.org"), kHost) == HostKeyVerdict::known);
    CHECK(judge(line("gw.example.org"), kElsewhere) == HostKeyVerdict::unknown);
    CHECK(judge(line("[gw.example.org]:2222"), kElsewhere) == HostKeyVerdict::known);
    // RFC 2202, test case 2
    const auto digest = hmac_sha1("Jefe", "what do ya want for nothing?");
    CHECK(std::to_integer<int>(digest[0]) == 0xef);
    CHECK(std::to_integer<int>(digest[19]) == 0x79);
}

TEST_CASE("lines of known_hosts that can not be read are errors; keys of other programs are passed over")
{
    CHECK(host_fault("host ssh-ed25519 " + kEd) == "");
    CHECK(host_fault("\nhost ssh-ed25519 AAAA") == "2:18");
    CHECK(host_fault("host ssh-ed25519") == "1:1");
    CHECK(host_fault("host ssh-rsa " + kEd) == "1:14");
    CHECK(host_fault("@revokd * ssh-ed25519 " + kEd) == "1:1");
    CHECK(host_fault("|1|x ssh-ed25519 " + kEd) == "1:1");
    CHECK(host_fault("|2|AAAA|AAAA ssh-ed25519 " + kEd) == "1:1");
    CHECK(host_fault("| ssh-ed25519 " + kEd) == "1:1");
    CHECK(host_fault("host ssh-dss AAAAB3NzaC1kc3MAAACB\nhost sk-ssh-ed25519@openssh.com AAAA") == "");
    CHECK(host_fault(std::string("host ssh-ed25519 \0", 18) + kEd) == "1:1");
    CHECK(host_fault(std::string(kMaxSshLine + 1, 'x')) == "1:1");
    CHECK(host_fault(std::string(kMaxSshLines, '\n')) == "");
    CHECK(host_fault(std::string(kMaxSshLines + 1, '\n')) == std::to_string(kMaxSshLines + 1) + ":1");
}

TEST_CASE("keys are what their type says, to the octet")
{
    const auto fault = [](const std::string& type, const std::string& base64) {
        auto read = read_ssh_key(type, base64);
        const auto* why = std::get_if<std::string>(&read);
        return why == nullptr ? "" : *why;
    };
    CHECK(key().bits == 256);
    CHECK(key(kEcdsa, "ecdsa-sha2-nistp256").bits == 256);
    CHECK(fault("ssh-ed25519", kEd.substr(0, kEd.size() - 4)) == "is no Ed25519 key");
    CHECK(fault("ssh-ed25519", kEd + "AAAA") == "is no Ed25519 key");
    CHECK(fault("ecdsa-sha2-nistp384", kEcdsa) == "is of another type than the word before it says");
    CHECK(fault("ssh-ed25519", kEd + "=") == "is not base64");
    CHECK(fault("ssh-ed25519", "AAA") == "is not base64");
    CHECK(fault("ssh-ed25519", "AA==AAAA") == "is not base64");
    CHECK(fault("ssh-ed25519", "AAAAC3N*") == "is not base64");
    CHECK(decode_base64("QQ==") == "A");
    CHECK_FALSE(decode_base64("QR==")); // hidden bits
    CHECK(fault("ssh-dss", "AAAAB3NzaC1kc3M=") == "is of a type that is not known here");
}

TEST_CASE("who is in the file is admitted, with its comment, and nobody else")
{
    const auto file = users("# staff\n\nrestrict ssh-ed25519 " + kEd + " site one\r\n");
    const auto found = file.judge(key(), {address("192.0.2.1"), {}});
    REQUIRE(found.verdict == UserKeyVerdict::admitted);
    CHECK(found.key->comment == "site one");
    CHECK(file.judge(key(kOther), {address("192.0.2.1"), {}}).verdict == UserKeyVerdict::unknown);
    CHECK(users("").judge(key(), {}).verdict == UserKeyVerdict::unknown);
}

TEST_CASE("from= is honoured: addresses, blocks, patterns, exceptions")
{
    CHECK(admit("from=\"192.0.2.1\"", "192.0.2.1") == UserKeyVerdict::admitted);
    CHECK(admit("from=\"192.0.2.1\"", "192.0.2.2") == UserKeyVerdict::wrong_address);
    CHECK(admit("from=\"192.0.2.0/24,!192.0.2.7\"", "192.0.2.8") == UserKeyVerdict::admitted);
    CHECK(admit("from=\"192.0.2.0/24,!192.0.2.7\"", "192.0.2.7") == UserKeyVerdict::wrong_address);
    CHECK(admit("from=\"!192.0.2.7\"", "192.0.2.8") == UserKeyVerdict::wrong_address);
    CHECK(admit("from=\"192.0.2.*\"", "192.0.2.200") == UserKeyVerdict::admitted);
    CHECK(admit("from=\"192.0.?.1\"", "192.0.22.1") == UserKeyVerdict::wrong_address);
    CHECK(admit("from=\"2001:db8::/33\"", "2001:db8:7fff::1") == UserKeyVerdict::admitted);
    CHECK(admit("from=\"2001:db8::/33\"", "2001:db8:8000::1") == UserKeyVerdict::wrong_address);
    CHECK(admit("from=\"0.0.0.0/0\"", "2001:db8::1") == UserKeyVerdict::wrong_address);
    CHECK(admit("no-pty,from=\"10.0.0.0/8\",no-X11-forwarding", "10.1.2.3") == UserKeyVerdict::admitted);
}

TEST_CASE("a key that stands twice is admitted by either line")
{
    const auto file = users("from=\"10.0.0.0/8\" ssh-ed25519 " + kEd + " inside\nfrom=\"192.0.2.1\" ssh-ed25519 " +
                            kEd + " outside\n");
    CHECK(file.judge(key(), {address("192.0.2.1"), {}}).key->comment == "outside");
    CHECK(file.judge(key(), {address("10.0.0.1"), {}}).key->comment == "inside");
    CHECK(file.judge(key(), {address("192.0.2.2"), {}}).verdict == UserKeyVerdict::wrong_address);
}

TEST_CASE("expiry-time is honoured, in UTC only")
{
    CHECK(parse_expiry("19700101Z") == Nanoseconds{0});
    CHECK(parse_expiry("197001020102Z") == std::chrono::hours{25} + std::chrono::minutes{2});
    CHECK(parse_expiry("19700101000003Z") == std::chrono::seconds{3});
    for (const char* const wrong : {"20260101", "2026010Z", "20261301Z", "20260230Z", "202601012400Z", "20260101006Z",
                                    "19691231Z", "22620101Z", "2026o101Z", "Z", ""}) {
        CHECK_MESSAGE(!parse_expiry(wrong), wrong);
    }
    using std::chrono::hours;
    CHECK(admit("expiry-time=\"19700102Z\"", "::1", hours{24} - Nanoseconds{1}) == UserKeyVerdict::admitted);
    CHECK(admit("expiry-time=\"19700102Z\"", "::1", hours{24}) == UserKeyVerdict::expired);
}

TEST_CASE("an option that can not be honoured is an error that says why")
{
    const std::string tail = " ssh-ed25519 " + kEd + "\n";
    const auto says = [&](const std::string& options, const char* part) {
        const auto text = user_fault(options + tail);
        CHECK_MESSAGE(text.find(part) != std::string::npos, text);
    };
    says("command=\"/bin/true\"", "names a command: this server runs none");
    says("cert-authority", "user certificates are not in this version");
    says("environment=\"A=b\"", "no environment");
    says("restrict,pty", "no");
    says("from=\"host.example.org\"", "names are not looked up");
    says("from=\"10.0.0.0/33\"", "can not be honoured");
    says("from=\"\"", "can not be honoured");
    says("from", "can not be honoured");
    says("from=10.0.0.0/8", "without a quoted value");
    says("from=\"10.0.0.0/8", "without a quoted value");
    says("from=\"::1\",from=\"::1\"", "twice");
    says("expiry-time=\"20300101\"", "in UTC");
    says("restrict,", "neither a key type nor a known option");
    says("restrict\"x\"", "neither a key type nor a known option");
    says("from=\"::1\"x", "something between");
    says("frobnicate", "neither a key type nor a known option");
    CHECK(user_fault("ssh-dss AAAA").find("type that is not in this version") != std::string::npos);
    CHECK(user_fault("restrict sk-ssh-ed25519@openssh.com AAAA").find("not in this version") != std::string::npos);
    CHECK(user_fault("ssh-ed25519").find("has no key") != std::string::npos);
    CHECK(user_fault("restrict").find("has no key") != std::string::npos);
    CHECK(user_fault("ssh-ed25519 AAAA").find("has a key that") != std::string::npos);
}

TEST_CASE("wildcards stop where the text stops")
{
    CHECK(matches_wildcards("*", ""));
    CHECK(matches_wildcards("a*b*c", "aXXbYYc"));
    CHECK_FALSE(matches_wildcards("a*b*c", "aXXcYYb"));
    CHECK_FALSE(matches_wildcards("?", ""));
    CHECK_FALSE(matches_wildcards("", "a"));
    CHECK(matches_wildcards("**a", "bba"));
    CHECK_FALSE(matches_wildcards(std::string(2000, '*') + "x", std::string(2000, 'a'))); // in no time
}

TEST_SUITE_END();
