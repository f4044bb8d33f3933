#include "gateway/config_tunnel.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "gateway/address.hpp"
#include "gateway/claim_rules.hpp"
#include "gateway/config_values.hpp"
#include "gateway/config_words.hpp"

namespace gateway {

namespace {

constexpr std::uint16_t kTlsPort = 4461;
constexpr std::uint16_t kNtpPort = 123;
constexpr std::uint16_t kSshPort = 22;
constexpr std::uint16_t kNtsPort = 4460;
constexpr std::size_t kMaxName = 64;

constexpr std::array<Choice<Role>, 2> kRoleWords{{{"client", Role::client}, {"server", Role::server}}};
constexpr std::array<Choice<Framing>, 2> kFramingWords{{{"v1", Framing::v1}, {"raw", Framing::raw}}};

struct Limit {
    std::string_view word;
    std::uint32_t Limits::*member{};
};
constexpr std::array kLimits = {
    Limit{"channels", &Limits::channels},
    Limit{"half-open", &Limits::half_open},
    Limit{"handshakes-per-second-per-source", &Limits::handshakes_per_second_per_source},
    Limit{"handshakes-per-second", &Limits::handshakes_per_second},
    Limit{"exchanges", &Limits::exchanges},
    Limit{"exchanges-per-channel", &Limits::exchanges_per_channel},
    Limit{"exchanges-per-client", &Limits::exchanges_per_client},
    Limit{"requests-per-second-per-client", &Limits::requests_per_second_per_client},
};

bool is_tunnel_name(std::string_view name) noexcept
{
    return name.size() <= kMaxName && std::all_of(name.begin(), name.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                      c == '_' || c == '.';
           });
}

class TunnelReader {
public:
    TunnelReader(const Value& entry, const LoadContext& context)
        : context_(context), report_(context.report), errors_before_(context.report.errors()),
          section_(entry, context.report)
    {
        draft_.place = entry.place();
    }

    TunnelDraft read()
    {
        if (!section_.usable()) {
            return std::move(draft_);
        }
        auto& tunnel = draft_.tunnel;
        read_name();
        read_role();
        section_.choice("framing", std::span<const Choice<Framing>>{kFramingWords}, tunnel.framing);
        read_channel();
        read_listen();
        read_client_side();
        read_upstream(section_, context_, draft_);
        read_timing(section_.find("timing"), report_, draft_);
        tunnel.limits = context_.limits;
        read_limits(section_.find("limits"), report_, &context_.limits, tunnel.limits);
        read_blocks();
        read_faults(section_.find("faults"), context_, draft_);
        section_.finish();
        draft_.sound = report_.errors() == errors_before_;
        return std::move(draft_);
    }

private:
    [[nodiscard]] bool is(Role role) const noexcept { return draft_.has_role && draft_.tunnel.role == role; }

    void missing(std::string_view key, std::string_view expected)
    {
        report_.error(section_.place(key), fmt::format("is missing (expected {})", expected));
    }

    void read_name()
    {
        constexpr std::string_view kForm = "letters, digits, '-', '_' and '.', at most 64";
        const auto name = section_.find("name");
        draft_.name_place = section_.place("name");
        if (!section_.has("name")) {
            missing("name", kForm);
        } else if (auto text = read_text(name, report_, kForm)) {
            if (!is_tunnel_name(*text)) {
                report_.error(name.place(), fmt::format("{} is no name (expected {})", shown(*text), kForm));
            }
            draft_.tunnel.name = std::move(*text);
        }
    }

    void read_role()
    {
        const auto role = section_.find("role");
        if (!section_.has("role")) {
            missing("role", "client or server");
        } else if (const auto read = read_choice(role, report_, std::span<const Choice<Role>>{kRoleWords})) {
            draft_.tunnel.role = *read;
            draft_.has_role = true;
        }
    }

    // Written, or chosen by the profile's order among what the tunnel's blocks could be (design 10).
    void read_channel()
    {
        const auto channel = section_.find("channel");
        draft_.tunnel.channel = ChannelKind::tls;
        if (!section_.has("channel")) {
            choose();
            return;
        }
        const auto read = read_choice(channel, report_, std::span<const Choice<ChannelKind>>{kChannelWords});
        if (read == ChannelKind::dtls || read == ChannelKind::ssh || read == ChannelKind::mac ||
            read == ChannelKind::nts) {
            draft_.tunnel.channel = *read;
        }
        draft_.has_channel = read.has_value();
        const auto taken = draft_.tunnel.channel;
        other_channel_ = read != ChannelKind::tls && read != ChannelKind::dtls;
        if (taken != ChannelKind::tls && draft_.tunnel.framing == Framing::raw) {
            report_.error(section_.place("framing"),
                          fmt::format("raw belongs to channel tls (expected {} under {})",
                                      taken == ChannelKind::mac || taken == ChannelKind::nts ? "none" : "v1",
                                      name(taken)));
        }
    }

