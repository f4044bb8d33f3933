#include "gateway/self_test.hpp"

#include <vector>

#include <nlohmann/json.hpp>

#include "gateway/integrity.hpp"
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
        const auto& policy = tunnel.tls.policy;
        for (const auto* list : {&policy.suites, &policy.groups, &policy.signatures}) {
            names.insert(names.end(), list->begin(), list->end());
        }
    }
    return names;
}

} // namespace

std::optional<SelfTestFailure> self_test(const Config& config)
{
    if (auto primitive = transports::find_broken_primitive(names_offered(config))) {
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
        std::vector<std::filesystem::path> needed;
        if (config.profile_file) {
            needed.push_back(*config.profile_file);
        }
        if (auto why = check_integrity(*config.integrity, needed)) {
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
