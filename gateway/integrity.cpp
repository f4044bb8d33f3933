#include "gateway/integrity.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>

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

std::optional<std::string> check_file(const std::filesystem::path& path, const std::string& hash)
{
    std::ifstream in{path, std::ios::binary};
    std::ostringstream text;
    text << in.rdbuf();
    if (!in) {
        return path.string() + ": can not be read";
    }
    return transports::sha256_hex(text.view()) == hash
               ? std::nullopt
               : std::optional<std::string>{path.string() + ": is not the file that was signed"};
}

} // namespace

std::optional<std::string> check_integrity(const IntegritySettings& settings,
                                           const std::vector<std::filesystem::path>& needed)
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
    std::error_code missing;
    std::vector<std::filesystem::path> all = needed;
    all.push_back(std::filesystem::read_symlink("/proc/self/exe", missing));
    for (const auto& path : all) {
        const auto canonical = std::filesystem::canonical(path, missing);
        if (missing || !listed.contains(canonical)) {
            return named(path.string() + " is not in it");
        }
    }
    for (const auto& [path, hash] : listed) {
        if (auto error = check_file(path, hash)) {
            return named(*error);
        }
    }
    return std::nullopt;
}

} // namespace gateway
