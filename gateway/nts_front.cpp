#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/random.h>

#include "gateway/accounting.hpp"
#include "gateway/address.hpp"
#include "gateway/channel_events.hpp"
#include "gateway/credentials.hpp"
#include "gateway/nts_establishment.hpp"
#include "gateway/nts_keys.hpp"
#include "gateway/nts_sealing.hpp"
#include "gateway/policies.hpp"
#include "ntp-shim/nts_ke_client.hpp"
#include "ntp-shim/nts_server_seal.hpp"
#include "transports/nts_ke.hpp"

namespace gateway {

namespace {

/// What became of the questions; in the counters of the tunnel.
struct KeCounts {
    std::uint64_t asked{};
    std::uint64_t established{};
    std::uint64_t without_agreement{};
    std::array<std::uint64_t, 3> errors{}; // by KeError
};

class NtsServer final : public ServerSealing, private transports::KeServerOwner {
public:
    struct Parts {
        NtsKeyFile keys;
        std::optional<transports::TlsSupply> supply;
        std::vector<SocketAddress> ke_listen;
    };
    NtsServer(Services services, const Tunnel& tunnel, Parts parts)
        : services_{services}, tunnel_{tunnel}, credentials_{credentials_of(services, tunnel, parts.supply, [] {})},
          parts_{std::move(parts)}, seal_{nullptr, tunnel.nts->plain,
                                          [this](std::span<std::byte> octets) { services_.random.fill(octets); }},
          keys_{services, tunnel, std::move(parts_.keys), [this](NtsKeys::Ring ring) { seal_.use(std::move(ring)); }},
          policy_{tunnel.nts->aeads, tunnel.nts->servers},
          admission_{admission_limits(tunnel.limits), &services.admission}, events_{services, tunnel.name},
          server_{services.loop, {ntp_shim::kMaxKeRequest, tunnel.timing.handshake}, admission_, *this}
    {
        seal_.use(keys_.ring());
    }

    [[nodiscard]] ntp_shim::ServerSeal& seal() noexcept override { return seal_; }
    void reload() override
    {
        keys_.reload();
        if (credentials_) {
            credentials_->reload();
        }
    }

    std::optional<std::string> bind(const std::vector<std::string>& asked_at) override
    {
        tell_port(asked_at);
        for (const auto& address : parts_.ke_listen) {
            if (auto error = server_.listen(address.storage, *parts_.supply)) {
                return "tunnel " + tunnel_.name + ": " + *error;
            }
        }
        return std::nullopt;
    }
    [[nodiscard]] std::vector<std::string> addresses() const override { return server_.addresses(); }
    void drain() override { server_.stop(); }
    void count(nlohmann::ordered_json& counters) const override
    {
        counters["listener"] = counters_json(server_.counters());
        counters["key-establishment"] = {{"asked", counts_.asked},
                                         {"established", counts_.established},
                                         {"no-agreement", counts_.without_agreement},
                                         {"unrecognised-critical-record", counts_.errors[0]},
                                         {"bad-request", counts_.errors[1]},
                                         {"internal-error", counts_.errors[2]}};
    }

private:
    /// Port 0 of the configuration is the one the kernel chose.
    void tell_port(const std::vector<std::string>& asked_at)
    {
        const auto text = asked_at.empty() ? std::string{} : asked_at.front();
        const auto parsed = parse_socket_address(text);
        const auto* const bound = std::get_if<SocketAddress>(&parsed);
        for (auto& server : policy_.servers) {
            if (server.port == 0 && bound != nullptr) {
                server.port = bound->port();
            }
        }
    }

    class Conversation;
    std::unique_ptr<transports::KeConversation> converse(const transports::PeerIdentity& peer) override;
    void on_failed(const transports::Failed& why) override { events_.failed(why); }

    std::vector<std::byte> answer(transports::Channel& channel, std::span<const std::byte> question);
    std::vector<std::byte> refuse(const std::string& peer, ntp_shim::KeError error);
    [[nodiscard]] std::vector<std::vector<std::byte>> cookies_for(const ntp_shim::SessionKeys& keys);
    void record(const std::string& peer, bool success, std::string_view reason, const nlohmann::ordered_json& fields);

