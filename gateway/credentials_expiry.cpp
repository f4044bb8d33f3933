#include "gateway/credentials.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace gateway {

namespace {

using transports::Nanoseconds;

constexpr Nanoseconds kWarnBefore = std::chrono::hours{24 * 30};

/// Of one that was made for a short time, the last third.
Nanoseconds warn_before(const transports::HeldCertificate& certificate)
{
    return std::min(kWarnBefore, (certificate.valid_until - certificate.valid_from) / 3);
}

/// "ends 2031-12-31 23:59:59 UTC, in 12 days"; empty when that is far.
std::string ending(const transports::HeldCertificate& certificate, Nanoseconds now)
{
    const Nanoseconds end = certificate.valid_until;
    if (end - now > warn_before(certificate)) {
        return {};
    }
    const auto hours = std::chrono::duration_cast<std::chrono::hours>(end - now).count();
    if (end <= now) {
        return fmt::format("ended {}", transports::calendar(end));
    }
    return fmt::format("ends {}, in {} {}", transports::calendar(end), hours < 48 ? hours : hours / 24,
                       hours < 48 ? "hours" : "days");
}

} // namespace

std::vector<CarrierProblem> expiry_warnings(const Tunnel& tunnel, const transports::TlsInventory& held)
{
    const Nanoseconds now = transports::read_wall();
    std::vector<CarrierProblem> out;
    const auto consider = [&](const char* setting, const transports::HeldCertificate& certificate) {
        if (const auto when = ending(certificate, now); !when.empty()) {
            out.push_back({"tls", setting, fmt::format("{} {}", certificate.subject, when)});
        }
    };
    if (held.own) {
        consider("certificate", *held.own);
    }
    for (const auto& certificate : held.chain) {
        consider("certificate", certificate);
    }
    if (tunnel.tls.ca) { // what the system trusts is for the system to renew
        for (const auto& anchor : held.anchors) {
            consider("ca", anchor);
        }
    }
    for (const auto& list : held.lists) {
        if (list.next_update && *list.next_update <= now) {
            out.push_back({"tls", "crl",
                           fmt::format("the list of {} should have been followed by another on {}", list.issuer,
                                       transports::calendar(*list.next_update))});
        }
    }
    return out;
}

} // namespace gateway