    void choose()
    {
        const auto& profile = context_.profile;
        const auto blocks = possible_blocks(section_, draft_.tunnel.framing, profile);
        const auto chosen = choose_channel(profile, blocks);
        other_channel_ = !section_.has("tls");
        if (chosen) {
            draft_.tunnel.channel = *chosen;
            draft_.tunnel.channel_chosen = true;
            draft_.has_channel = true;
            other_channel_ = *chosen == ChannelKind::ssh || *chosen == ChannelKind::mac;
        } else if (section_.has("tls") || blocks.ssh || blocks.mac || blocks.nts) {
            report_.error(draft_.place, no_choice(profile, blocks));
            no_choice_ = true;
        } else {
            missing("channel", "tls, dtls, ssh, mac or nts, or a block tls:, ssh:, nts: or mac: for the profile to "
                               "choose by");
        }
    }

    void read_listen()
    {
        constexpr std::string_view kForm = "ADDRESS:PORT, such as 127.0.0.2:123 or \"[::1]:123\"";
        const bool may_be_absent = is(Role::server) && is_nts(); // key establishment only
        if (!section_.has("listen") && !may_be_absent) {
            missing("listen", kForm);
        }
        for (const auto& entry : read_list(section_.find("listen"), report_, ListForm::list_or_one)) {
            const auto text = read_text(entry, report_, kForm);
            if (!text) {
                continue;
            }
            if (*text == "stdio") {
                take_stdio(entry);
                continue;
            }
            const auto parsed = parse_socket_address(*text);
            if (const auto* refused = std::get_if<Refused>(&parsed)) {
                report_.error(entry.place(), shown(*text) + " " + refused->why);
                continue;
            }
            draft_.tunnel.listen.push_back(std::get<SocketAddress>(parsed));
            draft_.listen_places.push_back(entry.place());
        }
    }

    [[nodiscard]] std::uint16_t default_port() const noexcept
    {
        const auto channel = draft_.tunnel.channel;
        return channel == ChannelKind::ssh   ? kSshPort
               : channel == ChannelKind::mac ? kNtpPort
               : channel == ChannelKind::nts ? kNtsPort
                                             : kTlsPort;
    }

    void take_stdio(const Value& entry)
    {
        draft_.tunnel.stdio = draft_.tunnel.channel == ChannelKind::ssh && is(Role::server);
        draft_.tunnel.stdio_line = entry.place().at.line;
        draft_.tunnel.stdio_column = entry.place().at.column;
        if (!draft_.tunnel.stdio) {
            report_.error(entry.place(), "stdio belongs to the server role of channel ssh (expected ADDRESS:PORT)");
        }
    }

    void read_client_side()
    {
        if (is(Role::server)) {
            for (const auto* key : {"connect", "source-port", "forward-kod", "forward-unsynchronised"}) {
                refuse_other_role(section_, key, Role::client, report_);
            }
            if (draft_.tunnel.channel == ChannelKind::mac || is_nts()) {
                read_clients(); // nobody connects: whoever sends a datagram asks
            } else {
                refuse_other_role(section_, "clients", Role::client, report_);
            }
            return;
        }
        read_clients();
        read_connect();
        section_.flag("forward-kod", draft_.tunnel.forward_kod);
        section_.flag("forward-unsynchronised", draft_.tunnel.forward_unsynchronised);
        read_source_port(section_.find("source-port"), report_, draft_.tunnel);
    }

    void read_clients()
    {
        for (const auto& entry : read_list(section_.find("clients"), report_, ListForm::list_or_one)) {
            const auto text = read_text(entry, report_, "ADDRESS/BITS, such as 10.0.0.0/8");
            if (!text) {
                continue;
            }
            const auto parsed = parse_address_block(*text);
            if (const auto* refused = std::get_if<Refused>(&parsed)) {
                report_.error(entry.place(), shown(*text) + " " + refused->why);
            } else {
                draft_.tunnel.clients.push_back(std::get<AddressBlock>(parsed));
            }
        }
        const auto& listen = draft_.tunnel.listen;
        for (std::size_t at = 0; is(Role::client) && !section_.has("clients") && at < listen.size(); ++at) {
            if (!listen[at].is_loopback()) {
                report_.error(draft_.listen_places[at],
                              fmt::format("{} is not a loopback address (expected clients: with the blocks that may "
                                          "ask, or an address such as 127.0.0.2:123)",
                                          listen[at].text()));
            }
        }
    }

