#include "gateway/mac_keys.hpp"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <system_error>
#include <unordered_set>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/claim_rules.hpp"
#include "gateway/config_files.hpp"
#include "gateway/config_values.hpp"
#include "ntp-shim/key_file.hpp"
#include "ntp-shim/secret.hpp"

namespace gateway {

namespace {

using ntp_shim::MacKey;

constexpr auto kLookEvery = std::chrono::milliseconds{500};
constexpr std::size_t kMaxKeyFile = 1 << 20;

/// The file in memory that is wiped; nothing and `why` when it cannot be read.
std::optional<ntp_shim::Secret> read_secret_file(const std::filesystem::path& path, std::string& why)
{
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0) {
        why = fmt::format("cannot read it: {}", std::generic_category().message(errno));
        return std::nullopt;
    }
    ntp_shim::Secret text{kMaxKeyFile + 1};
    std::size_t size = 0;
    ssize_t count = 0;
    do {
        count = ::read(descriptor, &text.octets()[size], text.size() - size);
        size += count > 0 ? static_cast<std::size_t>(count) : 0;
    } while ((count > 0 && size < text.size()) || (count < 0 && errno == EINTR));
    const int error = errno;
    ::close(descriptor);
    if (count < 0) {
        why = fmt::format("cannot read it: {}", std::generic_category().message(error));
        return std::nullopt;
    }
    if (size > kMaxKeyFile) {
        why = "is too large (expected at most 1 MiB)";
        return std::nullopt;
    }
    return ntp_shim::Secret{std::as_const(text).octets().first(size)};
}

/// Takes from a file what one tunnel may use.
class Selection {
public:
    Selection(const MacSettings& settings, bool is_inner)
        : settings_{settings}, wanted_{settings.ids.begin(), settings.ids.end()}, is_inner_{is_inner}
    {}

    LoadedKeys take(ntp_shim::KeyFile file)
    {
        for (auto& problem : file.problems) {
            loaded_.errors.push_back({problem.line, std::move(problem.text)});
        }
        for (auto& unusable : file.unusable) {
            refuse(unusable.id, unusable.why.line, unusable.why.text);
        }
        std::erase_if(file.keys, [this](const auto& key) { return !is_usable(*key); });
        pick(file.keys);
        if (loaded_.errors.empty() && keys_.empty()) {
            loaded_.errors.push_back({0, "has no key for this tunnel (expected one of mac.key or mac.trusted)"});
        }
        if (loaded_.errors.empty()) {
            loaded_.ring = std::make_shared<const ntp_shim::MacKeyRing>(std::move(keys_));
        }
        return std::move(loaded_);
    }

private:
    [[nodiscard]] bool is_wanted(std::uint32_t id) const { return wanted_.empty() || wanted_.contains(id); }

    void refuse(std::uint32_t id, std::size_t line, const std::string& why)
    {
        auto& list = is_wanted(id) ? loaded_.errors : loaded_.remarks;
        list.push_back({line, fmt::format("key {} cannot be used: {}", id, why)});
    }

    bool is_usable(const MacKey& key)
    {
        const auto digest = std::string{name(key.kind())};
        if (std::ranges::find(settings_.digests, digest) == settings_.digests.end()) {
            refuse(key.id(), key.line(),
                   fmt::format("{}its digest {} is not offered by the profile (expected {})",
                               demanded_by(settings_.demand), digest, fmt::join(settings_.digests, ", ")));
            return false;
        }
        if (is_inner_ && key.has_peers()) {
            refuse(key.id(), key.line(), "its address list says nothing about the peers of a channel");
            return false;
        }
        return true;
    }

    void pick(const std::vector<std::shared_ptr<const MacKey>>& keys)
    {
        if (settings_.ids.empty()) {
            keys_ = keys;
            return;
        }
        const ntp_shim::MacKeyRing all{keys};
        for (const auto id : settings_.ids) {
            if (auto found = all.find(id)) {
                keys_.push_back(std::move(found));
            } else {
                loaded_.remarks.push_back({0, fmt::format("has no usable key {}", id)});
            }
        }
    }

    const MacSettings& settings_;
    std::unordered_set<std::uint32_t> wanted_;
    bool is_inner_;
    std::vector<std::shared_ptr<const MacKey>> keys_;
    LoadedKeys loaded_;
};

LoadedKeys failed(std::string why)
{
    LoadedKeys loaded;
    loaded.errors.push_back({0, std::move(why)});
    return loaded;
}

bool holds(const std::shared_ptr<const ntp_shim::MacKeyRing>& ring, const MacKey& key)
{
    const auto found = ring->find(key.id());
    return found != nullptr && found->is_same(key);
}

/// What is new about `key`, beside what the ring before had under its id.
std::string change_of(const MacKey& key, const std::shared_ptr<const ntp_shim::MacKeyRing>& before)
{
    const auto found = before->find(key.id());
    if (found == nullptr) {
        return {};
    }
    return found->has_secret_of(key) ? "its address list has changed" : "it replaces another key of its id";
}

} // namespace

