#include "gateway/client_channels.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace gateway {

namespace {

using transports::Nanoseconds;

constexpr Nanoseconds kFirstBackOff = std::chrono::milliseconds{100};
constexpr Nanoseconds kLongestBackOff = std::chrono::seconds{30};
constexpr Nanoseconds kWantedInterval = std::chrono::seconds{1};
constexpr Nanoseconds kRenewBefore = std::chrono::minutes{1}; // a certificate's end

} // namespace

/// One channel from its attempt to its end; the handler of both.
class ClientChannels::Slot final : public transports::ChannelHandler {
public:
    explicit Slot(ClientChannels& keeper) : keeper_{keeper} {}

    void connect(transports::Connector& connector, const transports::Target& target)
    {
        attempt_ = connector.connect(target, *this);
    }

    void on_open(std::unique_ptr<transports::Channel> channel) override
    {
        channel_ = std::move(channel);
        opened_ = transports::read_boot();
        keeper_.slot_opened(*this);
        attempt_.reset();
    }
    void on_message(transports::Channel& from, std::span<const std::byte> message, transports::Instant arrival) override
    {
        keeper_.owner_.on_channel_message(from, message, arrival);
    }
    void on_leaving(transports::Channel& channel) override { keeper_.owner_.on_channel_leaving(channel.number()); }
    void on_end(transports::Channel& from) override
    {
        // Raw framing: a peer that sends nothing more has no replies for us either.
        from.close(transports::CloseReason::peer_closed);
    }
    void on_rekeyed(transports::Channel& channel) override
    {
        keeper_.events_.rekeyed(channel.peer());
        keeper_.owner_.on_channel_rekeyed(channel);
    }
    // Each of these is the slot's last act: the keeper destroys it.
    void on_closed(transports::Channel&, const transports::Closed& why) override { keeper_.slot_closed(*this, why); }
    void on_failed(const transports::Failed& why) override { keeper_.slot_failed(*this, why); }
    void on_discarded(const transports::Discarded& record) override { keeper_.events_.discarded(record); }

    [[nodiscard]] transports::Channel* channel() const noexcept { return channel_.get(); }
    [[nodiscard]] bool connecting() const noexcept { return channel_ == nullptr; }

    bool retiring = false;
    bool ended = false; // closed for its age, and its end is under way
    transports::CloseReason close_reason = transports::CloseReason::max_channel_age; // of a retiring one
    bool heard = false;                                                              // something came from the peer
    [[nodiscard]] Nanoseconds opened() const noexcept { return opened_; }

private:
    ClientChannels& keeper_;
    std::unique_ptr<transports::Attempt> attempt_;
    std::unique_ptr<transports::Channel> channel_;
    Nanoseconds opened_{};
};

ClientChannels::ClientChannels(Services services, const Tunnel& tunnel,
                               std::unique_ptr<transports::Connector> connector, ClientChannelsOwner& owner)
    : services_{services}, tunnel_{tunnel}, connector_{std::move(connector)}, owner_{owner},
      events_{services, tunnel.name}, timer_{services.loop, [this] { on_timer(); }}
{}

ClientChannels::~ClientChannels() = default;

void ClientChannels::start()
{
    connect_now();
}

void ClientChannels::stop()
{
    stopped_ = true;
    timer_.stop();
    std::erase_if(slots_, [](const auto& slot) { return slot->connecting(); });
    for (const auto& slot : slots_) {
        slot->channel()->close(transports::CloseReason::local_request);
    }
    refresh();
}

std::size_t ClientChannels::connecting() const noexcept
{
    return static_cast<std::size_t>(
        std::count_if(slots_.begin(), slots_.end(), [](const auto& slot) { return slot->connecting(); }));
}

std::size_t ClientChannels::room_for_waiting() const noexcept
{
    return kMaxRawChannels - std::min(open_.size(), kMaxRawChannels);
}

void ClientChannels::want(std::size_t count)
{
    wanted_ = count;
    if (needs_channel()) {
        try_if_allowed();
        arm();
    }
}

