#include "gateway/config.hpp"

#include <array>
#include <utility>

#include <pwd.h>
#include <unistd.h>

#include <fmt/format.h>

#include "gateway/config_files.hpp"
#include "gateway/config_reader.hpp"
#include "gateway/config_rules.hpp"
#include "gateway/config_tunnel.hpp"
#include "gateway/config_values.hpp"
#include "gateway/profile.hpp"
#include "transports/tls_digest.hpp"
#include "transports/tls_self_test.hpp"

namespace gateway {

namespace {

constexpr const char* kDefaultProfile = "modern";

constexpr std::array<Choice<LogLevel>, 4> kLevelWords{
    {{"error", LogLevel::error}, {"warn", LogLevel::warn}, {"info", LogLevel::info}, {"debug", LogLevel::debug}}};
constexpr std::array<Choice<LogFormat>, 2> kFormatWords{{{"text", LogFormat::text}, {"json", LogFormat::json}}};
constexpr std::array<Choice<bool>, 2> kOnFullWords{{{"stop", true}, {"continue", false}}};
constexpr std::array<Choice<bool>, 2> kFipsWords{{{"off", false}, {"required", true}}};

std::optional<uid_t> uid_of(const std::string& user)
{
    std::vector<char> space(16384);
    passwd entry{};
    passwd* found = nullptr;
    if (getpwnam_r(user.c_str(), &entry, space.data(), space.size(), &found) != 0 || found == nullptr) {
        return std::nullopt;
    }
    return entry.pw_uid;
}

std::string built_in_names()
{
    std::string names;
    for (const auto& profile : built_in_profiles()) {
        names += (names.empty() ? "" : ", ") + std::string{profile.name};
    }
    return names;
}

class ConfigReader {
public:
    ConfigReader(const YamlNode& root, std::filesystem::path base, Report& report)
        : base_(std::move(base)), report_(report), section_({&root, ""}, report)
    {}

    Config read()
    {
        config_.file = report_.file();
        if (!section_.usable()) {
            return std::move(config_);
        }
        auto profile = read_profile();
        read_user();
        read_process();
        if (profile && config_.fips) {
            profile->tls.demands_ems = true; // a master secret without it is not an approved one
        }
        read_limits(section_.find("limits"), report_, nullptr, config_.limits);
        const auto required = section_.find("require-sources");
        const auto sources = read_number(required, report_, {0, 256});
        if (profile) {
            read_tunnels(*profile, sources);
        }
        section_.finish();
        return std::move(config_);
    }

private:
    // A profile that can not be had is one error; the rest of the file is checked against the default.
    std::optional<Profile> read_profile()
    {
        const auto written = section_.find("profile");
        const auto expected = built_in_names() + ", or the path of a profile file";
        const auto name = read_text(written, report_, expected);
        auto loaded = load_profile(name.value_or(kDefaultProfile), base_);
        if (!loaded) {
            report_.error(written.place(), fmt::format("there is no profile {} (expected {})", shown(*name), expected));
        } else if (!loaded->profile) {
            report_.error(written.place(), fmt::format("the profile {} can not be used", shown(*name)));
            for (auto& error : loaded->errors) {
                report_.add(std::move(error));
            }
        }
        if (!loaded || !loaded->profile) {
            loaded = load_profile(kDefaultProfile, base_);
        }
        if (loaded && loaded->profile) {
            config_.profile_file = std::move(loaded->file);
            config_.profile = loaded->profile->name;
            config_.requirements = loaded->profile->requirements;
            config_.lab = loaded->profile->lab;
            if (config_.lab) {
                report_.warning(written.place(), "a profile for laboratories: never use it where time matters");
            }
            return std::move(loaded->profile);
        }
        report_.error({}, "the built-in profile can not be used");
        return std::nullopt;
    }

    void read_process()
    {
        std::uint32_t workers = 1;
        section_.number("workers", {1, 1}, workers);
        for (const auto* key : {"control", "metrics"}) {
            (void)section_.find(key); // refused by name where the section is read
        }
        read_fips();
        read_integrity();
        Section log{section_.find("log"), report_};
        log.choice("level", std::span<const Choice<LogLevel>>{kLevelWords}, config_.log_level);
        log.choice("format", std::span<const Choice<LogFormat>>{kFormatWords}, config_.log_format);
        log.finish();

        Section audit{section_.find("audit"), report_};
        read_audit_file(audit.find("file"));
        audit.choice("on-full", std::span<const Choice<bool>>{kOnFullWords}, config_.audit.stop_when_full);
        audit.flag("syslog", config_.audit.syslog);
        audit.finish();
    }

