#include "gateway/self_test.hpp"

#include <algorithm>
#include <vector>

#include <nlohmann/json.hpp>

#include "gateway/integrity.hpp"
#include "ntp-shim/nts_known_answer.hpp"
#include "transports/ssh_self_test.hpp"
#include "transports/tls_self_test.hpp"

namespace gateway {

namespace {

std::vector<std::string> names_offered(const Config& config)
{
    std::vector<std::string> names;
    for (const Tunnel& tunnel : config.tunnels) {
        if (tunnel.mac) {
            names.insert(names.end(), tunnel.mac->digests.begin(), tunnel.mac->digests.end());
        }
        const auto& tls = tunnel.tls.policy;
        const auto& ssh = tunnel.ssh.policy;
        for (const auto* list :
             {&tls.suites, &tls.groups, &tls.signatures, &ssh.kex, &ssh.public_keys, &ssh.ciphers, &ssh.macs}) {
            names.insert(names.end(), list->begin(), list->end());
        }
    }
    return names;
}

/// Cookies may come under any of them.
std::optional<std::string> find_broken_aead(const Config& config)
{
    const auto is_nts = [](const Tunnel& tunnel) { return tunnel.channel == ChannelKind::nts; };
    if (std::ranges::any_of(config.tunnels, is_nts)) {
        for (const auto aead : ntp_shim::built_in_aeads()) {
            if (!ntp_shim::gives_known_answer(aead)) {
                return std::string{name(aead)};
            }
        }
    }
    return std::nullopt;
}

} // namespace

std::optional<SelfTestFailure> self_test(const Config& config)
{
    auto primitive = transports::find_broken_primitive(names_offered(config));
    primitive = primitive ? std::move(primitive) : find_broken_aead(config);
    if (primitive) {
        return SelfTestFailure{"broken_primitive", *primitive + " does not give the known answer"};
    }
    for (const Tunnel& tunnel : config.tunnels) {
        if (tunnel.channel != ChannelKind::ssh || tunnel.stdio) { // there sshd protects the packets
            continue;
        }
        // Every ssh tunnel has the profile's algorithms.
        if (auto protection = transports::find_broken_ssh_protection(tunnel.ssh.policy)) {
            return SelfTestFailure{"broken_primitive", std::move(*protection)};
        }
        break;
    }
    if (config.integrity) {
        std::vector<FileInUse> in_use;
        if (config.source) {
            in_use.push_back({*config.source, false});
        }
        if (config.profile_file) {
            in_use.push_back({*config.profile_file, true});
        }
        if (auto why = check_integrity(*config.integrity, in_use)) {
            return SelfTestFailure{"integrity", std::move(*why)};
        }
    }
    return std::nullopt;
}

std::optional<SelfTestFailure> self_test(const Config& config, Audit& audit)
{
    auto failed = self_test(config);
    if (failed) {
        AuditRecord record;
        record.event = AuditEvent::self_test_failed;
        record.success = false;
        record.reason = failed->reason;
        audit.record(record, {{"text", failed->text}});
    }
    return failed;
}

} // namespace gateway