/// v1 keeps one channel up; raw framing opens as many as there are requests waiting.
bool ClientChannels::needs_channel() const noexcept
{
    if (stopped_) {
        return false;
    }
    if (tunnel_.framing == Framing::v1) {
        const bool fresh = std::any_of(slots_.begin(), slots_.end(), [](const auto& slot) { return !slot->retiring; });
        return !fresh;
    }
    return wanted_ > connecting() && slots_.size() < kMaxRawChannels;
}

/// Back-off ends at next_attempt_; a waiting request need not wait longer than a second after the last attempt.
Nanoseconds ClientChannels::attempt_allowed_at() const noexcept
{
    return wanted_ != 0 ? std::min(next_attempt_, last_attempt_ + kWantedInterval) : next_attempt_;
}

void ClientChannels::try_if_allowed()
{
    const Nanoseconds now = transports::read_boot();
    while (needs_channel() && now >= attempt_allowed_at()) {
        connect_now();
    }
}

void ClientChannels::on_timer()
{
    retire_aged(transports::read_boot());
    try_if_allowed();
    arm();
}

void ClientChannels::arm()
{
    std::optional<Nanoseconds> due;
    const auto consider = [&](Nanoseconds at) { due = due ? std::min(*due, at) : at; };
    if (needs_channel()) {
        consider(attempt_allowed_at());
    }
    for (const auto& slot : slots_) {
        if (slot->connecting() || slot->ended) {
            continue;
        }
        const Nanoseconds age = tunnel_.timing.max_channel_age + (slot->retiring ? time_to_succeed() : Nanoseconds{});
        consider(slot->opened() + age);
        if (const Nanoseconds until = slot->channel()->peer().valid_until; until != Nanoseconds::zero()) {
            // Looked at every minute: the clock may be stepped, or be known by then.
            const auto time = transports::certificate_time(tunnel_.tls.clock);
            const Nanoseconds left = time ? until - *time : std::chrono::minutes{1};
            consider(transports::read_boot() +
                     std::clamp<Nanoseconds>(left, std::chrono::milliseconds{1}, std::chrono::minutes{1}));
        }
    }
    if (due) {
        timer_.start_at(*due);
    } else {
        timer_.stop();
    }
}

Nanoseconds ClientChannels::time_to_succeed() const noexcept
{
    return std::min<Nanoseconds>(kRenewBefore, tunnel_.timing.max_channel_age);
}

/// A channel is never older than its certificates, nor than max-channel-age by more than the time that its successor
/// has to open: not even when there is no successor.
void ClientChannels::retire_aged(Nanoseconds now)
{
    for (const auto& slot : slots_) {
        if (slot->connecting() || slot->ended) {
            continue;
        }
        const Nanoseconds age = now - slot->opened();
        const Nanoseconds valid_until = slot->channel()->peer().valid_until;
        const auto time = transports::certificate_time(tunnel_.tls.clock);
        const bool ends = valid_until != Nanoseconds::zero() && time.has_value();
        const bool ending = ends && *time + kRenewBefore >= valid_until;
        slot->retiring = slot->retiring || age >= tunnel_.timing.max_channel_age || (ending && age >= kRenewBefore);
        slot->ended = (ends && *time >= valid_until) || age >= tunnel_.timing.max_channel_age + time_to_succeed();
        if (slot->ended) {
            slot->channel()->close(transports::CloseReason::max_channel_age);
        }
    }
    refresh();
}

void ClientChannels::connect_now()
{
    const Target& target = tunnel_.connect[target_];
    last_attempt_ = transports::read_boot();
    services_.log.debug(fmt::format("tunnel {}: connecting to {}", tunnel_.name, target.text()));
    slots_.push_back(std::make_unique<Slot>(*this));
    slots_.back()->connect(*connector_, {target.host, target.port});
}

void ClientChannels::slot_opened(Slot& slot)
{
    tried_ = true;
    transports::Channel& channel = *slot.channel();
    events_.opened(channel.peer());
    refresh();
    owner_.on_channel_open(channel);
    if (channel.outdated()) { // replaced in the middle of its handshake
        retire(slot, transports::CloseReason::credentials_replaced);
        on_timer();
    }
    arm();
}

void ClientChannels::slot_failed(Slot& slot, const transports::Failed& why)
{
    tried_ = true;
    forget(slot);
    next_target();
    events_.failed(why);
    owner_.on_attempt_failed(why);
    on_timer();
}

