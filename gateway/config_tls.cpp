#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "gateway/address.hpp"
#include "gateway/claim_rules.hpp"
#include "gateway/config_files.hpp"
#include "gateway/config_tunnel.hpp"
#include "gateway/config_values.hpp"
#include "gateway/config_words.hpp"

namespace gateway {

namespace {

using Words = std::vector<std::string>;
using transports::ClientCertificate;
using transports::Ocsp;
using transports::Revocation;

constexpr std::string_view kAlpn = "ntpgate/1";
constexpr std::string_view kNtsAlpn = "ntske/1"; // RFC 8915 section 4
constexpr std::array<std::string_view, 5> kIdentityForms = {"DNS:", "IP:", "URI:", "EMAIL:", "SPKI-SHA256:"};
template <typename Item>
bool holds(const std::vector<Item>& items, const Item& item)
{
    return std::find(items.begin(), items.end(), item) != items.end();
}

// TLS 1.3 suites name no key exchange (RFC 8446 appendix B.4). DTLS 1.2 has those of TLS 1.2.
std::string_view version_of_suite(std::string_view suite, bool datagrams) noexcept
{
    if (suite.find("_WITH_") == std::string_view::npos) {
        return "TLS1.3";
    }
    return datagrams ? "DTLS1.2" : "TLS1.2";
}

struct Narrowing {
    std::string_view key;
    Words transports::TlsPolicy::*list;
    std::string (*why_unusable)(const std::string&); // absent for versions
};
constexpr std::array kNarrowings = {
    Narrowing{"versions", &transports::TlsPolicy::versions, nullptr},
    Narrowing{"suites", &transports::TlsPolicy::suites, &transports::why_unusable_suite},
    Narrowing{"groups", &transports::TlsPolicy::groups, &transports::why_unusable_group},
    Narrowing{"signatures", &transports::TlsPolicy::signatures, &transports::why_unusable_signature},
};
constexpr std::array<std::string_view, 15> kTlsKeys = {"ca",
                                                       "certificate",
                                                       "key",
                                                       "server-name",
                                                       "crl",
                                                       "revocation",
                                                       "ocsp",
                                                       "versions",
                                                       "suites",
                                                       "groups",
                                                       "signatures",
                                                       "allow",
                                                       "client-certificate",
                                                       "certificate-time",
                                                       "last-good-time"};

class TlsReader {
public:
    TlsReader(const Value& block, const LoadContext& context, TunnelDraft& draft)
        : context_(context), report_(context.report), draft_(draft), settings_(draft.tunnel.tls), block_(block),
          section_(block, context.report)
    {}

    void read()
    {
        if (block_ && !section_.usable()) {
            return;
        }
        settings_.role = is(Role::server) ? transports::TlsRole::server : transports::TlsRole::client;
        settings_.datagrams = draft_.tunnel.channel == ChannelKind::dtls;
        if (is_nts()) {
            settings_.alpn = std::string{kNtsAlpn};
            settings_.client_certificate = ClientCertificate::none; // the world may ask
        } else if (draft_.tunnel.framing == Framing::v1) {
            settings_.alpn = std::string{kAlpn};
        }
        read_files();
        read_revocation();
        read_certificate_time();
        read_server_name();
        read_peers();
        read_policy();
        for (const auto key : kTlsKeys) {
            draft_.tls_places.emplace(key, place(key));
        }
        section_.finish();
    }

private:
    [[nodiscard]] bool is(Role role) const noexcept { return draft_.has_role && draft_.tunnel.role == role; }

    [[nodiscard]] bool is_nts() const noexcept { return draft_.tunnel.channel == ChannelKind::nts; }

    [[nodiscard]] Place place(std::string_view key) const
    {
        if (block_) {
            return section_.place(key);
        }
        return {draft_.place.at, fmt::format("{}.{}", draft_.tls_place.key, key)};
    }

    void missing(std::string_view key, std::string_view expected)
    {
        report_.error(place(key), fmt::format("is missing (expected {})", expected));
    }

    std::optional<std::filesystem::path> path(const Value& value, std::string_view expected)
    {
        const auto text = read_text(value, report_, expected);
        if (!text) {
            return std::nullopt;
        }
        return (context_.base / *text).lexically_normal();
    }

    std::optional<std::filesystem::path> readable(const Value& value, FileKind kind, std::string_view expected)
    {
        auto found = path(value, expected);
        if (found) {
            if (auto why = why_unreadable(*found, kind)) {
                report_.error(value.place(), std::move(*why));
            }
        }
        return found;
    }

    void read_files()
    {
        settings_.ca = readable(section_.find("ca"), FileKind::file_or_directory, "a file or directory of PEM");
        settings_.certificate = readable(section_.find("certificate"), FileKind::file, "a file of PEM, leaf first");
        const auto key = section_.find("key");
        settings_.key = path(key, "the path of a file");
        if (settings_.key) {
            judge_key(key);
        }
        const bool certificate = section_.has("certificate");
        if (is(Role::server) && !certificate) {
            missing("certificate", "a file of PEM, leaf first");
        }
        if ((is(Role::server) || certificate) && !section_.has("key")) {
            missing("key", "the certificate's private key");
        }
        if (is(Role::client) && section_.has("key") && !certificate) {
            missing("certificate", "the certificate of this key");
        }
        for (const auto& entry : read_list(section_.find("crl"), report_, ListForm::list_or_one)) {
            if (auto file = readable(entry, FileKind::file_or_directory, "a file or directory of PEM")) {
                settings_.crl.push_back(std::move(*file));
            }
        }
    }