std::string key_text(const MacKey& key)
{
    return fmt::format("key {}, {}, check value {}", key.id(), name(key.kind()), key.check_value());
}

LoadedKeys load_mac_keys(const Tunnel& tunnel)
{
    const auto& settings = *tunnel.mac;
    if (auto verdict = judge_secret({settings.keys, settings.owners}); verdict.error) {
        return failed(std::move(*verdict.error));
    }
    std::string why;
    const auto text = read_secret_file(settings.keys, why);
    if (!text) {
        return failed(std::move(why));
    }
    const auto octets = text->octets();
    const std::string_view characters{reinterpret_cast<const char*>(octets.data()), octets.size()};
    return Selection{settings, tunnel.channel != ChannelKind::mac}.take(
        ntp_shim::read_key_file(characters, settings.format));
}

MacKeys::MacKeys(Services services, const Tunnel& tunnel, Ring ring, std::function<void(Ring)> use)
    : services_{services}, tunnel_{tunnel}, ring_{std::move(ring)}, use_{std::move(use)}, loaded_{look()},
      seen_{loaded_}, timer_{services.loop, [this] { tick(); }}
{
    for (const auto& key : ring_->keys()) {
        record_loaded(*key, {});
    }
    timer_.start(kLookEvery);
}

MacKeys::~MacKeys()
{
    replace(std::make_shared<const ntp_shim::MacKeyRing>(std::vector<std::shared_ptr<const MacKey>>{}));
    record_destroyed();
}

MacKeys::Look MacKeys::look() const
{
    struct stat status {};
    Look look;
    if (::stat(tunnel_.mac->keys.c_str(), &status) == 0) {
        look.changed = std::chrono::seconds{status.st_mtim.tv_sec} + nanoseconds{status.st_mtim.tv_nsec};
        look.size = static_cast<std::uintmax_t>(status.st_size);
        look.inode = status.st_ino;
    }
    return look;
}

/// A file is read once two looks in a row agree: one that is being written is left alone.
void MacKeys::tick()
{
    const auto now = look();
    if (now == seen_ && now != loaded_) {
        reload();
    }
    seen_ = now;
    record_destroyed();
    timer_.start(kLookEvery);
}

void MacKeys::reload()
{
    loaded_ = look();
    auto fresh = load_mac_keys(tunnel_);
    const auto file = tunnel_.mac->keys.string();
    for (const auto& error : fresh.errors) {
        services_.log.error(fmt::format("tunnel {}: {}{}: {}", tunnel_.name, file,
                                        error.line == 0 ? "" : fmt::format(":{}", error.line), error.text));
    }
    if (!fresh.ring) {
        AuditRecord record;
        record.event = AuditEvent::key_loaded;
        record.success = false;
        record.tunnel = tunnel_.name;
        record.reason = fresh.errors.front().text;
        services_.audit.record(record, {{"file", file}});
        services_.log.error(fmt::format("tunnel {}: the keys loaded before stay in use", tunnel_.name));
        return;
    }
    replace(std::move(fresh.ring));
}

/// Keys that stayed the same stay the same object: nothing is recorded of them.
void MacKeys::replace(Ring fresh)
{
    std::vector<std::shared_ptr<const MacKey>> keys;
    for (const auto& key : fresh->keys()) {
        const bool known = holds(ring_, *key);
        keys.push_back(known ? ring_->find(key->id()) : key);
        if (!known) {
            record_loaded(*key, change_of(*key, ring_));
        }
    }
    for (const auto& key : ring_->keys()) {
        if (!holds(fresh, *key)) {
            retired_.push_back({key, key_text(*key)});
        }
    }
    ring_ = std::make_shared<const ntp_shim::MacKeyRing>(std::move(keys));
    fresh.reset();
    use_(ring_);
}

void MacKeys::record_loaded(const MacKey& key, const std::string& change)
{
    AuditRecord record;
    record.event = AuditEvent::key_loaded;
    record.tunnel = tunnel_.name;
    record.subject = fmt::format("key {}", key.id());
    record.reason = change;
    services_.audit.record(
        record,
        {{"digest", name(key.kind())}, {"check-value", key.check_value()}, {"file", tunnel_.mac->keys.string()}});
    services_.log.info(
        fmt::format("tunnel {}: loaded {}{}{}", tunnel_.name, key_text(key), change.empty() ? "" : ": ", change));
}

void MacKeys::record_destroyed()
{
    std::erase_if(retired_, [this](const Retired& retired) {
        if (!retired.key.expired()) {
            return false;
        }
        AuditRecord record;
        record.event = AuditEvent::key_destroyed;
        record.tunnel = tunnel_.name;
        record.subject = retired.text;
        services_.audit.record(record);
        services_.log.info(fmt::format("tunnel {}: destroyed {}", tunnel_.name, retired.text));
        return true;
    });
}

} // namespace gateway
