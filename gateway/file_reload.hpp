// Files that are read again, off the loop, when they change or when somebody asks for it.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/config.hpp"
#include "gateway/file_watch.hpp"
#include "gateway/services.hpp"
#include "transports/off_loop.hpp"

namespace gateway {

class FileReload {
public:
    /// What is to be done on the loop with what was read.
    using Then = std::function<void()>;
    struct Work {
        std::function<Then()> read;       // on another thread; touches nothing that does not outlive the loop
        std::function<void()> every_look; // on the loop, twice a second, from its first turn on
    };
    FileReload(transports::Loop& loop, std::vector<std::filesystem::path> files, Work work);
    FileReload(const FileReload&) = delete;
    FileReload& operator=(const FileReload&) = delete;
    ~FileReload() = default;

    /// Once more after the reading that is under way.
    void reload();

private:
    void look();

    transports::Loop& loop_;
    FileWatch watch_;
    Work work_;
    std::unique_ptr<transports::OffLoop> reading_;
    bool again_ = false;
    transports::Timer timer_;
};

/// A file that is there but may not be opened by what is left of our rights; nothing when all can be.
[[nodiscard]] std::optional<std::string> out_of_reach(const std::vector<std::filesystem::path>& files);

/// The log says at start what no reload will be able to read.
void warn_of_reach(const Services& services, const Tunnel& tunnel, const std::vector<std::filesystem::path>& files);

/// Log and audit say why what was loaded before stays in use.
void tell_unusable(const Services& services, const Tunnel& tunnel, const std::vector<std::filesystem::path>& files,
                   const std::string& wrong);

} // namespace gateway
