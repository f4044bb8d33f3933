#include "gateway/file_watch.hpp"

#include <algorithm>
#include <utility>

#include <sys/stat.h>

namespace gateway {

FileWatch::FileWatch(std::vector<std::filesystem::path> paths) : paths_{std::move(paths)}
{
    mark();
}

bool FileWatch::changed()
{
    Looks now = look();
    const bool steady = now == seen_;
    seen_ = std::move(now);
    return steady && seen_ != marked_;
}

void FileWatch::mark()
{
    marked_ = look();
    seen_ = marked_;
}

FileWatch::Look FileWatch::look_at(const std::filesystem::path& path)
{
    const auto since_epoch = [](const timespec& time) {
        return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
    };
    struct stat status {};
    Look look{path, {}, {}, 0, 0};
    if (::stat(path.c_str(), &status) == 0) {
        look.written = since_epoch(status.st_mtim);
        look.touched = since_epoch(status.st_ctim);
        look.size = static_cast<std::uintmax_t>(status.st_size);
        look.inode = status.st_ino;
    }
    return look;
}

FileWatch::Looks FileWatch::look() const
{
    Looks looks;
    for (const auto& path : paths_) {
        looks.push_back(look_at(path));
        std::error_code failure;
        if (!std::filesystem::is_directory(path, failure)) {
            continue;
        }
        const auto first = static_cast<std::ptrdiff_t>(looks.size());
        for (std::filesystem::directory_iterator it{path, failure}, end; !failure && it != end; it.increment(failure)) {
            looks.push_back(look_at(it->path()));
        }
        std::sort(looks.begin() + first, looks.end(),
                  [](const Look& one, const Look& other) { return one.path < other.path; });
    }
    return looks;
}

} // namespace gateway
