#include <string>

#include <doctest/doctest.h>

#include "tests/unit/gateway/config_folder.hpp"
#include "transports/ssh_keygen.hpp"

using namespace gateway;

namespace {

/// Trial keys made once; each configuration names them by relative paths.
struct SshFolder : ConfigFolder {
    SshFolder() { REQUIRE(!transports::write_trial_ssh_keys({path() / "ssh", {"localhost"}, "client"})); }
};
const SshFolder& folder()
{
    static const SshFolder kFolder;
    return kFolder;
}

const std::string kServer =
    "tunnels:\n- {name: s, role: server, listen: 127.0.0.1:0, upstream: clock, channel: ssh,\n"
    "   ssh: {host-keys: [ssh/host_ed25519, ssh/host_rsa], authorized-keys: ssh/authorized_keys";
const std::string kClient = "tunnels:\n- {name: c, role: client, listen: 127.0.0.2:0, connect: [gw], channel: ssh,\n"
                            "   ssh: {key: ssh/id_ed25519, known-hosts: ssh/known_hosts";

/// "KEY: MESSAGE" of the first error; empty when there is none.
std::string fault(const std::string& text)
{
    const Loaded loaded = folder().load(text);
    return loaded.errors.empty() ? "" : loaded.errors.front().key + ": " + loaded.errors.front().message;
}

std::string client_fault(const std::string& more)
{
    return fault(kClient + more + "}}\n");
}

std::string server_fault(const std::string& more)
{
    return fault(kServer + more + "}}\n");
}

bool begins(const std::string& text, const std::string& with)
{
    INFO(text);
    return text.starts_with(with);
}

} // namespace

TEST_SUITE_BEGIN("config_ssh");

TEST_CASE("defaults are the design's, and the profile gives the algorithms")
{
    const Loaded loaded = folder().load(kClient + "}}\n");
    REQUIRE(loaded.config);
    const Tunnel& tunnel = loaded.config->tunnels.front();
    CHECK(tunnel.channel == ChannelKind::ssh);
    CHECK(tunnel.connect.front().port == 22);
    CHECK(tunnel.ssh.user == "ntpgate");
    CHECK(tunnel.ssh.subsystem == "ntpgate");
    CHECK(tunnel.ssh.rekey_time == std::chrono::hours{1});
    CHECK(tunnel.ssh.rekey_data == 1U << 30U);
    CHECK(tunnel.ssh.max_packet == 35000);
    CHECK(tunnel.ssh.policy.public_keys == std::vector<std::string>{"ssh-ed25519", "rsa-sha2-512"});
    CHECK(server_fault("") == "");
}

TEST_CASE("every key is read")
{
    const Loaded loaded = folder().load(kServer + ", user: ntp, subsystem: time, rekey-time: 2s, rekey-data: 64KiB, "
                                                  "max-packet: 4096, login-grace: 100ms}}\n");
    REQUIRE(loaded.config);
    const auto& ssh = loaded.config->tunnels.front().ssh;
    CHECK(ssh.user == "ntp");
    CHECK(ssh.subsystem == "time");
    CHECK(ssh.rekey_time == std::chrono::seconds{2});
    CHECK(ssh.rekey_data == 64U * 1024U);
    CHECK(ssh.max_packet == 4096);
    CHECK(ssh.login_grace == std::chrono::milliseconds{100});
    CHECK(ssh.host_keys.size() == 2);
}

