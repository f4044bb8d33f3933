#include "gateway/profile.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "gateway/config_files.hpp"
#include "gateway/config_values.hpp"
#include "gateway/config_words.hpp"
#include "transports/tls_digest.hpp"

namespace gateway {

namespace {

using Words = std::vector<std::string>;
using Unusable = std::string (*)(const std::string&);

// A list of words without repetitions, each of which `unusable` (when given) has nothing against.
Words read_words(const Value& value, Report& report, Unusable unusable = nullptr, ListForm form = ListForm::list)
{
    Words words;
    for (const auto& entry : read_list(value, report, form)) {
        auto word = read_text(entry, report, "a name");
        if (!word) {
            continue;
        }
        if (std::find(words.begin(), words.end(), *word) != words.end()) {
            report.error(entry.place(), fmt::format("{} is listed twice", shown(*word)));
        } else if (const auto why = unusable == nullptr ? std::string{} : unusable(*word); !why.empty()) {
            report.error(entry.place(), fmt::format("{}: {}", shown(*word), why));
        } else {
            words.push_back(std::move(*word));
        }
    }
    return words;
}

template <typename Enum>
std::vector<Enum> read_choices(const Value& value, Report& report, std::span<const Choice<Enum>> choices)
{
    std::vector<Enum> chosen;
    for (const auto& entry : read_list(value, report, ListForm::list_or_none)) {
        if (const auto choice = read_choice(entry, report, choices)) {
            chosen.push_back(*choice);
        }
    }
    return chosen;
}

std::vector<ChannelKind> read_channels(const Value& value, Report& report)
{
    return read_choices(value, report, std::span<const Choice<ChannelKind>>{kChannelWords});
}

void require(Section& section, std::initializer_list<std::string_view> names, Report& report)
{
    for (const auto name : names) {
        if (section.usable() && !section.has(name)) {
            report.error(section.place(name), "is missing (expected in every profile)");
        }
    }
}

void read_claim(const Value& value, Report& report, ClaimRules& claim)
{
    Section section{value, report};
    require(section, {"rule", "claimable", "supplementary", "forbidden"}, report);
    claim.requirement = read_text(section.find("requirement"), report, "the requirement's name").value_or("");
    claim.rule = read_text(section.find("rule"), report, "a clause").value_or("");
    claim.claimable = read_channels(section.find("claimable"), report);
    claim.supplementary = read_channels(section.find("supplementary"), report);
    claim.forbidden = read_channels(section.find("forbidden"), report);
    const auto place = section.place("claimable");
    section.finish();
    for (const auto& word : kChannelWords) {
        const auto in = [&](const auto& list) { return std::count(list.begin(), list.end(), word.value); };
        if (in(claim.claimable) + in(claim.supplementary) + in(claim.forbidden) != 1) {
            report.error(place, fmt::format("channel {} must stand in exactly one of claimable, supplementary and "
                                            "forbidden",
                                            word.word));
        }
    }
}

void read_certificates(const Value& value, Report& report, Profile& profile)
{
    Section section{value, report};
    require(section, {"revocation", "certificate-time", "client-certificate"}, report);
    section.choice("revocation", std::span<const Choice<transports::Revocation>>{kRevocationWords}, profile.revocation);
    profile.revocation_choices = read_choices(section.find("revocation-choices"), report,
                                              std::span<const Choice<transports::Revocation>>{kRevocationWords});
    const auto& choices = profile.revocation_choices;
    if (!choices.empty() && std::find(choices.begin(), choices.end(), profile.revocation) == choices.end()) {
        report.error(section.place("revocation"), "is not among revocation-choices");
    }
    profile.certificate_time = read_choices(section.find("certificate-time"), report,
                                            std::span<const Choice<CertificateTime>>{kCertificateTimeWords});
    profile.client_certificate =
        read_choices(section.find("client-certificate"), report,
                     std::span<const Choice<transports::ClientCertificate>>{kClientCertificateWords});
    section.flag("wildcards", profile.tls.wildcards);
    section.number("min-rsa-bits", {2048, 16384}, profile.tls.min_rsa_bits);
    section.finish();
}

void read_demands(const Value& value, Report& report, Demands& demands)
{
    struct Demand {
        std::string_view key;
        std::string Demands::*member;
    };
    static constexpr std::array kDemands = {Demand{"tls", &Demands::tls},
                                            Demand{"dtls", &Demands::dtls},
                                            Demand{"ssh", &Demands::ssh},
                                            Demand{"mac", &Demands::mac},
                                            Demand{"certificates", &Demands::certificates},
                                            Demand{"client-certificate", &Demands::client_certificate},
                                            Demand{"upstream", &Demands::upstream},
                                            Demand{"keys", &Demands::keys}};
    Section section{value, report};
    for (const auto& demand : kDemands) {
        demands.*demand.member = read_text(section.find(demand.key), report, "the requirement's name").value_or("");
    }
    section.finish();
}

// What may be used must be known: a channel that is not forbidden has its lists.
void check_lists(const Section& section, Report& report, const Profile& profile)
{
    const auto forbidden = [&](ChannelKind channel) {
        const auto& list = profile.claim.forbidden;
        return std::find(list.begin(), list.end(), channel) != list.end();
    };
    for (const auto& word : kChannelWords) {
        if (section.usable() && !forbidden(word.value) && !section.has(word.word)) {
            report.error(section.place(word.word), "is missing (expected the channel's lists, or the channel among "
                                                   "those of claim.forbidden)");
        }
    }
    for (const auto channel : profile.order) {
        const auto& claimable = profile.claim.claimable;
        const bool told = std::find(claimable.begin(), claimable.end(), channel) != claimable.end();
        if (forbidden(channel) && !told) {
            report.error(section.place("order"), fmt::format("{} is forbidden", name(channel)));
        }
    }
}

void read_duties(const Value& value, Report& report, Profile& profile)
{
    Section section{value, report};
    section.flag("lab", profile.lab);
    section.flag("group-readable-keys", profile.group_readable_keys);
    section.flag("upstream-unprotected", profile.upstream_unprotected);
    section.finish();
}

void check_versions(const Value& value, Report& report, const Words& versions, std::span<const std::string_view> known)
{
    for (const auto& version : versions) {
        if (std::find(known.begin(), known.end(), version) == known.end()) {
            report.error(value.place(), fmt::format("{} is not among the choices (expected {})", shown(version),
                                                    fmt::join(known, " or ")));
        }
    }
}

void read_tls_offer(const Value& value, Report& report, transports::TlsPolicy& tls)
{
    static constexpr std::array<std::string_view, 2> kVersions = {"TLS1.3", "TLS1.2"};
    Section section{value, report};
    require(section, {"versions", "suites", "groups", "signatures", "extended-master-secret"}, report);
    const auto versions = section.find("versions");
    tls.versions = read_words(versions, report);
    check_versions(versions, report, tls.versions, kVersions);
    tls.suites = read_words(section.find("suites"), report, &transports::why_unusable_suite);
    tls.groups = read_words(section.find("groups"), report, &transports::why_unusable_group);
    tls.signatures = read_words(section.find("signatures"), report, &transports::why_unusable_signature);
    section.choice("extended-master-secret", std::span<const Choice<bool>>{kMasterSecretWords}, tls.demands_ems);
    section.finish();
}

void read_dtls_offer(const Value& value, Report& report, transports::TlsPolicy& dtls)
{
    static constexpr std::array<std::string_view, 1> kVersions = {"DTLS1.2"};
    Section section{value, report};
    require(section, {"versions", "suites"}, report);
    const auto versions = section.find("versions");
    dtls.versions = read_words(versions, report);
    check_versions(versions, report, dtls.versions, kVersions);
    dtls.suites = read_words(section.find("suites"), report, &transports::why_unusable_suite);
    section.finish();
}

void read_ssh_offer(const Value& value, Report& report, SshOffer& ssh)
{
    Section section{value, report};
    require(section, {"kex", "public-keys", "ciphers", "macs"}, report);
    ssh.kex = read_words(section.find("kex"), report, &transports::why_unusable_ssh_kex);
    ssh.public_keys = read_words(section.find("public-keys"), report, &transports::why_unusable_ssh_public_key);
    ssh.ciphers = read_words(section.find("ciphers"), report, &transports::why_unusable_ssh_cipher);
    ssh.macs = read_words(section.find("macs"), report, &transports::why_unusable_ssh_mac, ListForm::list_or_none);
    const auto bare = std::find_if_not(ssh.ciphers.begin(), ssh.ciphers.end(), &transports::is_ssh_aead);
    if (section.has("macs") && ssh.macs.empty() && bare != ssh.ciphers.end()) {
        report.error(section.place("macs"),
                     fmt::format("is empty, but {} needs a MAC (expected one, or AEAD ciphers alone)", *bare));
    }
    section.duration("rekey-time", {std::chrono::seconds{1}, std::chrono::hours{1}}, ssh.rekey_time);
    section.number("rekey-bytes", {1024, 1ULL << 30U}, ssh.rekey_bytes); // RFC 4253 section 9
    section.finish();
}

void read_seals(Section& section, Report& report, Profile& profile)
{
    if (const auto mac = section.find("mac")) {
        Section digests{mac, report};
        require(digests, {"digests"}, report);
        profile.digests = read_words(digests.find("digests"), report);
        digests.finish();
    }
    if (const auto nts = section.find("nts")) {
        Section aeads{nts, report};
        require(aeads, {"aeads"}, report);
        for (const auto& entry : read_list(aeads.find("aeads"), report, ListForm::list)) {
            if (const auto number = read_number(entry, report, {1, 65535})) {
                profile.aeads.push_back(static_cast<std::uint16_t>(*number));
            }
        }
        aeads.finish();
    }
}

bool offers(const Profile& profile, const std::string& item)
{
    const std::array<const Words*, 11> lists = {&profile.tls.versions,    &profile.tls.suites,    &profile.tls.groups,
                                                &profile.tls.signatures,  &profile.dtls.versions, &profile.dtls.suites,
                                                &profile.ssh.public_keys, &profile.ssh.kex,       &profile.ssh.ciphers,
                                                &profile.ssh.macs,        &profile.digests};
    return std::any_of(lists.begin(), lists.end(),
                       [&](const Words* list) { return std::find(list->begin(), list->end(), item) != list->end(); });
}

void read_left_out(const Value& value, Report& report, Profile& profile)
{
    for (const auto& entry : read_list(value, report, ListForm::list_or_none)) {
        Section section{entry, report};
        require(section, {"items", "reason"}, report);
        LeftOut left_out;
        const auto items = section.find("items");
        left_out.items = read_words(items, report);
        left_out.reason = read_text(section.find("reason"), report, "why they are left out").value_or("");
        section.finish();
        for (const auto& item : left_out.items) {
            if (offers(profile, item)) {
                report.error(items.place(),
                             fmt::format("{} is offered as well (expected one or the other)", shown(item)));
            }
        }
        profile.left_out.push_back(std::move(left_out));
    }
}

bool is_word(std::string_view text) noexcept
{
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
               c == '_';
    });
}

