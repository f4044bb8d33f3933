#include <array>
#include <utility>

#include <fmt/format.h>

#include "gateway/config_tunnel.hpp"
#include "gateway/config_values.hpp"
#include "gateway/mac_keys.hpp"

namespace gateway {

namespace {

using ntp_shim::KeyFormat;
using ntp_shim::OnBadMac;
using ntp_shim::Unauthenticated;

constexpr std::array<Choice<KeyFormat>, 3> kFormatWords{
    {{"auto", KeyFormat::automatic}, {"ntp", KeyFormat::ntp}, {"chrony", KeyFormat::chrony}}};
constexpr std::array<Choice<Unauthenticated>, 2> kUnauthenticatedWords{
    {{"refuse", Unauthenticated::refuse}, {"serve", Unauthenticated::serve}}};
constexpr std::array<Choice<OnBadMac>, 2> kOnBadMacWords{{{"silence", OnBadMac::silence}, {"nak", OnBadMac::nak}}};
constexpr NumberRange kKeyIds{1, 0xffffffff};
constexpr NumberRange kVersions{3, 4};
constexpr NumberRange kSourcePorts{1024, 65535}; // the privilege for lower ones is gone by the time of a request

class MacReader {
public:
    MacReader(const Value& block, const LoadContext& context, TunnelDraft& draft)
        : context_(context), report_(context.report), draft_(draft), section_(block, context.report)
    {}

    void read()
    {
        if (!section_.usable()) {
            return;
        }
        const auto errors_before = report_.errors();
        settings_.digests = context_.profile.digests;
        settings_.demand = context_.profile.demands.mac;
        settings_.owners = context_.owners;
        section_.choice("format", std::span<const Choice<KeyFormat>>{kFormatWords}, settings_.format);
        read_file();
        draft_.tunnel.role == Role::client ? read_client() : read_server();
        const auto keys_place = section_.place("keys");
        section_.finish();
        draft_.tunnel.mac = std::move(settings_);
        if (draft_.has_role && report_.errors() == errors_before) {
            load(keys_place);
        }
    }

private:
    void missing(std::string_view key, std::string_view expected)
    {
        report_.error(section_.place(key), fmt::format("is missing (expected {})", expected));
    }

    void read_file()
    {
        const auto keys = section_.find("keys");
        if (!section_.has("keys")) {
            missing("keys", "the path of a key file, ntpd's or chrony's");
        } else if (const auto text = read_text(keys, report_, "the path of a file")) {
            settings_.keys = (context_.base / *text).lexically_normal();
        }
    }

    void read_ids(std::string_view key)
    {
        for (const auto& entry : read_list(section_.find(key), report_, ListForm::list_or_one)) {
            const auto id = read_number(entry, report_, kKeyIds);
            if (!id) {
                continue;
            }
            const auto number = static_cast<std::uint32_t>(*id);
            if (std::find(settings_.ids.begin(), settings_.ids.end(), number) != settings_.ids.end()) {
                report_.error(entry.place(), fmt::format("{} is listed twice", number));
            }
            settings_.ids.push_back(number);
        }
    }

    void read_client()
    {
        for (const auto* key : {"trusted", "unauthenticated", "on-bad-mac"}) {
            refuse_other_role(section_, key, Role::server, report_);
        }
        if (!section_.has("key")) {
            missing("key", "the id of a key, or ids of which the first in the file is used");
        }
        read_ids("key");
        section_.number("version", kVersions, settings_.version);
    }

    void read_server()
    {
        if (const auto key = section_.find("key")) {
            report_.error(key.place(), "belongs to role client (expected trusted: with the ids that are accepted)");
        }
        refuse_other_role(section_, "version", Role::client, report_);
        if (!section_.has("trusted")) {
            report_.warning(section_.place("keys"),
                            "every key of the file is accepted (trusted: names those that are)");
        }
        read_ids("trusted");
        section_.choice("unauthenticated", std::span<const Choice<Unauthenticated>>{kUnauthenticatedWords},
                        settings_.rules.unauthenticated);
        section_.choice("on-bad-mac", std::span<const Choice<OnBadMac>>{kOnBadMacWords}, settings_.rules.on_bad_mac);
        if (settings_.rules.unauthenticated == Unauthenticated::serve) {
            report_.warning(section_.place("unauthenticated"),
                            "serve: requests without a MAC are answered without one");
        }
        if (draft_.tunnel.channel != ChannelKind::mac && section_.has("on-bad-mac")) {
            report_.warning(section_.place("on-bad-mac"), "has no effect on an inner seal");
        }
    }

    /// Reads the key file as `run` will.
    void load(const Place& place)
    {
        const auto loaded = load_mac_keys(draft_.tunnel);
        auto& settings = *draft_.tunnel.mac;
        for (const auto& error : loaded.errors) {
            if (error.line == 0) {
                report_.error(place, fmt::format("{} {}", shown(settings.keys.string()), error.text));
            } else {
                report_.add({settings.keys.string(), error.line, 0, place.key, error.text});
            }
        }
        for (const auto& remark : loaded.remarks) {
            const auto where = remark.line == 0 ? std::string{} : fmt::format(" line {}", remark.line);
            report_.warning(place, fmt::format("{}{}: {}", shown(settings.keys.string()), where, remark.text));
        }
        if (loaded.ring) {
            for (const auto& key : loaded.ring->keys()) {
                settings.loaded.push_back({key->id(), std::string{name(key->kind())}, key->check_value()});
            }
        }
    }

    const LoadContext& context_;
    Report& report_;
    TunnelDraft& draft_;
    Section section_;
    MacSettings settings_;
};

} // namespace

void read_mac(const Value& block, const LoadContext& context, TunnelDraft& draft)
{
    MacReader{block, context, draft}.read();
}

void read_source_port(const Value& value, Report& report, Tunnel& tunnel)
{
    if (!value) {
        return;
    }
    if (tunnel.channel != ChannelKind::mac && tunnel.channel != ChannelKind::nts) {
        report.error(value.place(), fmt::format("belongs to channels mac and nts (expected no source-port under {})",
                                                name(tunnel.channel)));
        return;
    }
    if (value.node->kind == YamlNode::Kind::scalar && value.node->text == "random") {
        return;
    }
    if (const auto port = read_number(value, report, kSourcePorts)) {
        tunnel.source_port = static_cast<std::uint16_t>(*port);
        report.warning(value.place(),
                       "every request leaves from one port, which is known to who wants to forge replies "
                       "(recommended: random, as RFC 9109 has it)");
    }
}

} // namespace gateway
