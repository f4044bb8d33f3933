#include "gateway/check_mac.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace gateway {

namespace {

const char* unauthenticated_word(const MacSettings& mac)
{
    return mac.rules.unauthenticated == ntp_shim::Unauthenticated::serve ? "serve" : "refuse";
}

const char* bad_mac_word(const MacSettings& mac)
{
    return mac.rules.on_bad_mac == ntp_shim::OnBadMac::nak ? "nak" : "silence";
}

std::string port_text(const Tunnel& tunnel)
{
    return tunnel.source_port == 0 ? "random" : std::to_string(tunnel.source_port);
}

} // namespace

nlohmann::ordered_json mac_json(const Tunnel& tunnel)
{
    const auto& mac = *tunnel.mac;
    auto keys = nlohmann::ordered_json::array();
    for (const auto& key : mac.loaded) {
        keys.push_back({{"id", key.id}, {"digest", key.digest}, {"check-value", key.check_value}});
    }
    nlohmann::ordered_json result = {{"file", mac.keys.string()}, {"format", name(mac.format)}, {"keys", keys}};
    if (tunnel.role == Role::client) {
        result["version"] = mac.version;
        if (tunnel.channel == ChannelKind::mac) {
            result["source-port"] = port_text(tunnel);
        }
    } else {
        result["unauthenticated"] = unauthenticated_word(mac);
        result["on-bad-mac"] = bad_mac_word(mac);
    }
    return result;
}

std::vector<std::pair<std::string, std::string>> mac_lines(const Tunnel& tunnel)
{
    const auto& mac = *tunnel.mac;
    std::vector<std::pair<std::string, std::string>> lines;
    lines.emplace_back("keys", fmt::format("{} ({})", mac.keys.string(), name(mac.format)));
    for (const auto& key : mac.loaded) {
        lines.emplace_back("key", fmt::format("{} {}, check value {}", key.id, key.digest, key.check_value));
    }
    if (tunnel.role == Role::client) {
        lines.emplace_back("requests", tunnel.channel == ChannelKind::mac
                                           ? fmt::format("NTPv{}, source port {}", mac.version, port_text(tunnel))
                                           : fmt::format("NTPv{}", mac.version));
    } else {
        lines.emplace_back("unauthenticated", unauthenticated_word(mac));
        lines.emplace_back("on-bad-mac", bad_mac_word(mac));
    }
    return lines;
}

} // namespace gateway