bool same_word(std::string_view one, std::string_view other) noexcept
{
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                      [&](char a, char b) { return lower(a) == lower(b); });
}

// Records and `check` say the name alone: it must not look like what is compiled in and was evaluated.
void check_own_name(const Value& value, Report& report, const std::string& name)
{
    const auto profiles = built_in_profiles();
    if (!is_word(name)) {
        report.error(
            value.place(),
            fmt::format("{} is no name for a profile (expected letters, digits, '.', '-' and '_')", shown(name)));
    } else if (std::any_of(profiles.begin(), profiles.end(),
                           [&](const BuiltInProfile& profile) { return same_word(profile.name, name); })) {
        report.error(value.place(), fmt::format("{} is the name of a built-in profile, and this is a file (expected a "
                                                "name of its own, or profile: NAME for the built-in one)",
                                                shown(name)));
    }
}

enum class Origin : std::uint8_t { built_in, file };

void read_profile(const Value& root, Report& report, Origin origin, Profile& profile)
{
    Section section{root, report};
    require(section, {"name", "title", "order", "claim", "certificates"}, report);
    const auto name = section.find("name");
    const auto word = read_text(name, report, "the profile's name");
    profile.name = word.value_or("");
    if (word && origin == Origin::file) {
        check_own_name(name, report, *word);
    }
    profile.title = read_text(section.find("title"), report, "one line").value_or("");
    const auto order = section.find("order");
    profile.order = read_channels(order, report);
    if (order && profile.order.empty()) {
        report.error(order.place(), "has no channel (expected at least one)");
    }
    section.choice("requirements", std::span<const Choice<Requirements>>{kRequirementWords}, profile.requirements);
    read_claim(section.find("claim"), report, profile.claim);
    read_demands(section.find("demands"), report, profile.demands);
    read_certificates(section.find("certificates"), report, profile);
    read_duties(section.find("duties"), report, profile);
    if (const auto tls = section.find("tls")) {
        read_tls_offer(tls, report, profile.tls);
    }
    if (const auto dtls = section.find("dtls")) {
        read_dtls_offer(dtls, report, profile.dtls);
    }
    if (const auto ssh = section.find("ssh")) {
        read_ssh_offer(ssh, report, profile.ssh);
    }
    read_seals(section, report, profile);
    read_left_out(section.find("left-out"), report, profile);
    check_lists(section, report, profile);
    section.finish();
}