    void read_connect()
    {
        constexpr std::string_view kForm = "HOST:PORT, such as ntp-gw.example.org:4461";
        if (is(Role::client) && !section_.has("connect")) {
            missing("connect", kForm);
        }
        for (const auto& entry : read_list(section_.find("connect"), report_, ListForm::list_or_one)) {
            const auto text = read_text(entry, report_, kForm);
            if (!text) {
                continue;
            }
            auto parsed = parse_target(*text, default_port());
            if (const auto* refused = std::get_if<Refused>(&parsed)) {
                report_.error(entry.place(), shown(*text) + " " + refused->why);
                continue;
            }
            draft_.tunnel.connect.push_back(std::move(std::get<Target>(parsed)));
            draft_.connect_places.push_back(entry.place());
        }
    }

    [[nodiscard]] bool is_nts() const noexcept { return draft_.tunnel.channel == ChannelKind::nts; }

    void read_blocks()
    {
        if (no_choice_) {
            for (const auto* key : {"tls", "dtls", "ssh", "mac", "nts"}) {
                (void)section_.find(key); // what they would have to hold depends on the channel
            }
            return;
        }
        if (is_nts()) {
            read_nts_blocks(section_, context_, draft_);
            return;
        }
        if (const auto nts = section_.find("nts")) {
            report_.error(nts.place(), fmt::format("belongs to channel nts (this tunnel's channel is {})",
                                                   name(draft_.tunnel.channel)));
        }
        const auto tls = section_.find("tls");
        draft_.tls_place = section_.place("tls");
        // Under a channel of another kind nothing more can be said of the block than what it holds.
        if (tls || !other_channel_) {
            read_tls(tls, context_, draft_);
        }
        read_dtls(section_.find("dtls"), context_, draft_);
        const bool is_mac = draft_.tunnel.channel == ChannelKind::mac;
        if (is_mac && tls) {
            report_.error(draft_.tls_place, "has no use under channel mac (expected none, or channel: tls)");
        }
        if (is_mac && !section_.has("mac")) {
            missing("mac", "keys: and key: or trusted:");
        }
        read_mac(section_.find("mac"), context_, draft_);
        const auto ssh = section_.find("ssh");
        if (draft_.tunnel.channel == ChannelKind::ssh) {
            draft_.tls_place = section_.place("ssh");
            read_ssh(ssh, context_, draft_);
            if (tls) {
                report_.warning(tls.place(), "has no effect under channel ssh");
            }
        } else if (ssh) {
            report_.warning(ssh.place(), fmt::format("has no effect under channel {}", name(draft_.tunnel.channel)));
        }
    }

    const LoadContext& context_;
    Report& report_;
    std::size_t errors_before_; // the section reports what is not in this version as soon as it is read
    Section section_;
    TunnelDraft draft_;
    bool other_channel_ = false; // not tls, or not known to be
    bool no_choice_ = false;     // there are blocks, and the profile has no channel for them
};

} // namespace

TunnelDraft read_tunnel(const Value& entry, const LoadContext& context)
{
    return TunnelReader{entry, context}.read();
}

void read_limits(const Value& block, Report& report, const Limits* ceiling, Limits& limits)
{
    Section section{block, report};
    for (const auto& limit : kLimits) {
        auto& target = limits.*limit.member;
        section.number(limit.word, {0, 10'000'000}, target);
        const auto highest = ceiling == nullptr ? 0 : ceiling->*limit.member;
        if (highest != 0 && (target == 0 || target > highest)) {
            report.error(section.place(limit.word),
                         fmt::format("{} is above the process's limit (expected 1 to {}, as limits.{} says)",
                                     target == 0 ? "no limit" : std::to_string(target), highest, limit.word));
        }
    }
    section.finish();
}

void refuse_other_role(Section& section, std::string_view key, Role role, Report& report)
{
    const auto value = section.find(key);
    if (value) {
        report.error(value.place(), fmt::format("belongs to role {} (this tunnel's role is {})", name(role),
                                                name(role == Role::client ? Role::server : Role::client)));
    }
}

} // namespace gateway
