// Whether files were replaced: by writing them, by renaming others over them, or by renaming a folder above them, as
// mounted secrets are.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace gateway {

/// Looks when it is told to. A folder stands for the files in it.
class FileWatch {
public:
    explicit FileWatch(std::vector<std::filesystem::path> paths);

    /// The files are others than those last marked, and the same as at the look before: one that is being written is
    /// left alone.
    [[nodiscard]] bool changed();
    /// What is there now is what is being read.
    void mark();

private:
    struct Look {
        std::filesystem::path path;
        std::chrono::nanoseconds written{};
        std::chrono::nanoseconds touched{}; // its mode and owner, too
        std::uintmax_t size{};
        std::uint64_t inode{};
        bool operator==(const Look&) const = default;
    };
    using Looks = std::vector<Look>;
    [[nodiscard]] Looks look() const;
    static Look look_at(const std::filesystem::path& path);

    std::vector<std::filesystem::path> paths_;
    Looks marked_;
    Looks seen_;
};

} // namespace gateway