void ClientChannels::slot_closed(Slot& slot, const transports::Closed& why)
{
    const std::uint64_t number = slot.channel()->number();
    const transports::PeerIdentity peer = slot.channel()->peer();
    // A channel that never spoke (the server refused us after our side was done) is a failed attempt, and backs off.
    const bool failed = !slot.heard && !stopped_;
    const bool retiring = slot.retiring;
    forget(slot);
    if (failed) {
        next_target();
    } else if (!retiring) {
        target_ = (target_ + 1) % tunnel_.connect.size();
        next_attempt_ = {};
    }
    events_.closed(peer, why);
    owner_.on_channel_closed(number, why);
    on_timer();
}

void ClientChannels::next_target()
{
    target_ = (target_ + 1) % tunnel_.connect.size();
    if (target_ != 0) {
        next_attempt_ = {}; // the others are asked at once
        return;
    }
    const auto longest = std::min(kLongestBackOff, kFirstBackOff * (1L << std::min(rounds_failed_, 9U)));
    ++rounds_failed_;
    // Half of it is certain, half is chance: a fleet that lost its server together does not come back together.
    const Nanoseconds certain = longest / 2;
    const Nanoseconds wait = certain + std::chrono::duration_cast<Nanoseconds>(certain * services_.random.fraction());
    next_attempt_ = transports::read_boot() + wait;
}

void ClientChannels::forget(const Slot& slot)
{
    std::erase_if(slots_, [&](const auto& item) { return item.get() == &slot; });
    refresh();
}

void ClientChannels::refresh()
{
    open_.clear();
    usable_.clear();
    for (auto item = slots_.rbegin(); item != slots_.rend(); ++item) {
        if (!(*item)->connecting()) {
            open_.push_back((*item)->channel());
            if (!(*item)->retiring) {
                usable_.push_back((*item)->channel());
            }
        }
    }
    // While the successor of a retiring channel is not there yet, the old one serves on.
    if (usable_.empty() && tunnel_.framing == Framing::v1) {
        usable_ = open_;
    }
}

ClientChannels::Slot* ClientChannels::find(std::uint64_t number) const noexcept
{
    const auto found = std::find_if(slots_.begin(), slots_.end(), [&](const auto& slot) {
        return !slot->connecting() && slot->channel()->number() == number;
    });
    return found == slots_.end() ? nullptr : found->get();
}

void ClientChannels::heard_from(std::uint64_t number)
{
    if (Slot* const slot = find(number); slot != nullptr && !slot->heard) {
        slot->heard = true;
        rounds_failed_ = 0;
    }
}

bool ClientChannels::is_replaced(std::uint64_t number) const noexcept
{
    return find(number) != nullptr && std::none_of(usable_.begin(), usable_.end(),
                                                   [&](const auto* channel) { return channel->number() == number; });
}

void ClientChannels::retire(std::uint64_t number)
{
    if (Slot* const slot = find(number); slot != nullptr && !slot->retiring) {
        retire(*slot, transports::CloseReason::drained);
        on_timer();
    }
}

void ClientChannels::retire(Slot& slot, transports::CloseReason why)
{
    slot.retiring = true;
    slot.close_reason = why;
    refresh();
    next_attempt_ = {};
}

void ClientChannels::recheck()
{
    for (const auto& slot : slots_) {
        if (slot->connecting()) {
            continue;
        }
        slot->channel()->recheck();
        if (!slot->retiring && slot->channel()->outdated()) {
            retire(*slot, transports::CloseReason::credentials_replaced);
        }
    }
    on_timer();
}

void ClientChannels::close_replaced(std::uint64_t number)
{
    if (Slot* const slot = find(number)) {
        slot->channel()->close(slot->close_reason);
    }
}

void ClientChannels::distrust(const transports::Closed& why)
{
    rounds_failed_ = distrusted_++; // each of them had been heard, which began back-off anew
    for (const auto& slot : slots_) {
        if (!slot->connecting()) {
            slot->heard = false;
            slot->channel()->close(why.reason);
        }
    }
}

void ClientChannels::close(std::uint64_t number, transports::CloseReason why)
{
    if (Slot* const slot = find(number)) {
        slot->channel()->close(why);
    }
}

} // namespace gateway