    void judge_key(const Value& key)
    {
        draft_.tunnel.secret_owners = context_.owners;
        draft_.tunnel.group_readable_keys = context_.profile.group_readable_keys;
        auto verdict = judge_secret({*settings_.key, context_.owners});
        if (verdict.error) {
            report_.error(key.place(), std::move(*verdict.error));
        } else if (verdict.group_readable && context_.profile.group_readable_keys) {
            report_.warning(key.place(), fmt::format("{} can be read by its group", shown(settings_.key->string())));
        } else if (verdict.group_readable) {
            report_.error(key.place(), fmt::format("{}{} can be read by its group, which profile {} refuses (expected "
                                                   "mode 0600)",
                                                   demanded_by(context_.profile.demands.keys),
                                                   shown(settings_.key->string()), context_.profile.name));
        }
    }

    void refuse_choice(const Place& where, const std::string& requirement, std::string_view word)
    {
        report_.error(where, fmt::format("{}{} is not allowed by profile {}", demanded_by(requirement), word,
                                         context_.profile.name));
    }

    void read_revocation()
    {
        settings_.revocation = context_.profile.revocation;
        section_.choice("revocation", std::span<const Choice<Revocation>>{kRevocationWords}, settings_.revocation);
        const auto& allowed = context_.profile.revocation_choices;
        if (!allowed.empty() && !holds(allowed, settings_.revocation)) {
            refuse_choice(place("revocation"), context_.profile.demands.certificates, name(settings_.revocation));
        }
        section_.choice("ocsp", std::span<const Choice<Ocsp>>{kOcspWords}, settings_.ocsp);
        const bool asks = settings_.ocsp == Ocsp::fetch || (settings_.ocsp == Ocsp::staple && is(Role::client));
        if (settings_.revocation == Revocation::require && !section_.has("crl") && !asks) {
            report_.error(place("revocation"), "require has nothing to look in (expected crl: with the authorities' "
                                               "lists, or ocsp:)");
        }
        if (settings_.revocation == Revocation::none && is(Role::client) && settings_.ocsp != Ocsp::none) {
            report_.warning(place("ocsp"), "has no effect under revocation: none");
        }
    }

    void read_certificate_time()
    {
        auto time = CertificateTime::strict;
        section_.choice("certificate-time", std::span<const Choice<CertificateTime>>{kCertificateTimeWords}, time);
        const auto& allowed = context_.profile.certificate_time;
        if (section_.has("certificate-time") && !holds(allowed, time)) {
            refuse_choice(place("certificate-time"), context_.profile.demands.certificates, name(time));
        }
        settings_.check_time = time != CertificateTime::unchecked;
        if (!settings_.check_time) {
            report_.warning(place("certificate-time"), "unchecked: expired certificates are accepted");
        }
        read_bootstrap(section_, time == CertificateTime::bootstrap, context_, draft_);
        if (settings_.clock && settings_.ocsp != Ocsp::none) {
            report_.error(place("ocsp"),
                          "has no time to judge responses by under certificate-time: bootstrap (expected "
                          "none, and crl)");
        }
    }

    void read_server_name()
    {
        if (is(Role::server)) {
            refuse_other_role(section_, "server-name", Role::client, report_);
            return;
        }
        const auto value = section_.find("server-name");
        auto text = read_text(value, report_, "a host name or address");
        if (text && !is_host_name(*text) && !numeric_host(*text, 0)) {
            report_.error(value.place(), shown(*text) + " is not a host name (expected a name or numeric address, "
                                                        "without port)");
        } else if (text) {
            draft_.tunnel.server_name = std::move(*text);
        }
    }

    // Who may be a peer of the server role.
    void read_peers()
    {
        if (is(Role::client)) {
            refuse_other_role(section_, "client-certificate", Role::server, report_);
            refuse_other_role(section_, "allow", Role::server, report_);
            return;
        }
        const auto demand = section_.find("client-certificate");
        if (const auto read =
                read_choice(demand, report_, std::span<const Choice<ClientCertificate>>{kClientCertificateWords})) {
            settings_.client_certificate = *read;
            check_demand(demand);
        }
        read_allow();
        if (!is(Role::server)) {
            return;
        }
        const bool asked = settings_.client_certificate != ClientCertificate::none;
        if (asked && !section_.has("ca")) {
            missing("ca", "the authorities of the clients, or client-certificate: none");
        }
        if (asked && section_.has("ca") && !section_.has("allow")) {
            report_.warning(place("ca"), "every certificate of ca is admitted (allow: names those that may connect)");
        }
        if (!asked && section_.has("allow")) {
            report_.error(place("allow"), "has nothing to look at under client-certificate: none (expected required "
                                          "or optional)");
        }
    }