    Services services_;
    const Tunnel& tunnel_;
    std::unique_ptr<Credentials> credentials_; // last to go
    Parts parts_;
    ntp_shim::NtsServerSeal seal_;
    NtsKeys keys_;
    ntp_shim::KeServerPolicy policy_;
    KeCounts counts_;
    std::uint64_t turn_ = 0;
    transports::Admission admission_;
    ChannelEvents events_;
    transports::KeServer server_;
};

class NtsServer::Conversation final : public transports::KeConversation {
public:
    explicit Conversation(NtsServer& server) : server_{server} {}
    std::optional<std::vector<std::byte>> hear(transports::Channel& channel, std::span<const std::byte> received,
                                               bool over) override
    {
        if (scan_.follow(received) == ntp_shim::MessageState::partial && !over) {
            return std::nullopt;
        }
        return server_.answer(channel, received);
    }

private:
    NtsServer& server_;
    ntp_shim::MessageScan scan_;
};

std::unique_ptr<transports::KeConversation> NtsServer::converse(const transports::PeerIdentity& /*peer*/)
{
    ++counts_.asked;
    return std::make_unique<Conversation>(*this);
}

std::vector<std::byte> NtsServer::answer(transports::Channel& channel, std::span<const std::byte> question)
{
    if (services_.log.shows(LogLevel::debug)) {
        for (const auto& line : ntp_shim::describe_message(question)) {
            services_.log.debug(fmt::format("tunnel {}: {} asks: {}", tunnel_.name, channel.peer().address, line));
        }
    }
    const auto judged = ntp_shim::judge_request(question, policy_);
    if (const auto* error = std::get_if<ntp_shim::KeError>(&judged)) {
        return refuse(channel.peer().address, *error);
    }
    const auto& agreement = std::get<ntp_shim::KeAgreement>(judged);
    if (!agreement.aead) {
        ++counts_.without_agreement;
        record(channel.peer().address, false, agreement.ntpv4 ? "no_common_aead" : "no_common_protocol", {});
        return ntp_shim::make_response(agreement, nullptr, {});
    }
    const auto keys = export_session(channel, *agreement.aead, agreement.compliant_export);
    auto cookies = keys ? cookies_for(*keys) : std::vector<std::vector<std::byte>>{};
    if (cookies.empty()) {
        return refuse(channel.peer().address, ntp_shim::KeError::internal_error);
    }
    ++counts_.established;
    record(channel.peer().address, true, {},
           {{"aead", name(*agreement.aead)}, {"suite", channel.peer().suite}, {"cookies", cookies.size()}});
    const bool ipv6 = channel.peer().address.starts_with('[');
    return ntp_shim::make_response(agreement, choose_server(policy_, agreement, ipv6, turn_++), cookies);
}

std::vector<std::byte> NtsServer::refuse(const std::string& peer, ntp_shim::KeError error)
{
    constexpr std::array<std::string_view, 3> kReasons{"unrecognised_critical_record", "bad_request", "internal_error"};
    const auto at = static_cast<std::size_t>(error);
    ++counts_.errors.at(at);
    record(peer, false, kReasons.at(at), {});
    return ntp_shim::make_error(error);
}

/// None while the keys are unsure.
std::vector<std::vector<std::byte>> NtsServer::cookies_for(const ntp_shim::SessionKeys& keys)
{
    std::vector<std::vector<std::byte>> cookies;
    while (keys_.ring() != nullptr && cookies.size() < ntp_shim::kCookiesGiven) {
        std::array<std::byte, 16> nonce{};
        services_.random.fill(nonce);
        auto cookie = keys_.ring()->seal_cookie(keys, nonce);
        if (cookie.empty()) {
            return {};
        }
        cookies.push_back(std::move(cookie));
    }
    return cookies;
}

void NtsServer::record(const std::string& peer, bool success, std::string_view reason,
                       const nlohmann::ordered_json& fields)
{
    AuditRecord made;
    made.event = success ? AuditEvent::ke_succeeded : AuditEvent::ke_failed;
    made.success = success;
    made.tunnel = tunnel_.name;
    made.peer = peer;
    made.reason = reason;
    const bool written = fields.is_null() ? services_.audit.record(made) : services_.audit.record(made, fields);
    if (written && !success) {
        services_.log.warn(fmt::format("tunnel {}: key establishment with {} failed: {}", tunnel_.name, peer, reason));
    }
}

} // namespace

std::variant<std::unique_ptr<ServerSealing>, std::vector<CarrierProblem>> make_nts_server_sealing(Services services,
                                                                                                  const Tunnel& tunnel)
{
    NtsServer::Parts parts;
    auto keys = load_nts_keys(tunnel);
    if (const auto* why = std::get_if<std::string>(&keys)) {
        return std::vector<CarrierProblem>{{"nts", "keys", fmt::format("{}: {}", tunnel.nts->keys.string(), *why)}};
    }
    parts.keys = std::move(std::get<NtsKeyFile>(keys));
    parts.ke_listen = tunnel.ke_listen;
    if (!parts.ke_listen.empty()) {
        auto context = transports::TlsContext::create(tunnel.tls);
        if (const auto* problems = std::get_if<std::vector<transports::TlsProblem>>(&context)) {
            std::vector<CarrierProblem> out;
            for (const auto& problem : *problems) {
                out.push_back({"tls", problem.setting, problem.text});
            }
            return out;
        }
        parts.supply = std::get<std::shared_ptr<const transports::TlsContext>>(std::move(context));
    }
    return std::make_unique<NtsServer>(services, tunnel, std::move(parts));
}

} // namespace gateway
