#include <fmt/format.h>

#include "gateway/address.hpp"
#include "gateway/claim_rules.hpp"
#include "gateway/config_tunnel.hpp"
#include "gateway/config_values.hpp"

namespace gateway {

namespace {

class UpstreamReader {
public:
    UpstreamReader(const LoadContext& context, TunnelDraft& draft)
        : context_(context), report_(context.report), draft_(draft)
    {}

    void read(const Value& upstream)
    {
        if (upstream && upstream.node->kind == YamlNode::Kind::map) {
            read_map(upstream);
        } else if (const auto text = read_text(upstream, report_, kUpstreamForm)) {
            read_word(*text, upstream);
        }
    }

    static constexpr std::string_view kUpstreamForm = "the NTP daemon's ADDRESS:PORT, or clock";

private:
    void read_word(const std::string& text, const Value& upstream)
    {
        if (text == "clock") {
            draft_.tunnel.upstream = ClockUpstream{};
            return;
        }
        const auto parsed = parse_socket_address(text);
        if (const auto* refused = std::get_if<Refused>(&parsed)) {
            report_.error(upstream.place(), shown(text) + " " + refused->why);
            return;
        }
        const auto& address = std::get<SocketAddress>(parsed);
        if (address.port() == 0 || address.is_any()) {
            report_.error(upstream.place(), shown(text) + " can not be asked (expected one address and a port)");
            return;
        }
        draft_.tunnel.upstream = DaemonUpstream{address};
    }

    void read_map(const Value& upstream)
    {
        Section forms{upstream, report_};
        const auto clock = forms.find("clock");
        const auto mirror = forms.find("mirror");
        if (clock) {
            read_clock(clock, context_, draft_);
        } else if (mirror) {
            read_mirror(forms, mirror);
        } else if (!forms.has("mirror") && !forms.has("clock")) {
            report_.error(upstream.place(), "names no upstream (expected {clock: {...}} or {mirror: ADDRESS:PORT})");
        }
        forms.finish();
    }

    void read_mirror(Section& forms, const Value& mirror)
    {
        constexpr std::string_view kForm = "ADDRESS:PORT of the NTP daemon on this host";
        const auto text = read_text(mirror, report_, kForm);
        MirrorUpstream settings;
        forms.duration("mirror-max-offset", {milliseconds{1}, milliseconds{1000}}, settings.max_offset);
        const auto parsed = parse_socket_address(text.value_or("0.0.0.0:0"));
        const auto* address = std::get_if<SocketAddress>(&parsed);
        if (text && (address == nullptr || address->port() == 0 || address->is_any())) {
            report_.error(mirror.place(), fmt::format("{} can not be asked (expected {})", shown(*text), kForm));
        } else if (text) {
            settings.address = *address;
            draft_.tunnel.upstream = settings;
        }
    }

    const LoadContext& context_;
    Report& report_;
    TunnelDraft& draft_;
};

} // namespace

void read_upstream(Section& tunnel, const LoadContext& context, TunnelDraft& draft)
{
    auto& report = context.report;
    if (draft.has_role && draft.tunnel.role == Role::client) {
        refuse_other_role(tunnel, "upstream", Role::server, report);
        refuse_other_role(tunnel, "upstream-unprotected", Role::server, report);
        return;
    }
    const auto upstream = tunnel.find("upstream");
    draft.upstream_place = tunnel.place("upstream");
    const bool may_be_absent = draft.tunnel.channel == ChannelKind::nts && !tunnel.has("listen");
    if (draft.has_role && !tunnel.has("upstream") && !may_be_absent) {
        report.error(draft.upstream_place, fmt::format("is missing (expected {})", UpstreamReader::kUpstreamForm));
    }
    UpstreamReader{context, draft}.read(upstream);
    tunnel.flag("upstream-unprotected", draft.tunnel.upstream_unprotected);
    if (draft.tunnel.upstream_unprotected && !context.profile.upstream_unprotected) {
        report.error(tunnel.place("upstream-unprotected"),
                     fmt::format("{}is not allowed by profile {} (expected false)",
                                 demanded_by(context.profile.demands.upstream), context.profile.name));
    }
}

} // namespace gateway
