// A directory with trial certificates, in which configurations can be loaded; gone with the object.
#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <stdlib.h>

#include "gateway/config.hpp"
#include "transports/tls_pki.hpp"

namespace gateway {

class ConfigFolder {
public:
    ConfigFolder()
    {
        std::string name = (std::filesystem::temp_directory_path() / "ntpgate-config-XXXXXX").string();
        if (mkdtemp(name.data()) != nullptr) {
            path_ = name;
        }
        transports::TrialPki request;
        request.directory = path_;
        problem_ = transports::write_trial_pki(request);
        copy_key("open.key", 0644);
        copy_key("group.key", 0640);
        copy_key("writable.key", 0620);
        std::filesystem::create_directory(path_ / "empty");
    }
    ~ConfigFolder()
    {
        std::error_code ignored; // nothing left to do about a directory that stays
        std::filesystem::remove_all(path_, ignored);
    }
    ConfigFolder(const ConfigFolder&) = delete;
    ConfigFolder& operator=(const ConfigFolder&) = delete;

    /// Why there are no certificates; empty = there are.
    [[nodiscard]] std::string problem() const { return problem_.value_or(""); }
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

    std::filesystem::path write(const std::string& name, const std::string& text) const
    {
        std::ofstream{path_ / name} << text;
        return path_ / name;
    }
    [[nodiscard]] Loaded load(const std::string& text) const { return load_config(write("test.yaml", text)); }

private:
    void copy_key(const char* name, unsigned mode) const
    {
        std::filesystem::copy_file(path_ / "server.key", path_ / name);
        std::filesystem::permissions(path_ / name, static_cast<std::filesystem::perms>(mode));
    }

    std::filesystem::path path_;
    std::optional<std::string> problem_;
};

inline std::string whole_file(const std::filesystem::path& path)
{
    std::ostringstream text;
    text << std::ifstream{path}.rdbuf();
    return text.str();
}

/// All problems, one in a line, without the file's name: what a failed check prints.
inline std::string listing(const std::vector<Problem>& problems)
{
    std::string text;
    for (const auto& problem : problems) {
        text += std::to_string(problem.line) + ":" + std::to_string(problem.column) + ": " +
                (problem.key.empty() ? "" : problem.key + ": ") + problem.message + "\n";
    }
    return text;
}

} // namespace gateway
