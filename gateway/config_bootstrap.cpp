#include <fmt/format.h>

#include "gateway/config_files.hpp"
#include "gateway/config_tunnel.hpp"
#include "gateway/config_values.hpp"
#include "gateway/good_time.hpp"

namespace gateway {

namespace {

using transports::CertificateClock;

void judge_file(const Value& value, const LoadContext& context, TunnelDraft& draft)
{
    const auto& file = *draft.tunnel.last_good_time;
    std::error_code none;
    if (!std::filesystem::is_directory(file.parent_path(), none)) {
        context.report.error(value.place(), fmt::format("{} is in no folder (expected one that ntpgate may write to)",
                                                        shown(file.string())));
        return;
    }
    if (!std::filesystem::exists(file, none)) {
        return; // made when there is a time to write
    }
    // Who can write it can take the bound away: it is kept like a secret.
    auto verdict = judge_secret({file, context.owners});
    if (verdict.error) {
        context.report.error(value.place(), std::move(*verdict.error));
        return;
    }
    const auto read = read_good_time(file);
    if (const auto* why = std::get_if<std::string>(&read)) {
        context.report.error(value.place(), fmt::format("{}: {} (expected a file as ntpgate writes it; delete it to "
                                                        "begin anew from the build date)",
                                                        shown(file.string()), *why));
    } else {
        draft.tunnel.tls.clock->raise_floor(std::get<std::chrono::seconds>(read));
    }
}

} // namespace

void read_bootstrap(Section& section, bool chosen, const LoadContext& context, TunnelDraft& draft)
{
    const auto file = section.find("last-good-time");
    if (!chosen) {
        if (file) {
            context.report.error(file.place(), "is for certificate-time: bootstrap");
        }
        return;
    }
    if (draft.has_role && draft.tunnel.role == Role::server) {
        context.report.error(section.place("certificate-time"),
                             "bootstrap is for a client role, which learns the time through its channel (expected "
                             "strict or unchecked)");
        return;
    }
    draft.tunnel.tls.clock = std::make_shared<CertificateClock>(build_time());
    if (const auto text = read_text(file, context.report, "the path of a file")) {
        draft.tunnel.last_good_time = (context.base / *text).lexically_normal();
        judge_file(file, context, draft);
    } else if (!section.has("last-good-time")) {
        context.report.warning(section.place("certificate-time"),
                               "bootstrap without last-good-time: only the build date bounds the time that is believed "
                               "at start");
    }
}

} // namespace gateway