    // At once: everything that is read below already uses the library.
    void read_fips()
    {
        section_.choice("fips", std::span<const Choice<bool>>{kFipsWords}, config_.fips);
        if (config_.fips) {
            if (auto error = transports::require_fips_provider()) {
                report_.error(section_.place("fips"), "required: " + *error);
            }
        }
    }

    void read_integrity()
    {
        const auto block = section_.find("integrity");
        if (!block) {
            return;
        }
        Section keys{block, report_};
        const auto path = [&](std::string_view key, std::string_view what) {
            if (keys.usable() && !keys.has(key)) {
                report_.error(keys.place(key), fmt::format("is missing (expected {})", what));
            }
            const auto text = read_text(keys.find(key), report_, what);
            auto full = (base_ / text.value_or("")).lexically_normal();
            if (const auto why = text ? why_unreadable(full, FileKind::file) : std::nullopt) {
                report_.error(keys.place(key), *why);
                return std::filesystem::path{};
            }
            return full;
        };
        config_.integrity = {path("manifest", "a file as sha256sum writes it"), path("key", "a public key in PEM")};
        // Whoever can replace the key can sign what he likes.
        if (!config_.integrity->key.empty()) {
            if (const auto why = why_untrustworthy(config_.integrity->key, owners_)) {
                report_.error(keys.place("key"), *why);
            }
        }
        keys.finish();
    }

    void read_audit_file(const Value& value)
    {
        const auto text = read_text(value, report_, "the path of a file");
        if (!text) {
            return;
        }
        const auto path = (base_ / *text).lexically_normal();
        std::error_code failed;
        if (std::filesystem::is_directory(path, failed) || !path.has_filename()) {
            report_.error(value.place(), fmt::format("{} is a directory (expected a file)", shown(path.string())));
        } else if (!std::filesystem::is_directory(path.parent_path(), failed)) {
            report_.error(value.place(), fmt::format("no such directory: {} (expected an existing one)",
                                                     shown(path.parent_path().string())));
        }
        config_.audit.file = path;
    }

    void read_user()
    {
        const auto value = section_.find("user");
        owners_.push_back(geteuid());
        auto text = read_text(value, report_, "the name of a user");
        if (!text) {
            return;
        }
        const auto uid = uid_of(*text);
        if (uid && geteuid() == 0) {
            owners_.push_back(*uid);
        } else if (!uid && geteuid() == 0) {
            report_.error(value.place(), fmt::format("there is no user {} (expected an existing one)", shown(*text)));
        } else if (!uid) {
            report_.warning(value.place(), fmt::format("there is no user {}", shown(*text)));
        }
        config_.user = std::move(*text);
    }

    void read_tunnels(const Profile& profile, std::optional<std::uint64_t> sources)
    {
        const auto value = section_.find("tunnels");
        if (!section_.has("tunnels")) {
            report_.error(section_.place("tunnels"), "is missing (expected a list of tunnels)");
        }
        const LoadContext context{profile, config_.limits, base_, owners_, report_};
        std::vector<TunnelDraft> drafts;
        for (const auto& entry : read_list(value, report_, ListForm::list)) {
            drafts.push_back(read_tunnel(entry, context));
        }
        check_rules(drafts, {profile, sources, section_.place("require-sources"), config_.fips, report_});
        for (auto& draft : drafts) {
            config_.tunnels.push_back(std::move(draft.tunnel));
        }
    }

    std::filesystem::path base_;
    Report& report_;
    Section section_;
    std::vector<uid_t> owners_; // who may own a secret, beside root
    Config config_;
};

} // namespace

Loaded load_config_text(const std::string& text, const std::string& name, const std::filesystem::path& base)
{
    Report report{name};
    auto tree = parse_yaml(text);
    for (auto& problem : tree.problems) {
        report.error({problem.at, std::move(problem.key)}, std::move(problem.message));
    }
    std::optional<Config> config;
    if (tree.root) {
        config = ConfigReader{*tree.root, base, report}.read();
    } else if (tree.problems.empty()) {
        report.error({{}, "yaml"}, "is empty (expected a configuration)");
    }
    Loaded loaded{std::nullopt, report.take_errors(), report.take_warnings()};
    if (loaded.errors.empty()) {
        loaded.config = std::move(config);
    }
    return loaded;
}

Loaded load_config(const std::filesystem::path& file)
{
    auto text = read_whole_file(file);
    if (auto* refused = std::get_if<Refused>(&text)) {
        return {std::nullopt, {{file.string(), 0, 0, "", std::move(refused->why)}}, {}};
    }
    auto loaded = load_config_text(std::get<std::string>(text), file.string(), file.parent_path());
    if (loaded.config) {
        loaded.config->source = ReadFile{file, transports::sha256_hex(std::get<std::string>(text))};
    }
    return loaded;
}

} // namespace gateway
