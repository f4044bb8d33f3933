// What only a laboratory may ask for: a clock that tells another time, and faults on purpose.
#include <array>

#include <fmt/format.h>

#include "gateway/address.hpp"
#include "gateway/config_tunnel.hpp"
#include "gateway/config_values.hpp"

namespace gateway {

namespace {

constexpr DurationRange kDispersions{milliseconds{0}, std::chrono::hours{18}}; // what 16.16 seconds can say
constexpr DurationRange kDelays{milliseconds{1}, milliseconds{4000}};
constexpr std::uint64_t kHighestStratum = 15;
constexpr std::uint64_t kLabStratum = 16; // 0 and 16: not synchronised (RFC 5905 figure 11)

/// Whether the profile is for a laboratory; otherwise `value`, when it is written, is refused.
bool belongs(const Value& value, const LoadContext& context)
{
    if (value && !context.profile.lab) {
        context.report.error(value.place(), fmt::format("belongs to profile lab, and this one is {} (expected nothing, "
                                                        "or profile: lab)",
                                                        context.profile.name));
    }
    return value && context.profile.lab;
}

void read_offset(const Value& value, Report& report, milliseconds& offset)
{
    constexpr std::string_view kForm = "a duration, with - when the clock shall be behind";
    const auto text = read_text(value, report, kForm);
    if (!text) {
        return;
    }
    const bool behind = text->starts_with('-');
    const auto parsed = parse_duration(std::string_view{*text}.substr(behind ? 1 : 0));
    if (const auto* refused = std::get_if<Refused>(&parsed)) {
        report.error(value.place(), refused->why);
        return;
    }
    offset = std::get<milliseconds>(parsed) * (behind ? -1 : 1);
}

class FaultReader {
public:
    FaultReader(const Value& block, const LoadContext& context, TunnelDraft& draft)
        : report_(context.report), tunnel_(draft.tunnel), section_(block, context.report)
    {}

    void read()
    {
        section_.duration("delay", kDelays, faults_.delay);
        if (faults_.delay >= tunnel_.timing.max_round_trip) {
            report_.error(section_.place("delay"),
                          fmt::format("is not below timing.max-round-trip ({}), after which no "
                                      "reply leaves",
                                      duration_text(tunnel_.timing.max_round_trip)));
        }
        read_digest(section_.find("mac-digest"));
        section_.flag("wrong-origin", faults_.wrong_origin);
        section_.flag("unsolicited", faults_.unsolicited);
        read_broadcast(section_.find("broadcast"));
        const auto place = section_.place("");
        section_.finish();
        const auto texts = faults_.texts();
        if (!texts.empty()) {
            report_.warning(place, fmt::format("deliberate faults: {}", fmt::join(texts, ", ")));
        }
        tunnel_.faults = faults_;
    }

private:
    void read_digest(const Value& value)
    {
        const auto word = read_text(value, report_, "a digest of key files, such as SHA1");
        if (!word) {
            return;
        }
        faults_.mac_digest = ntp_shim::digest_named(*word);
        if (!faults_.mac_digest) {
            report_.error(value.place(), fmt::format("{} is no digest (expected MD5, SHA1, SHA256, SHA384, SHA512, "
                                                     "AES128 or AES256)",
                                                     shown(*word)));
        } else if (!tunnel_.mac) {
            report_.error(value.place(), "has no MAC to spoil (expected a mac: block)");
        } else {
            tunnel_.mac->rules.seal_with = faults_.mac_digest;
        }
    }

    void read_broadcast(const Value& value)
    {
        const auto text = read_text(value, report_, "ADDRESS:PORT, such as 192.0.2.255:123");
        if (!text) {
            return;
        }
        const auto parsed = parse_socket_address(*text);
        if (const auto* refused = std::get_if<Refused>(&parsed)) {
            report_.error(value.place(), shown(*text) + " " + refused->why);
            return;
        }
        if (tunnel_.stdio) {
            report_.error(value.place(),
                          "is not for listen: stdio, which is there for one peer only (expected none, or "
                          "a tunnel that run serves)");
        }
        faults_.broadcast = std::get<SocketAddress>(parsed);
        if (faults_.broadcast->port() == 0 || faults_.broadcast->is_any()) {
            report_.error(value.place(), shown(*text) + " can not be sent to (expected one address and a port)");
        }
    }

    Report& report_;
    Tunnel& tunnel_;
    Section section_;
    LabFaults faults_;
};

} // namespace

void read_clock(const Value& block, const LoadContext& context, TunnelDraft& draft)
{
    Section keys{block, context.report};
    ClockUpstream settings;
    const bool lab = context.profile.lab;
    keys.number("stratum", {lab ? 0U : 1U, lab ? kLabStratum : kHighestStratum}, settings.stratum);
    keys.flag("free-running", settings.free_running);
    if (const auto offset = keys.find("offset"); belongs(offset, context)) {
        read_offset(offset, context.report, settings.offset);
    }
    if (const auto leap = keys.find("leap"); belongs(leap, context)) {
        settings.leap = static_cast<std::uint8_t>(read_number(leap, context.report, {0, 3}).value_or(0));
    }
    if (const auto dispersion = keys.find("root-dispersion"); belongs(dispersion, context)) {
        settings.root_dispersion =
            read_duration(dispersion, context.report, kDispersions).value_or(settings.root_dispersion);
    }
    keys.finish();
    draft.tunnel.upstream = settings;
}

void read_faults(const Value& block, const LoadContext& context, TunnelDraft& draft)
{
    if (!belongs(block, context)) {
        return;
    }
    if (!draft.has_role || draft.tunnel.role == Role::client) {
        context.report.error(block.place(), "belongs to role server (this tunnel's role is client)");
        return;
    }
    FaultReader{block, context, draft}.read();
}

std::vector<std::string> LabFaults::texts() const
{
    std::vector<std::string> out;
    if (delay != milliseconds::zero()) {
        out.push_back("delay " + duration_text(delay));
    }
    if (mac_digest) {
        out.push_back(fmt::format("mac-digest {}", name(*mac_digest)));
    }
    if (wrong_origin) {
        out.emplace_back("wrong-origin");
    }
    if (unsolicited) {
        out.emplace_back("unsolicited");
    }
    if (broadcast) {
        out.push_back("broadcast to " + broadcast->text());
    }
    return out;
}

} // namespace gateway
