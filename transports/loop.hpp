// Owning wrappers for the libuv loop and the handles on it: timers, descriptor watches, signals, end-of-turn work.
//
// One thread for each loop. Callbacks are plain functions of one member call; nothing here throws into libuv.
// A wrapper may be destroyed at any time, inside its own callback too: its handle is closed then and freed later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <uv.h>

#include "transports/clock.hpp"

namespace transports {

/// Closes a libuv handle and frees its memory once libuv has let go of it.
struct HandleCloser {
    template <class Handle>
    void operator()(Handle* handle) const noexcept
    {
        handle->data = nullptr; // a callback already queued finds no owner
        uv_close(reinterpret_cast<uv_handle_t*>(handle),
                 [](uv_handle_t* closed) { delete reinterpret_cast<Handle*>(closed); });
    }
};
template <class Handle>
using OwnedHandle = std::unique_ptr<Handle, HandleCloser>;

class TurnEnd;

/// Something short-lived that nobody but the loop owns, such as a socket that waits for its peer's last word.
class LoopGuest {
public:
    LoopGuest() = default;
    virtual ~LoopGuest() = default;
    LoopGuest(const LoopGuest&) = delete;
    LoopGuest& operator=(const LoopGuest&) = delete;
};

class Loop {
public:
    Loop();
    /// Everything made on the loop must be gone by now; handles still closing are waited for. Ends the process when
    /// one was forgotten: that is a leak of ours.
    ~Loop();
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    void run(); // until stop, or until nothing is left to wait for
    void stop() noexcept;
    [[nodiscard]] uv_loop_t* raw() noexcept { return &loop_; }

    /// Just before the poll before this turn's: what is read now cannot have arrived earlier, or it would have been
    /// read in the turn before.
    [[nodiscard]] Instant earliest_arrival() const noexcept { return previous_poll_; }

    [[nodiscard]] std::uint64_t take_number() noexcept { return ++last_number_; } // never the same twice

    static constexpr std::size_t kMaxGuests = 1024;
    void adopt(std::unique_ptr<LoopGuest> guest);  // one above kMaxGuests is destroyed at once
    void dismiss(const LoopGuest* guest) noexcept; // destroys it; may be its own last act

private:
    friend class TurnEnd;
    void before_poll() noexcept;
    void run_turn_ends() noexcept;

    uv_loop_t loop_{};
    OwnedHandle<uv_prepare_t> prepare_;
    OwnedHandle<uv_check_t> check_;
    OwnedHandle<uv_idle_t> idle_; // active while work for a turn's end is left over: the poll must not wait then
    Instant previous_poll_{};
    Instant last_poll_{};
    std::vector<TurnEnd*> pending_;
    std::vector<TurnEnd*> running_;
    std::vector<std::unique_ptr<LoopGuest>> guests_;
    std::uint64_t last_number_ = 0;
};

/// Work put off to the end of the loop's turn, so that many small causes have one effect: frames share a record,
/// datagrams a system call, and final callbacks come when nobody is in the middle of anything.
class TurnEnd {
public:
    TurnEnd(Loop& loop, std::function<void()> work);
    ~TurnEnd();
    TurnEnd(const TurnEnd&) = delete;
    TurnEnd& operator=(const TurnEnd&) = delete;
    void request(); // once or often: `work` runs once

private:
    friend class Loop;
    Loop& loop_;
    std::function<void()> work_;
    bool requested_ = false;
};

/// Wakes after a delay; whether a deadline has really passed is for the woken to ask of the boot clock.
class Timer {
public:
    Timer(Loop& loop, std::function<void()> expired);
    void start(Nanoseconds delay); // rounded up to a millisecond; again = anew
    /// At a moment on the boot clock.
    void start_at(Nanoseconds boot_deadline);
    void stop() noexcept;

private:
    OwnedHandle<uv_timer_t> handle_;
    std::function<void()> expired_;
    Nanoseconds armed_for_{}; // 0 = not armed
};

/// Watches a descriptor that the caller owns and closes after this object is gone.
class Poll {
public:
    /// `ready` gets UV_READABLE and UV_WRITABLE bits; an error on the descriptor shows as readable.
    Poll(Loop& loop, int descriptor, std::function<void(int)> ready);
    void watch(int events);                  // 0 = nothing
    void end() noexcept { handle_.reset(); } // the watch is over; the descriptor may be closed
    [[nodiscard]] int watched() const noexcept { return watched_; }

private:
    OwnedHandle<uv_poll_t> handle_;
    std::function<void(int)> ready_;
    int watched_ = 0;
};

class Signal {
public:
    Signal(Loop& loop, int number, std::function<void()> raised);

private:
    OwnedHandle<uv_signal_t> handle_;
    std::function<void()> raised_;
};

} // namespace transports