    void check_demand(const Value& demand)
    {
        const auto& allowed = context_.profile.client_certificate;
        const bool fits = holds(allowed, settings_.client_certificate);
        // Nothing of the raw pipeline can be asked to present what it never had (design 8).
        if (!fits && draft_.tunnel.framing != Framing::raw) {
            refuse_choice(demand.place(), context_.profile.demands.client_certificate,
                          name(settings_.client_certificate));
        } else if (settings_.client_certificate != ClientCertificate::required) {
            report_.warning(demand.place(), "peers without a certificate are served");
        }
    }

    void read_allow()
    {
        for (const auto& entry : read_list(section_.find("allow"), report_, ListForm::list)) {
            auto text = read_text(entry, report_, "DNS:, IP:, URI:, EMAIL: or SPKI-SHA256: and a value");
            if (!text) {
                continue;
            }
            const auto form = std::find_if(kIdentityForms.begin(), kIdentityForms.end(),
                                           [&](std::string_view prefix) { return text->starts_with(prefix); });
            const auto value = form == kIdentityForms.end() ? std::string{} : text->substr(form->size());
            const bool address = form != kIdentityForms.end() && *form == "IP:";
            if (value.empty() || (address && !numeric_host(value, 0))) {
                report_.error(entry.place(), fmt::format("{} is not an identity (expected {} and a value)",
                                                         shown(*text), fmt::join(kIdentityForms, ", ")));
            } else {
                settings_.allow.push_back(std::move(*text));
            }
        }
    }

    // A profile says of dtls only what differs from tls.
    [[nodiscard]] transports::TlsPolicy offer() const
    {
        auto policy = context_.profile.tls;
        if (settings_.datagrams) {
            policy.versions = context_.profile.dtls.versions;
            policy.suites = context_.profile.dtls.suites;
        }
        if (is_nts()) { // RFC 8915 section 3
            std::erase_if(policy.versions, [](const std::string& version) { return version != "TLS1.3"; });
        }
        return policy;
    }

    void read_policy()
    {
        settings_.policy = offer();
        for (const auto& narrowing : kNarrowings) {
            narrow(narrowing);
        }
        auto& policy = settings_.policy;
        const auto unused = [&](const std::string& suite) {
            return !holds(policy.versions, std::string{version_of_suite(suite, settings_.datagrams)});
        };
        if (!section_.has("suites")) {
            std::erase_if(policy.suites, unused);
            return;
        }
        for (const auto& suite : policy.suites) {
            if (unused(suite)) {
                report_.error(place("suites"), fmt::format("{} is a suite of {}, which versions does not offer", suite,
                                                           version_of_suite(suite, settings_.datagrams)));
            }
        }
        for (const auto& version : policy.versions) {
            if (!policy.suites.empty() &&
                std::none_of(policy.suites.begin(), policy.suites.end(), [&](const std::string& suite) {
                    return version_of_suite(suite, settings_.datagrams) == version;
                })) {
                report_.error(place("suites"), fmt::format("{} has no suite left (expected one, or versions without "
                                                           "it)",
                                                           version));
            }
        }
    }

    void narrow(const Narrowing& narrowing)
    {
        const auto value = section_.find(narrowing.key);
        if (!value) {
            return;
        }
        const auto offer_now = offer();
        const auto& offered = offer_now.*narrowing.list;
        Words kept;
        for (const auto& entry : read_list(value, report_, ListForm::list)) {
            auto word = read_text(entry, report_, "an IANA name");
            if (!word) {
                continue;
            }
            if (!holds(offered, *word)) {
                refuse_word(entry, *word, narrowing);
            } else if (holds(kept, *word)) {
                report_.error(entry.place(), shown(*word) + " is listed twice");
            } else {
                kept.push_back(std::move(*word));
            }
        }
        settings_.policy.*narrowing.list = std::move(kept);
    }

    void refuse_word(const Value& entry, const std::string& word, const Narrowing& narrowing)
    {
        const auto& demands = context_.profile.demands;
        const auto& demand = draft_.tunnel.channel == ChannelKind::dtls ? demands.dtls : demands.tls;
        const auto why = narrowing.why_unusable == nullptr ? std::string{} : narrowing.why_unusable(word);
        report_.error(entry.place(),
                      fmt::format("{}{}{}{} is not offered by profile {}, which a tunnel may only narrow (expected "
                                  "among {})",
                                  demanded_by(demand), why, why.empty() ? "" : "; ", shown(word), context_.profile.name,
                                  fmt::join(offer().*narrowing.list, ", ")));
    }

    const LoadContext& context_;
    Report& report_;
    TunnelDraft& draft_;
    transports::TlsSettings& settings_;
    Value block_;
    Section section_;
};

} // namespace

void read_tls(const Value& block, const LoadContext& context, TunnelDraft& draft)
{
    TlsReader{block, context, draft}.read();
}

} // namespace gateway
