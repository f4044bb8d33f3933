#include "gateway/check_nts.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gateway/config_values.hpp"

namespace gateway {

namespace {

std::string_view name(NtsKeySource source) noexcept
{
    switch (source) {
    case NtsKeySource::own:
        return "keys";
    case NtsKeySource::chrony:
        return "chrony-keys";
    case NtsKeySource::ratchet:
        return "ratchet";
    }
    return "?";
}

std::string offer_text(const ntp_shim::NtpServerOffer& offer)
{
    return fmt::format("{} port {}", offer.host.empty() ? "same address" : offer.host, offer.port);
}

std::string rotate_text(const NtsSettings& nts)
{
    if (nts.source == NtsKeySource::ratchet) {
        return "by its period";
    }
    return nts.rotate.count() == 0 ? "never (another writes the file)" : duration_text(nts.rotate);
}

} // namespace

bool has_tls(const Tunnel& tunnel) noexcept
{
    const bool answers_only =
        tunnel.channel == ChannelKind::nts && tunnel.role == Role::server && tunnel.ke_listen.empty();
    return tunnel.channel != ChannelKind::mac && !answers_only;
}

nlohmann::ordered_json nts_json(const Tunnel& tunnel)
{
    const auto& nts = *tunnel.nts;
    nlohmann::ordered_json out = {{"aeads", nlohmann::ordered_json::array()}};
    for (const auto aead : nts.aeads) {
        out["aeads"].push_back(static_cast<unsigned>(aead));
    }
    if (tunnel.role == Role::client) {
        out["state"] = nts.state ? nts.state->string() : "";
        return out;
    }
    out["ke-listen"] = nlohmann::ordered_json::array();
    for (const auto& address : tunnel.ke_listen) {
        out["ke-listen"].push_back(address.text());
    }
    out["ntp-servers"] = nlohmann::ordered_json::array();
    for (const auto& server : nts.servers) {
        out["ntp-servers"].push_back({{"host", server.host}, {"port", server.port}});
    }
    out[std::string{name(nts.source)}] = nts.keys.string();
    out["rotate"] = rotate_text(nts);
    out["plain"] = nts.plain == ntp_shim::PlainRequests::serve ? "serve" : "refuse";
    return out;
}

std::vector<std::pair<std::string, std::string>> nts_lines(const Tunnel& tunnel)
{
    const auto& nts = *tunnel.nts;
    std::vector<std::pair<std::string, std::string>> lines;
    std::string aeads;
    for (const auto aead : nts.aeads) {
        aeads += fmt::format("{}{}", aeads.empty() ? "" : ", ", ntp_shim::name(aead));
    }
    lines.emplace_back("aeads", aeads);
    if (tunnel.role == Role::client) {
        lines.emplace_back("state", nts.state ? nts.state->string() : "none");
        return lines;
    }
    for (const auto& address : tunnel.ke_listen) {
        lines.emplace_back("ke-listen", address.text());
    }
    for (const auto& server : nts.servers) {
        lines.emplace_back("ntp-server", offer_text(server));
    }
    lines.emplace_back(name(nts.source), nts.keys.string());
    lines.emplace_back("rotate", rotate_text(nts));
    lines.emplace_back("plain", nts.plain == ntp_shim::PlainRequests::serve ? "serve" : "refuse");
    return lines;
}

} // namespace gateway
