// Keeps a client tunnel's channels up: targets in order, back-off with jitter, make before break.
//
//                +--------- refused, unreachable: next target, after the last one back-off ----------+
//                v                                                                                   |
//   slot: connecting --on_open--> current --goodbye or age, once a newer one is open--> retiring --> gone
//                                    +----------- closed: next target -----------------------------> gone
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "gateway/channel_events.hpp"
#include "gateway/config.hpp"
#include "gateway/services.hpp"
#include "transports/channel.hpp"
#include "transports/loop.hpp"

namespace gateway {

class ClientChannelsOwner {
public:
    virtual void on_channel_open(transports::Channel& channel) = 0;
    virtual void
    on_channel_leaving(std::uint64_t number) = 0; // what was sent on it in this turn is about to be written
    virtual void on_channel_message(transports::Channel& channel, std::span<const std::byte> message,
                                    transports::Instant arrival) = 0;
    virtual void on_channel_closed(std::uint64_t number, const transports::Closed& why) = 0;
    /// It takes messages again.
    virtual void on_channel_rekeyed(transports::Channel& /*channel*/) {}
    virtual void on_attempt_failed(const transports::Failed& why) = 0;

protected:
    ~ClientChannelsOwner() = default;
};

class ClientChannels {
public:
    /// Raw framing: up to this many channels, each with one exchange outstanding.
    static constexpr std::size_t kMaxRawChannels = 8;

    ClientChannels(Services services, const Tunnel& tunnel, std::unique_ptr<transports::Connector> connector,
                   ClientChannelsOwner& owner);
    ~ClientChannels();
    ClientChannels(const ClientChannels&) = delete;
    ClientChannels& operator=(const ClientChannels&) = delete;

    void start(); // the first attempt
    /// A local request waits: `count` of them. Permits one attempt a second even during back-off.
    void want(std::size_t count);
    /// How many more requests may wait for a channel (raw framing; v1: no bound of ours).
    [[nodiscard]] std::size_t room_for_waiting() const noexcept;

    /// Open channels that take new requests, the preferred one first. Valid until the loop's next turn.
    [[nodiscard]] const std::vector<transports::Channel*>& usable() const noexcept { return usable_; }
    [[nodiscard]] const std::vector<transports::Channel*>& open() const noexcept { return open_; }
    [[nodiscard]] bool tried() const noexcept { return tried_; } // the first attempt has ended, well or not

    void heard_from(std::uint64_t number); // the peer is alive: back-off starts anew
    void retire(std::uint64_t number);     // said goodbye
    /// Ends a replaced channel: drained after a goodbye, else max_channel_age.
    void close_replaced(std::uint64_t number);
    void close(std::uint64_t number, transports::CloseReason why);
    /// Closes all of them as attempts that failed: back-off goes on.
    void distrust(const transports::Closed& why);
    /// It takes no new requests, and may close once its exchanges are over.
    [[nodiscard]] bool is_replaced(std::uint64_t number) const noexcept;
    /// Credentials were replaced: channels whose peer is admitted no longer end, those of an old certificate of ours
    /// are made anew before they do.
    void recheck();
    void stop(); // no attempts any more, open channels are closed
    [[nodiscard]] const ChannelCounters& counters() const noexcept { return events_.counters(); }
    [[nodiscard]] ChannelEvents& events() noexcept { return events_; }

private:
    class Slot;
    [[nodiscard]] transports::Nanoseconds attempt_allowed_at() const noexcept;
    void try_if_allowed();
    void connect_now();
    void slot_opened(Slot& slot);
    void slot_failed(Slot& slot, const transports::Failed& why);
    void slot_closed(Slot& slot, const transports::Closed& why);
    void forget(const Slot& slot);
    void refresh();
    void next_target();
    void on_timer();
    void arm();
    [[nodiscard]] Slot* find(std::uint64_t number) const noexcept;
    [[nodiscard]] std::size_t connecting() const noexcept;
    [[nodiscard]] bool needs_channel() const noexcept;
    void retire(Slot& slot, transports::CloseReason why);
    void retire_aged(transports::Nanoseconds now);
    [[nodiscard]] transports::Nanoseconds time_to_succeed() const noexcept;

    Services services_;
    const Tunnel& tunnel_;
    std::unique_ptr<transports::Connector> connector_;
    ClientChannelsOwner& owner_;
    ChannelEvents events_;
    std::vector<std::unique_ptr<Slot>> slots_; // oldest first
    std::vector<transports::Channel*> usable_;
    std::vector<transports::Channel*> open_;
    bool stopped_ = false;
    bool tried_ = false;
    std::size_t wanted_ = 0;
    std::size_t target_ = 0;
    unsigned distrusted_ = 0;    // times
    unsigned rounds_failed_ = 0; // all targets in a row without a channel that spoke
    transports::Nanoseconds next_attempt_{};
    transports::Nanoseconds last_attempt_{};
    transports::Timer timer_;
};

} // namespace gateway