template <typename Enum, std::size_t Count>
std::string_view word_for(const std::array<Choice<Enum>, Count>& words, Enum value) noexcept
{
    const auto found = std::find_if(words.begin(), words.end(), [&](const auto& word) { return word.value == value; });
    return found == words.end() ? std::string_view{} : found->word;
}

LoadedProfile load_text(const std::string& text, const std::string& file, Origin origin)
{
    Report report{file};
    auto tree = parse_yaml(text);
    for (auto& problem : tree.problems) {
        report.error({problem.at, std::move(problem.key)}, std::move(problem.message));
    }
    Profile profile;
    if (tree.root) {
        read_profile({&*tree.root, ""}, report, origin, profile);
    } else if (tree.problems.empty()) {
        report.error({{}, "yaml"}, "is empty (expected a profile)");
    }
    LoadedProfile loaded{std::nullopt, std::nullopt, report.take_errors()};
    if (loaded.errors.empty()) {
        loaded.profile = std::move(profile);
    }
    return loaded;
}

} // namespace

LoadedProfile load_profile_text(const std::string& text, const std::string& file)
{
    return load_text(text, file, Origin::built_in);
}

std::optional<LoadedProfile> load_profile(const std::string& name, const std::filesystem::path& base)
{
    if (name.find('/') != std::string::npos || name.ends_with(".yaml")) {
        const auto path = (base / name).lexically_normal();
        auto text = read_whole_file(path);
        if (auto* refused = std::get_if<Refused>(&text)) {
            return LoadedProfile{std::nullopt, std::nullopt, {{path.string(), 0, 0, "", std::move(refused->why)}}};
        }
        auto loaded = load_text(std::get<std::string>(text), path.string(), Origin::file);
        loaded.file = ReadFile{path, transports::sha256_hex(std::get<std::string>(text))};
        return loaded;
    }
    const auto profiles = built_in_profiles();
    const auto found = std::find_if(profiles.begin(), profiles.end(),
                                    [&](const BuiltInProfile& profile) { return profile.name == name; });
    if (found == profiles.end()) {
        return std::nullopt;
    }
    return load_profile_text(std::string{found->text}, fmt::format("profile {}", name));
}

std::string_view name(CertificateTime time) noexcept
{
    return word_for(kCertificateTimeWords, time);
}

std::string_view name(transports::ClientCertificate demand) noexcept
{
    return word_for(kClientCertificateWords, demand);
}

std::string_view name(transports::Revocation revocation) noexcept
{
    return word_for(kRevocationWords, revocation);
}

std::string_view name(transports::Ocsp ocsp) noexcept
{
    return word_for(kOcspWords, ocsp);
}

} // namespace gateway
