// The files a configuration names: whether they can be read, and whether a secret is kept like one.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <sys/types.h>

#include "gateway/address.hpp"

namespace gateway {

enum class FileKind : std::uint8_t { file, file_or_directory };

/// Why `path` can not be used ("no such file: ..."); nothing when it can be read.
[[nodiscard]] std::optional<std::string> why_unreadable(const std::filesystem::path& path, FileKind kind);

struct SecretFile {
    std::filesystem::path path;
    std::vector<uid_t> owners; // beside root
};
struct SecretVerdict {
    std::optional<std::string> error;
    bool group_readable = false;
};
/// A secret must be a readable regular file of an owner we trust, closed to others, not writable by the group.
[[nodiscard]] SecretVerdict judge_secret(const SecretFile& secret);

/// Why a file that decides who is trusted is not to be trusted itself: others than root and `owners` can change it;
/// nothing when it is.
[[nodiscard]] std::optional<std::string> why_untrustworthy(const std::filesystem::path& path,
                                                           const std::vector<uid_t>& owners);

/// The whole file as text; at most kMaxFileSize (config_tree.hpp) octets.
[[nodiscard]] std::variant<std::string, Refused> read_whole_file(const std::filesystem::path& path);

} // namespace gateway
