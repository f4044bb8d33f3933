#include "gateway/profile_show.hpp"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gateway/config_files.hpp"
#include "gateway/config_values.hpp"
#include "gateway/config_words.hpp"
#include "gateway/profile.hpp"

namespace gateway {

namespace {

using Json = nlohmann::ordered_json;

constexpr int kShown = 0;
constexpr int kUnknown = 2;

template <typename Enum>
Json names_of(const std::vector<Enum>& list)
{
    Json names = Json::array();
    for (const Enum item : list) {
        names.push_back(name(item));
    }
    return names;
}

Json claim_json(const ClaimRules& claim)
{
    return {{"requirement", claim.requirement},
            {"rule", claim.rule},
            {"claimable", names_of(claim.claimable)},
            {"supplementary", names_of(claim.supplementary)},
            {"forbidden", names_of(claim.forbidden)}};
}

Json certificates_json(const Profile& profile)
{
    return {{"revocation", name(profile.revocation)},
            {"revocation-choices", names_of(profile.revocation_choices)},
            {"certificate-time", names_of(profile.certificate_time)},
            {"client-certificate", names_of(profile.client_certificate)},
            {"wildcards", profile.tls.wildcards},
            {"min-rsa-bits", profile.tls.min_rsa_bits}};
}

Json ssh_json(const SshOffer& ssh)
{
    Json offer = {{"kex", ssh.kex},
                  {"public-keys", ssh.public_keys},
                  {"ciphers", ssh.ciphers},
                  {"macs", ssh.macs},
                  {"rekey-time", duration_text(ssh.rekey_time)},
                  {"rekey-bytes", ssh.rekey_bytes}};
    if (ssh.macs.empty()) {
        offer["unused-mac"] = transports::kUnusedSshMac; // what a scan finds all the same
    }
    return offer;
}

Json left_out_json(const Profile& profile)
{
    Json list = Json::array();
    for (const auto& left_out : profile.left_out) {
        list.push_back({{"items", left_out.items}, {"reason", left_out.reason}});
    }
    return list;
}

std::string_view requirements_word(Requirements version)
{
    const auto found = std::find_if(kRequirementWords.begin(), kRequirementWords.end(),
                                    [&](const auto& word) { return word.value == version; });
    return found == kRequirementWords.end() ? std::string_view{} : found->word;
}

std::string_view master_secret_word(const transports::TlsPolicy& policy)
{
    return kMasterSecretWords.at(policy.demands_ems ? 1 : 0).word;
}

Json profile_json(const Profile& profile)
{
    return {{"name", profile.name},
            {"title", profile.title},
            {"requirements", requirements_word(profile.requirements)},
            {"lab", profile.lab},
            {"order", names_of(profile.order)},
            {"claim", claim_json(profile.claim)},
            {"certificates", certificates_json(profile)},
            {"duties",
             {{"group-readable-keys", profile.group_readable_keys},
              {"upstream-unprotected", profile.upstream_unprotected}}},
            {"tls",
             {{"versions", profile.tls.versions},
              {"suites", profile.tls.suites},
              {"groups", profile.tls.groups},
              {"signatures", profile.tls.signatures},
              {"extended-master-secret", master_secret_word(profile.tls)}}},
            {"dtls",
             {{"versions", profile.dtls.versions},
              {"suites", profile.dtls.suites},
              {"groups", profile.tls.groups},
              {"signatures", profile.tls.signatures},
              {"extended-master-secret", master_secret_word(profile.tls)}}},
            {"ssh", ssh_json(profile.ssh)},
            {"mac", {{"digests", profile.digests}}},
            {"nts", {{"aeads", profile.aeads}}},
            {"left-out", left_out_json(profile)}};
}

int tell_errors(const std::vector<Problem>& errors, bool json, std::ostream& out)
{
    Json list = Json::array();
    for (const auto& error : errors) {
        list.push_back({{"file", error.file},
                        {"line", error.line},
                        {"column", error.column},
                        {"key", error.key},
                        {"message", error.message}});
        if (!json) {
            std::cerr << error.text() << '\n';
        }
    }
    if (json) {
        out << Json{{"valid", false}, {"errors", list}}.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    }
    return kUnknown;
}

// The file's own words: what was read of it without an error, comments and reasons included.
std::string text_of(const std::string& name)
{
    for (const auto& profile : built_in_profiles()) {
        if (profile.name == name) {
            return std::string{profile.text};
        }
    }
    auto text = read_whole_file(std::filesystem::current_path() / name);
    return std::holds_alternative<std::string>(text) ? std::get<std::string>(std::move(text)) : std::string{};
}

} // namespace

int list_profiles(bool json, std::ostream& out)
{
    Json list = Json::array();
    for (const auto& built_in : built_in_profiles()) {
        const auto loaded = load_profile(std::string{built_in.name}, {});
        if (!loaded || !loaded->profile) {
            return tell_errors(loaded ? loaded->errors : std::vector<Problem>{}, json, out);
        }
        list.push_back({{"name", built_in.name}, {"title", loaded->profile->title}});
        if (!json) {
            out << fmt::format("{:<20} {}\n", built_in.name, loaded->profile->title);
        }
    }
    if (json) {
        out << Json{{"profiles", list}}.dump(2) << '\n';
    }
    return kShown;
}

int show_profile(const std::string& name, bool json, std::ostream& out)
{
    const auto loaded = load_profile(name, std::filesystem::current_path());
    if (!loaded) {
        const std::string text =
            fmt::format("there is no profile {} (see profile list, or give the path of a profile file)", shown(name));
        return tell_errors({{std::string{kCommandLine}, 0, 0, "", text}}, json, out);
    }
    if (!loaded->profile) {
        return tell_errors(loaded->errors, json, out);
    }
    if (json) {
        out << profile_json(*loaded->profile).dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    } else {
        out << text_of(name);
    }
    return kShown;
}

} // namespace gateway
