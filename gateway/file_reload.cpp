#include "gateway/file_reload.hpp"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "gateway/printable.hpp"

namespace gateway {

namespace {

constexpr auto kLookEvery = std::chrono::milliseconds{500};

} // namespace

FileReload::FileReload(transports::Loop& loop, std::vector<std::filesystem::path> files, Work work)
    : loop_{loop}, watch_{std::move(files)}, work_{std::move(work)}, timer_{loop, [this] { look(); }}
{
    timer_.start({}); // what takes a thread waits until the loop runs, and with it the confinement
}

void FileReload::look()
{
    work_.every_look();
    if (watch_.changed()) {
        reload();
    }
    timer_.start(kLookEvery);
}

void FileReload::reload()
{
    if (reading_) {
        again_ = true;
        return;
    }
    watch_.mark();
    auto then = std::make_shared<Then>();
    reading_ = std::make_unique<transports::OffLoop>(
        loop_, [then, read = work_.read] { *then = read(); },
        [this, then] {
            reading_.reset();
            (*then)();
            if (std::exchange(again_, false)) {
                reload();
            }
        });
}

std::optional<std::string> out_of_reach(const std::vector<std::filesystem::path>& files)
{
    for (const auto& path : files) {
        const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        const int error = errno;
        if (descriptor >= 0) {
            ::close(descriptor);
        } else if (error == EACCES || error == EPERM) {
            return path.string();
        }
    }
    return std::nullopt;
}

void warn_of_reach(const Services& services, const Tunnel& tunnel, const std::vector<std::filesystem::path>& files)
{
    if (const auto path = out_of_reach(files)) {
        services.log.warn(fmt::format("tunnel {}: needs_restart: {} cannot be read any more after privileges were "
                                      "dropped: when it is replaced, ntpgate must be restarted",
                                      tunnel.name, *path));
    }
}

void tell_unusable(const Services& services, const Tunnel& tunnel, const std::vector<std::filesystem::path>& files,
                   const std::string& wrong)
{
    const auto unreachable = out_of_reach(files);
    AuditRecord record;
    record.event = AuditEvent::credentials_reloaded;
    record.success = false;
    record.tunnel = tunnel.name;
    record.reason = unreachable ? "needs_restart" : "unusable_file";
    services.audit.record(record, {{"text", printable(wrong)}});
    const auto why = unreachable ? fmt::format("needs_restart: {} cannot be read after privileges were dropped ({})",
                                               *unreachable, wrong)
                                 : wrong;
    services.log.error(
        fmt::format("tunnel {}: {}; the credentials loaded before stay in use", tunnel.name, printable(why)));
}

} // namespace gateway
