// A key file is read to the end whatever is in it, and what both programs read alike is the same key in either format.
// The first octet chooses the format, the rest is the file.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "ntp-shim/key_file.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using fuzz::require;
using ntp_shim::KeyFile;
using ntp_shim::KeyFormat;

/// Everything that tells one reading from another, without a key.
std::string summary(const KeyFile& file)
{
    std::string text;
    for (const auto& key : file.keys) {
        text += std::to_string(key->line()) + " " + std::to_string(key->id()) + " " + std::string{name(key->kind())} +
                " " + key->check_value() + (key->has_peers() ? " with peers\n" : "\n");
    }
    for (const auto& unusable : file.unusable) {
        text += std::to_string(unusable.why.line) + " unusable " + std::to_string(unusable.id) + "\n";
    }
    return text;
}

void check_shape(const KeyFile& file, std::string_view text)
{
    const auto lines = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
    std::set<std::uint32_t> ids;
    for (const auto& key : file.keys) {
        require(key->id() != 0 && ids.insert(key->id()).second, "each id is there once, and none is zero");
        require(key->line() >= 1 && key->line() <= lines, "a key has a line of the file");
        require(key->check_value().size() == 8, "a key has a check value");
    }
    for (const auto& unusable : file.unusable) {
        require(ids.insert(unusable.id).second, "an unusable key's id is there once, too");
        require(!unusable.why.text.empty(), "an unusable key has a reason");
    }
    for (const auto& problem : file.problems) {
        require(problem.line >= 1 && problem.line <= lines && !problem.text.empty(), "a problem has a line and a text");
    }
    require(ids.size() + file.problems.size() <= lines + 1, "a line is one thing at most");
}

/// The planted bug: a reader that loses the last character of a file.
std::string again(std::string_view text)
{
    return std::string{fuzz::kPlantedBug && !text.empty() ? text.substr(0, text.size() - 1) : text};
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    if (size == 0) {
        return 0;
    }
    const auto format = static_cast<KeyFormat>(data[0] % 3);
    const std::string text(data + 1, data + size);
    const auto file = ntp_shim::read_key_file(text, format);
    check_shape(file, text);
    require(summary(ntp_shim::read_key_file(again(text), format)) == summary(file),
            "a file is read the same way again");
    if (format == KeyFormat::automatic && file.problems.empty()) {
        if (file.format == KeyFormat::automatic) {
            require(summary(ntp_shim::read_key_file(text, KeyFormat::ntp)) == summary(file),
                    "what needs no format is the same to ntpd");
            require(summary(ntp_shim::read_key_file(text, KeyFormat::chrony)) == summary(file),
                    "what needs no format is the same to chrony");
        } else {
            require(summary(ntp_shim::read_key_file(text, file.format)) == summary(file),
                    "a format found is the format asked for");
        }
    }
    return 0;
}
