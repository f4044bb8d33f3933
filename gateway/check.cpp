#include "gateway/check.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <ostream>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gateway/check_mac.hpp"
#include "gateway/check_nts.hpp"
#include "gateway/config_values.hpp"
#include "gateway/profile.hpp"
#include "gateway/self_test.hpp"
#include "gateway/utc_time.hpp"

namespace gateway {

namespace {

using Json = nlohmann::ordered_json;

constexpr int kValid = 0;
constexpr int kInvalid = 2;
constexpr int kSelfTestFailed = 3;

struct NamedDuration {
    const char* key;
    milliseconds Timing::*member;
};
constexpr std::array kDurations = {
    NamedDuration{"max-age", &Timing::max_age},
    NamedDuration{"max-round-trip", &Timing::max_round_trip},
    NamedDuration{"max-uncorrected", &Timing::max_uncorrected},
    NamedDuration{"connect", &Timing::connect},
    NamedDuration{"handshake", &Timing::handshake},
    NamedDuration{"keepalive", &Timing::keepalive},
    NamedDuration{"idle", &Timing::idle},
    NamedDuration{"max-channel-age", &Timing::max_channel_age},
};

template <typename List>
std::vector<std::string> texts(const List& list)
{
    std::vector<std::string> result(list.size());
    std::transform(list.begin(), list.end(), result.begin(), [](const auto& entry) { return entry.text(); });
    return result;
}

std::string upstream_text(const Upstream& upstream)
{
    if (const auto* daemon = std::get_if<DaemonUpstream>(&upstream)) {
        return daemon->address.text();
    }
    if (const auto* mirror = std::get_if<MirrorUpstream>(&upstream)) {
        return "mirror of " + mirror->address.text();
    }
    const auto& clock = std::get<ClockUpstream>(upstream);
    auto text = fmt::format("clock, stratum {}{}", clock.stratum, clock.free_running ? ", free-running" : "");
    const ClockUpstream right;
    if (clock.offset != right.offset || clock.leap != right.leap || clock.root_dispersion != right.root_dispersion) {
        text += fmt::format(
            ", offset {}{}, leap {}, root-dispersion {}", clock.offset < milliseconds::zero() ? "-" : "",
            duration_text(std::chrono::abs(clock.offset)), clock.leap, duration_text(clock.root_dispersion));
    }
    return text;
}

std::string path_text(const std::optional<std::filesystem::path>& path, const char* absent)
{
    return path ? path->string() : absent;
}

const char* absent_ca(Role role)
{
    return role == Role::client ? "the system's trust store" : "none";
}

Json problem_json(const Problem& problem)
{
    return {{"file", problem.file},
            {"line", problem.line},
            {"column", problem.column},
            {"key", problem.key},
            {"message", problem.message}};
}

Json timing_json(const Timing& timing)
{
    Json result;
    for (const auto& duration : kDurations) {
        result[duration.key] = duration_text(timing.*duration.member);
    }
    result["correct-hold"] = timing.correct_hold;
    result["correct-excess"] = timing.correct_excess;
    return result;
}

Json tls_json(const Tunnel& tunnel)
{
    const auto& tls = tunnel.tls;
    Json result = {{"ca", path_text(tls.ca, absent_ca(tunnel.role))},
                   {"certificate", path_text(tls.certificate, "none")},
                   {"revocation", name(tls.revocation)},
                   {"ocsp", name(tls.ocsp)},
                   {"certificate-time", name(tls.clock        ? CertificateTime::bootstrap
                                             : tls.check_time ? CertificateTime::strict
                                                              : CertificateTime::unchecked)},
                   {"versions", tls.policy.versions},
                   {"suites", tls.policy.suites},
                   {"groups", tls.policy.groups},
                   {"signatures", tls.policy.signatures},
                   {"extended-master-secret", tls.policy.demands_ems ? "required" : "offered"}};
    if (tunnel.role == Role::server) {
        result["client-certificate"] = name(tls.client_certificate);
        result["allow"] = tls.allow;
    } else {
        result["server-name"] = tunnel.server_name;
    }
    if (tls.clock) {
        result["no-time-before"] = utc_time(tls.clock->floor());
        result["last-good-time"] = path_text(tunnel.last_good_time, "none");
    }
    return result;
}

Json ssh_json(const Tunnel& tunnel)
{
    const auto& ssh = tunnel.ssh;
    Json result = {{"user", ssh.user},
                   {"subsystem", ssh.subsystem},
                   {"kex", ssh.policy.kex},
                   {"public-keys", ssh.policy.public_keys},
                   {"ciphers", ssh.policy.ciphers},
                   {"macs", ssh.policy.macs},
                   {"rekey-time", duration_text(ssh.rekey_time)},
                   {"rekey-data", ssh.rekey_data},
                   {"max-packet", ssh.max_packet}};
    if (tunnel.role == Role::server) {
        result["host-keys"] = Json::array();
        for (const auto& path : ssh.host_keys) {
            result["host-keys"].push_back(path.string());
        }
        result["authorized-keys"] = path_text(ssh.authorized_keys, "none");
        result["login-grace"] = duration_text(ssh.login_grace);
    } else {
        result["key"] = path_text(ssh.key, "none");
        result["known-hosts"] = path_text(ssh.known_hosts, "none");
    }
    return result;
}

Json tunnel_json(const Tunnel& tunnel)
{
    Json result = {{"name", tunnel.name},
                   {"role", name(tunnel.role)},
                   {"channel", name(tunnel.channel)},
                   {"channel-chosen", tunnel.channel_chosen},
                   {"framing", name(tunnel.framing)},
                   {"claim", tunnel.claim},
                   {"listen", texts(tunnel.listen)}};
    if (tunnel.channel == ChannelKind::dtls) {
        result["mtu"] = tunnel.mtu;
    }
    if (tunnel.role == Role::client) {
        result["connect"] = texts(tunnel.connect);
        result["clients"] = texts(tunnel.clients);
        result["forward-kod"] = tunnel.forward_kod;
        result["forward-unsynchronised"] = tunnel.forward_unsynchronised;
    } else {
        result["upstream"] = tunnel.upstream ? upstream_text(*tunnel.upstream) : "";
        result["upstream-unprotected"] = tunnel.upstream_unprotected;
    }
    if (tunnel.faults) {
        result["faults"] = tunnel.faults->texts();
    }
    result["timing"] = timing_json(tunnel.timing);
    if (tunnel.stdio) {
        result["listen"] = Json::array({"stdio"});
    } else if (tunnel.channel == ChannelKind::ssh) {
        result["ssh"] = ssh_json(tunnel);
    } else if (has_tls(tunnel)) {
        result["tls"] = tls_json(tunnel);
    }
    if (tunnel.nts) {
        result["nts"] = nts_json(tunnel);
    }
    if (tunnel.mac) {
        result["mac"] = mac_json(tunnel);
    }
    return result;
}

using Failed = std::optional<SelfTestFailure>;

void print_json(const Loaded& loaded, const Failed& failed, std::ostream& out)
{
    Json document = {{"valid", loaded.config.has_value() && !failed},
                     {"profile", nullptr},
                     {"self-test", nullptr},
                     {"errors", Json::array()},
                     {"warnings", Json::array()},
                     {"tunnels", Json::array()}};
    for (const auto& error : loaded.errors) {
        document["errors"].push_back(problem_json(error));
    }
    for (const auto& warning : loaded.warnings) {
        document["warnings"].push_back(problem_json(warning));
    }
    if (loaded.config) {
        document["profile"] = loaded.config->profile;
        for (const auto& tunnel : loaded.config->tunnels) {
            document["tunnels"].push_back(tunnel_json(tunnel));
        }
    }
    if (failed) {
        document["self-test"] = {{"reason", failed->reason}, {"text", failed->text}};
    }
    // A path need not be UTF-8; a JSON document must be.
    out << document.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

void line(std::ostream& out, std::string_view key, std::string_view text)
{
    out << fmt::format("  {:<16}{}\n", key, text);
}

std::string timing_text(const Timing& timing)
{
    std::string text;
    for (const auto& duration : kDurations) {
        text += fmt::format("{} {}, ", duration.key, duration_text(timing.*duration.member));
    }
    return text + fmt::format("correct-hold {}, correct-excess {}", timing.correct_hold, timing.correct_excess);
}

void print_peers(const Tunnel& tunnel, std::ostream& out)
{
    if (tunnel.role == Role::client) {
        const auto clients = texts(tunnel.clients);
        line(out, "clients", clients.empty() ? "loopback" : fmt::format("{}", fmt::join(clients, ", ")));
        line(out, "connect", fmt::format("{}", fmt::join(texts(tunnel.connect), ", ")));
        if (tunnel.channel != ChannelKind::mac && tunnel.channel != ChannelKind::ssh) {
            line(out, "server-name", tunnel.server_name.empty() ? "each target's own host" : tunnel.server_name);
        }
        return;
    }
    line(out, "upstream", tunnel.upstream ? upstream_text(*tunnel.upstream) : "");
    if (tunnel.channel == ChannelKind::ssh) {
        return;
    }
    if (tunnel.channel == ChannelKind::mac || tunnel.channel == ChannelKind::nts) {
        const auto clients = texts(tunnel.clients);
        line(out, "clients", clients.empty() ? "everybody" : fmt::format("{}", fmt::join(clients, ", ")));
    } else {
        line(out, "peers",
             fmt::format("certificate {}, {}", name(tunnel.tls.client_certificate),
                         tunnel.tls.allow.empty() ? std::string{"every one of ca"}
                                                  : fmt::format("{}", fmt::join(tunnel.tls.allow, ", "))));
    }
}

void print_ssh(const Tunnel& tunnel, std::ostream& out)
{
    const auto& ssh = tunnel.ssh;
    if (tunnel.stdio) {
        return; // sshd decides all of it
    }
    line(out, "user", ssh.user);
    line(out, "subsystem", ssh.subsystem);
    if (tunnel.role == Role::server) {
        for (const auto& path : ssh.host_keys) {
            line(out, "host-key", path.string());
        }
        line(out, "authorized-keys", path_text(ssh.authorized_keys, "none"));
        line(out, "login-grace", duration_text(ssh.login_grace));
    } else {
        line(out, "key", path_text(ssh.key, "none"));
        line(out, "known-hosts", path_text(ssh.known_hosts, "none"));
    }
    line(out, "rekey", fmt::format("{} or {} octets", duration_text(ssh.rekey_time), ssh.rekey_data));
    line(out, "max-packet", std::to_string(ssh.max_packet));
    line(out, "kex", fmt::format("{}", fmt::join(ssh.policy.kex, ", ")));
    line(out, "public-keys", fmt::format("{}", fmt::join(ssh.policy.public_keys, ", ")));
    line(out, "ciphers", fmt::format("{}", fmt::join(ssh.policy.ciphers, ", ")));
    line(out, "macs", fmt::format("{}", fmt::join(ssh.policy.macs, ", ")));
}

void print_tls(const Tunnel& tunnel, std::ostream& out)
{
    const auto& tls = tunnel.tls;
    line(out, "ca", path_text(tls.ca, absent_ca(tunnel.role)));
    line(out, "certificate", path_text(tls.certificate, "none"));
    line(out, "revocation", name(tls.revocation));
    line(out, "ocsp", name(tls.ocsp));
    line(out, "versions", fmt::format("{}", fmt::join(tls.policy.versions, ", ")));
    line(out, "suites", fmt::format("{}", fmt::join(tls.policy.suites, ", ")));
    line(out, "groups", fmt::format("{}", fmt::join(tls.policy.groups, ", ")));
    line(out, "signatures", fmt::format("{}", fmt::join(tls.policy.signatures, ", ")));
    line(out, "master-secret", tls.policy.demands_ems ? "extended, required" : "extended, offered");
}

void print_tunnel(const Tunnel& tunnel, const Config& config, std::ostream& out)
{
    out << "tunnel " << tunnel.name << '\n';
    line(out, "role", name(tunnel.role));
    line(out, "channel",
         fmt::format("{}{}", name(tunnel.channel),
                     tunnel.channel_chosen ? fmt::format(" (chosen by profile {})", config.profile) : std::string{}));
    if (tunnel.channel != ChannelKind::mac && tunnel.channel != ChannelKind::nts) {
        line(out, "framing", name(tunnel.framing));
    }
    if (tunnel.nts) {
        for (const auto& [key, text] : nts_lines(tunnel)) {
            line(out, key, text);
        }
    }
    line(out, "claim", tunnel.claim);
    line(out, "listen", tunnel.stdio ? "stdio" : fmt::format("{}", fmt::join(texts(tunnel.listen), ", ")));
    print_peers(tunnel, out);
    if (tunnel.faults) {
        line(out, "faults", fmt::format("{}", fmt::join(tunnel.faults->texts(), ", ")));
    }
    if (tunnel.channel == ChannelKind::dtls) {
        line(out, "mtu", std::to_string(tunnel.mtu));
    }
    line(out, "timing", timing_text(tunnel.timing));
    if (tunnel.mac) {
        for (const auto& [key, text] : mac_lines(tunnel)) {
            line(out, key, text);
        }
    }
    if (tunnel.channel == ChannelKind::ssh) {
        print_ssh(tunnel, out);
    } else if (has_tls(tunnel)) {
        print_tls(tunnel, out);
    }
}

void print_text(const Loaded& loaded, const Failed& failed, std::ostream& out)
{
    for (const auto& error : loaded.errors) {
        out << error.text() << '\n';
    }
    for (const auto& warning : loaded.warnings) {
        out << "warning: " << warning.text() << '\n';
    }
    if (loaded.config) {
        const auto& config = *loaded.config;
        for (const auto& tunnel : config.tunnels) {
            print_tunnel(tunnel, config, out);
        }
        out << (failed ? fmt::format("self-test failed: {}: {}\n", failed->reason, failed->text)
                       : fmt::format("{} is valid (profile {})\n", config.file, config.profile));
    } else {
        out << fmt::format("not valid: {} error{}\n", loaded.errors.size(), loaded.errors.size() == 1 ? "" : "s");
    }
}

} // namespace

int run_check(const Loaded& loaded, bool json, std::ostream& out)
{
    const auto failed = loaded.config ? self_test(*loaded.config) : std::nullopt;
    if (json) {
        print_json(loaded, failed, out);
    } else {
        print_text(loaded, failed, out);
    }
    return !loaded.config ? kInvalid : failed ? kSelfTestFailed : kValid;
}

} // namespace gateway
