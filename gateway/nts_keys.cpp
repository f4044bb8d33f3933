#include "gateway/nts_keys.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/timex.h>

#include "gateway/config_files.hpp"
#include "gateway/secret_file.hpp"

namespace gateway {

namespace {

using ntp_shim::CookieLayout;
using ntp_shim::FreshKey;
using ntp_shim::KeyRing;
using ntp_shim::Ratchet;
using std::chrono::seconds;
using transports::Nanoseconds;

constexpr auto kLookEvery = std::chrono::milliseconds{500};

CookieLayout layout_of(NtsKeySource source) noexcept
{
    return source == NtsKeySource::chrony ? CookieLayout::chrony : CookieLayout::own;
}

seconds wall_seconds()
{
    return std::chrono::duration_cast<seconds>(transports::read_wall());
}

void fill(std::span<std::byte> octets)
{
    while (!octets.empty()) {
        const auto count = ::getrandom(octets.data(), octets.size(), 0);
        octets = octets.subspan(count > 0 ? static_cast<std::size_t>(count) : 0);
    }
}

FreshKey fresh_key()
{
    FreshKey fresh;
    fill(std::as_writable_bytes(std::span{&fresh.id, 1}));
    fill(fresh.key.resize(ntp_shim::key_size(ntp_shim::AeadId::siv_cmac_256)));
    return fresh;
}

std::string written(const KeyRing& ring, seconds age)
{
    return ring.layout() == CookieLayout::chrony ? ring.write_chrony(age) : ring.write_own(wall_seconds() - age);
}

/// The first ring of a file that does not exist yet.
std::variant<NtsKeyFile, std::string> make_file(const NtsSettings& settings)
{
    std::vector<FreshKey> keys;
    const std::size_t count = settings.source == NtsKeySource::chrony ? KeyRing::kChronyKeys : 2;
    for (std::size_t made = 0; made < count; ++made) {
        keys.push_back(fresh_key());
    }
    auto ring = KeyRing::create(layout_of(settings.source), keys);
    auto text = written(ring, seconds{0});
    auto error = replace_secret(settings.keys, text);
    ntp_shim::wipe(std::as_writable_bytes(std::span{text}));
    if (error) {
        return std::move(*error);
    }
    return NtsKeyFile{std::make_shared<const KeyRing>(std::move(ring)), std::nullopt};
}

std::string boot_id()
{
    std::ifstream file{"/proc/sys/kernel/random/boot_id"};
    std::string text;
    std::getline(file, text);
    return text.empty() ? "unknown" : text;
}

bool is_synchronised()
{
    timex state{};
    const int status = adjtimex(&state);
    return status >= 0 && status != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
}

} // namespace

std::variant<NtsKeyFile, std::string> load_nts_keys(const Tunnel& tunnel)
{
    const auto& settings = *tunnel.nts;
    std::error_code none;
    if (settings.rotate != seconds{0} && !std::filesystem::exists(settings.keys, none)) {
        return make_file(settings);
    }
    if (auto verdict = judge_secret({settings.keys, settings.owners}); verdict.error) {
        return std::move(*verdict.error);
    }
    const auto read = read_secret(settings.keys);
    if (const auto* why = std::get_if<std::string>(&read)) {
        return *why;
    }
    const auto text = text_of(std::get<ntp_shim::Secret>(read));
    if (settings.source == NtsKeySource::ratchet) {
        auto ratchet = Ratchet::parse(text);
        if (auto* why = std::get_if<std::string>(&ratchet)) {
            return std::move(*why);
        }
        return NtsKeyFile{nullptr, std::get<Ratchet>(std::move(ratchet))};
    }
    auto ring = settings.source == NtsKeySource::chrony ? KeyRing::parse_chrony(text) : KeyRing::parse_own(text);
    if (auto* why = std::get_if<std::string>(&ring)) {
        return std::move(*why);
    }
    return NtsKeyFile{std::make_shared<const KeyRing>(std::move(std::get<KeyRing>(ring))), std::nullopt};
}

NtsKeys::NtsKeys(Services services, const Tunnel& tunnel, NtsKeyFile file, std::function<void(Ring)> use)
    : services_{services}, tunnel_{tunnel}, use_{std::move(use)}, ring_{std::move(file.ring)}, ratchet_{std::move(
                                                                                                   file.ratchet)},
      rotated_{transports::read_boot()}, loaded_{look()}, seen_{loaded_}, timer_{services.loop, [this] { tick(); }}
{
    if (ring_) {
        rotated_ -= age();
        record(fmt::format("key {:08X}", ring_->current().id()), true, {});
    }
    if (ratchet_) {
        turn_ratchet();
    }
    timer_.start(kLookEvery);
}

NtsKeys::~NtsKeys() = default;

/// How long ago the ring that was just read was rotated, by what its file says.
seconds NtsKeys::age() const
{
    if (ring_->layout() == CookieLayout::chrony) {
        return ring_->stamp();
    }
    return std::max(wall_seconds() - ring_->stamp(), seconds{0}); // a clock that went back makes nothing older
}

NtsKeys::Look NtsKeys::look() const
{
    struct stat status {};
    Look look;
    if (::stat(tunnel_.nts->keys.c_str(), &status) == 0) {
        look.changed = seconds{status.st_mtim.tv_sec} + std::chrono::nanoseconds{status.st_mtim.tv_nsec};
        look.size = static_cast<std::uintmax_t>(status.st_size);
        look.inode = status.st_ino;
    }
    return look;
}

/// A file is read once two looks in a row agree: one that is being written is left alone.
void NtsKeys::tick()
{
    const auto now = look();
    if (now == seen_ && now != loaded_ && now != Look{}) {
        reload();
    }
    seen_ = now;
    if (ratchet_) {
        turn_ratchet();
    } else if (tunnel_.nts->rotate != seconds{0} && transports::read_boot() - rotated_ >= tunnel_.nts->rotate) {
        rotate();
    }
    timer_.start(kLookEvery);
}

void NtsKeys::reload()
{
    loaded_ = look();
    auto read = load_nts_keys(tunnel_);
    if (const auto* why = std::get_if<std::string>(&read)) {
        services_.log.error(fmt::format("tunnel {}: {}: {}; the keys loaded before stay in use", tunnel_.name,
                                        tunnel_.nts->keys.string(), *why));
        record("keys", false, *why);
        return;
    }
    auto& file = std::get<NtsKeyFile>(read);
    if (file.ratchet) {
        ratchet_ = std::move(file.ratchet);
        turn_ratchet();
        return;
    }
    replace(std::move(file.ring));
    rotated_ = transports::read_boot() - age();
}

void NtsKeys::rotate()
{
    auto text = written(*ring_, seconds{0});
    auto parsed = ring_->layout() == CookieLayout::chrony ? KeyRing::parse_chrony(text) : KeyRing::parse_own(text);
    ntp_shim::wipe(std::as_writable_bytes(std::span{text}));
    auto next =
        std::get<KeyRing>(std::move(parsed)); // a ring reads what it wrote: the fuzz target nts_cookies holds it
    next.rotate(fresh_key());
    rotated_ = transports::read_boot();
    write(written(next, seconds{0}));
    replace(std::make_shared<const KeyRing>(std::move(next)));
}

void NtsKeys::turn_ratchet()
{
    const auto id = boot_id();
    const Ratchet::Now now{.wall = wall_seconds(),
                           .boot = std::chrono::duration_cast<seconds>(transports::read_boot()),
                           .boot_id = id,
                           .synchronised = is_synchronised()};
    const bool sure = ratchet_->advance(now) == Ratchet::Standing::sure;
    if (ratchet_->take_changed()) {
        write(ratchet_->write());
        replace(sure ? std::make_shared<const KeyRing>(ratchet_->ring()) : nullptr);
    } else if (sure && ring_ == nullptr) {
        replace(std::make_shared<const KeyRing>(ratchet_->ring()));
    } else if (!sure && ring_ != nullptr) {
        replace(nullptr);
    }
    if (!sure && !std::exchange(unsure_, true)) {
        services_.log.warn(fmt::format("tunnel {}: keys_unsure: the clock claims an epoch that nothing else bears out "
                                       "(epoch {} is known); waiting for a synchronised clock",
                                       tunnel_.name, ratchet_->epoch()));
    }
    unsure_ = !sure;
}

void NtsKeys::write(std::string text)
{
    const auto error = replace_secret(tunnel_.nts->keys, text);
    ntp_shim::wipe(std::as_writable_bytes(std::span{text}));
    if (error && !std::exchange(write_failed_, true)) {
        services_.log.error(fmt::format("tunnel {}: {}; the new keys are in memory only", tunnel_.name, *error));
    }
    write_failed_ = error.has_value();
    loaded_ = look();
    seen_ = loaded_;
}

void NtsKeys::replace(Ring ring)
{
    const bool same = ring_ && ring && ring_->current().id() == ring->current().id();
    ring_ = std::move(ring);
    use_(ring_);
    if (ring_ && !same) {
        record(fmt::format("key {:08X}", ring_->current().id()), true, {});
    }
}

void NtsKeys::record(const std::string& subject, bool success, const std::string& reason)
{
    AuditRecord made;
    made.event = AuditEvent::key_loaded;
    made.success = success;
    made.tunnel = tunnel_.name;
    made.subject = subject;
    made.reason = reason;
    services_.audit.record(made, {{"file", tunnel_.nts->keys.string()}});
}

} // namespace gateway
