#include "gateway/integrity.hpp"

#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <system_error>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "gateway/config_files.hpp"
#include "transports/tls_digest.hpp"
#include "transports/tls_self_test.hpp"

namespace gateway {

namespace {

constexpr std::size_t kHashDigits = 64;

using Listed = std::map<std::filesystem::path, std::string>; // canonical path -> hash

std::optional<std::string> read_list(const std::string& text, const std::filesystem::path& folder, Listed& listed)
{
    std::istringstream lines{text};
    std::size_t number = 0;
    for (std::string line; std::getline(lines, line);) {
        ++number;
        // "HASH  PATH", or "HASH *PATH" for sha256sum --binary.
        const bool shaped = line.size() > kHashDigits + 2 && line[kHashDigits] == ' ' &&
                            (line[kHashDigits + 1] == ' ' || line[kHashDigits + 1] == '*') &&
                            line.find_first_not_of("0123456789abcdef") == kHashDigits;
        if (!shaped) {
            return fmt::format("line {} is not as sha256sum writes it", number);
        }
        std::error_code missing;
        const auto path = folder / line.substr(kHashDigits + 2);
        auto canonical = std::filesystem::canonical(path, missing);
        if (missing) {
            return fmt::format("{}: {}", path.string(), missing.message());
        }
        listed.insert_or_assign(std::move(canonical), line.substr(0, kHashDigits));
    }
    return std::nullopt;
}

std::variant<std::string, Refused> hash_of(const std::filesystem::path& path)
{
    std::ifstream in{path, std::ios::binary};
    std::ostringstream text;
    text << in.rdbuf();
    if (!in) {
        return Refused{"can not be read"};
    }
    return transports::sha256_hex(text.view());
}

/// The file behind /proc/self/exe is the one that runs; its path may be another's by now.
std::variant<ReadFile, std::string> running_program()
{
    constexpr const char* kSelf = "/proc/self/exe";
    std::error_code missing;
    const auto path = std::filesystem::read_symlink(kSelf, missing);
    auto hash = hash_of(kSelf);
    if (missing || std::holds_alternative<Refused>(hash)) {
        return std::string{kSelf} + ": can not be read";
    }
    return ReadFile{path, std::get<std::string>(std::move(hash))};
}

/// Compares what is in use with the list, and takes it out: the rest is compared with what is there.
std::optional<std::string> check_in_use(const std::vector<FileInUse>& in_use, Listed& listed)
{
    std::set<std::filesystem::path> done;
    for (const auto& file : in_use) {
        std::error_code missing;
        const auto canonical = std::filesystem::canonical(file.read.path, missing);
        const auto found = missing ? listed.end() : listed.find(canonical);
        if (found == listed.end() && file.must_be_listed) {
            return file.read.path.string() + " is not in it";
        }
        if (found != listed.end() && found->second != file.read.sha256) {
            return found->first.string() + ": what is in use is not the file that was signed";
        }
        if (found != listed.end()) {
            done.insert(canonical);
        }
    }
    std::erase_if(listed, [&](const auto& entry) { return done.contains(entry.first); });
    return std::nullopt;
}

} // namespace

std::optional<std::string> check_integrity(const IntegritySettings& settings, const std::vector<FileInUse>& in_use)
{
    const auto named = [&](const std::string& what) { return settings.manifest.string() + ": " + what; };
    auto text = read_whole_file(settings.manifest);
    auto signature = read_whole_file(settings.manifest.string() + ".sig");
    for (const auto* file : {&text, &signature}) {
        if (const auto* refused = std::get_if<Refused>(file)) {
            return named((file == &signature ? "the signature in its .sig: " : "") + refused->why);
        }
    }
    const auto& list = std::get<std::string>(text);
    // Nothing of the list is looked at before it is known whose it is.
    if (auto error = transports::verify_signature(settings.key.string(), list, std::get<std::string>(signature))) {
        return named(*error);
    }
    Listed listed;
    if (auto error = read_list(list, settings.manifest.parent_path(), listed)) {
        return named(*error);
    }
    auto program = running_program();
    if (const auto* error = std::get_if<std::string>(&program)) {
        return named(*error);
    }
    auto all = in_use;
    all.push_back({std::get<ReadFile>(std::move(program)), true});
    if (auto error = check_in_use(all, listed)) {
        return named(*error);
    }
    for (const auto& [path, hash] : listed) {
        const auto found = hash_of(path);
        if (const auto* refused = std::get_if<Refused>(&found)) {
            return named(path.string() + ": " + refused->why);
        }
        if (std::get<std::string>(found) != hash) {
            return named(path.string() + ": is not the file that was signed");
        }
    }
    return std::nullopt;
}

} // namespace gateway