TEST_CASE("what is out of range, of the other role or not there is an error with its place")
{
    CHECK(begins(client_fault(", rekey-time: 1s"), "tunnels[0].ssh.rekey-time"));
    CHECK(begins(client_fault(", rekey-time: 61m"), "tunnels[0].ssh.rekey-time"));
    CHECK(begins(client_fault(", rekey-time: 2500ms"), "tunnels[0].ssh.rekey-time"));
    for (const auto* const size : {"63KiB", "2GiB", "1TiB", "1073741824", "KiB", "99999999999999999999GiB"}) {
        CHECK(begins(client_fault(std::string{", rekey-data: "} + size), "tunnels[0].ssh.rekey-data"));
    }
    CHECK(begins(client_fault(", max-packet: 4095"), "tunnels[0].ssh.max-packet"));
    CHECK(begins(client_fault(", host-keys: [ssh/host_rsa]"), "tunnels[0].ssh.host-keys: belongs to role server"));
    CHECK(begins(server_fault(", known-hosts: ssh/known_hosts"), "tunnels[0].ssh.known-hosts: belongs to role client"));
    CHECK(begins(client_fault(", user: \"a b\""), "tunnels[0].ssh.user"));
    CHECK(begins(client_fault(", colour: blue"), "tunnels[0].ssh.colour"));
    CHECK(begins(fault("tunnels:\n- {name: c, role: client, listen: 127.0.0.2:0, connect: [gw], channel: ssh}\n"),
                 "tunnels[0].ssh.key: is missing"));
    CHECK(begins(fault("tunnels:\n- {name: s, role: server, listen: 127.0.0.1:0, upstream: clock, channel: ssh}\n"),
                 "tunnels[0].ssh.host-keys: is missing"));
    CHECK(begins(fault(kClient + "}, framing: raw}\n"), "tunnels[0].framing: raw belongs to channel tls"));
}

TEST_CASE("files are judged: keys closed to others, lists that nobody else writes, and every line of them")
{
    const auto with = [](const std::string& name, const std::string& text, unsigned mode) {
        const auto path = folder().write(name, text);
        std::filesystem::permissions(path, static_cast<std::filesystem::perms>(mode));
    };
    std::filesystem::copy_file(folder().path() / "ssh/host_rsa", folder().path() / "open_key",
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::permissions(folder().path() / "open_key", static_cast<std::filesystem::perms>(0644));
    with("written", "", 0666);
    with("command", "command=\"id\" ssh-ed25519 AAAA\n", 0644);
    with("nonsense", "no key", 0600);
    const auto server = [](const std::string& keys, const std::string& users) {
        return fault("tunnels:\n- {name: s, role: server, listen: 127.0.0.1:0, upstream: clock, channel: ssh,\n"
                     "   ssh: {host-keys: " +
                     keys + ", authorized-keys: " + users + "}}\n");
    };
    CHECK(server("open_key", "ssh/authorized_keys").find("can be read by others") != std::string::npos);
    CHECK(server("ssh/host_rsa", "written").find("can be written by others") != std::string::npos);
    CHECK(server("ssh/host_rsa", "command").find("command:1:1: has the option command") != std::string::npos);
    CHECK(server("nonsense", "ssh/authorized_keys").find("is no private key") != std::string::npos);
    CHECK(server("[ssh/host_rsa, ssh/host_rsa]", "ssh/authorized_keys").find("second key of its kind") !=
          std::string::npos);
    CHECK(server("missing", "ssh/authorized_keys").find("no such file") != std::string::npos);
}

TEST_CASE("a block ssh: chooses the channel, and stdio is for the server role of ssh")
{
    const Loaded chosen = folder().load("tunnels:\n- {name: c, role: client, listen: 127.0.0.2:0, connect: [gw],\n"
                                        "   ssh: {key: ssh/id_ed25519, known-hosts: ssh/known_hosts}}\n");
    REQUIRE(chosen.config);
    CHECK(chosen.config->tunnels.front().channel == ChannelKind::ssh);
    CHECK(chosen.config->tunnels.front().channel_chosen);
    const Loaded stdio =
        folder().load("tunnels:\n- {name: s, role: server, listen: stdio, upstream: clock, channel: ssh}\n");
    REQUIRE(stdio.config);
    CHECK(stdio.config->tunnels.front().stdio);
    CHECK(begins(fault("tunnels:\n- {name: s, role: client, listen: stdio, connect: [gw], channel: ssh,\n"
                       "   ssh: {key: ssh/id_ed25519, known-hosts: ssh/known_hosts}}\n"),
                 "tunnels[0].listen: stdio belongs to"));
}

TEST_SUITE_END();
