#include "transports/loop.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace transports {

namespace {

/// libuv refuses only what cannot happen with arguments of ours, or for want of memory: there is no way to go on.
void must(int result, const char* what) noexcept
{
    if (result != 0) {
        (void)std::fprintf(stderr, "ntpgate: %s: %s\n", what, uv_strerror(result));
        std::abort();
    }
}

template <class Owner, class Handle>
Owner* owner_of(Handle* handle) noexcept
{
    return static_cast<Owner*>(handle->data);
}

} // namespace

Loop::Loop()
{
    must(uv_loop_init(&loop_), "uv_loop_init");
    prepare_.reset(new uv_prepare_t{});
    check_.reset(new uv_check_t{});
    idle_.reset(new uv_idle_t{});
    must(uv_idle_init(&loop_, idle_.get()), "uv_idle_init");
    must(uv_prepare_init(&loop_, prepare_.get()), "uv_prepare_init");
    must(uv_check_init(&loop_, check_.get()), "uv_check_init");
    prepare_->data = check_->data = this;
    must(uv_prepare_start(prepare_.get(),
                          [](uv_prepare_t* handle) noexcept {
                              if (auto* loop = owner_of<Loop>(handle)) {
                                  loop->before_poll();
                              }
                          }),
         "uv_prepare_start");
    must(uv_check_start(check_.get(),
                        [](uv_check_t* handle) noexcept {
                            if (auto* loop = owner_of<Loop>(handle)) {
                                loop->run_turn_ends();
                            }
                        }),
         "uv_check_start");
    uv_unref(reinterpret_cast<uv_handle_t*>(prepare_.get()));
    uv_unref(reinterpret_cast<uv_handle_t*>(check_.get()));
    previous_poll_ = last_poll_ = read_instant();
}

Loop::~Loop()
{
    guests_.clear();
    prepare_.reset();
    check_.reset();
    idle_.reset();
    while (uv_run(&loop_, UV_RUN_NOWAIT) != 0 && uv_loop_alive(&loop_) != 0) {
        // Only closing handles and name look-ups under way are left; the latter end in their own time.
        (void)uv_run(&loop_, UV_RUN_ONCE);
    }
    must(uv_loop_close(&loop_), "uv_loop_close");
}

void Loop::run()
{
    (void)uv_run(&loop_, UV_RUN_DEFAULT); // its result only tells whether handles are left
}

void Loop::stop() noexcept
{
    uv_stop(&loop_);
}

void Loop::adopt(std::unique_ptr<LoopGuest> guest)
{
    if (guests_.size() < kMaxGuests) {
        guests_.push_back(std::move(guest));
    }
}

void Loop::dismiss(const LoopGuest* guest) noexcept
{
    const auto found =
        std::find_if(guests_.begin(), guests_.end(), [&](const auto& item) { return item.get() == guest; });
    if (found != guests_.end()) {
        const auto leaving = std::move(*found);
        guests_.erase(found);
    }
}

void Loop::before_poll() noexcept
{
    run_turn_ends();
    if (pending_.empty()) {
        (void)uv_idle_stop(idle_.get()); // cannot fail on an initialised handle
    } else {
        must(uv_idle_start(idle_.get(), [](uv_idle_t*) noexcept {}), "uv_idle_start");
    }
    previous_poll_ = last_poll_;
    last_poll_ = read_instant();
}

void Loop::run_turn_ends() noexcept
{
    // Work may ask for more work, of itself or of others, and may destroy any TurnEnd: so two lists, entries cleared
    // by destructors, and a bound that turns an endless chain of requests into one that also lets input in.
    for (int round = 0; round < 8 && !pending_.empty(); ++round) {
        running_.swap(pending_);
        for (std::size_t i = 0; i < running_.size(); ++i) {
            if (TurnEnd* const item = running_[i]; item != nullptr) {
                running_[i] = nullptr;
                item->requested_ = false;
                const auto work = item->work_; // which may destroy the item
                work();
            }
        }
        running_.clear();
    }
}

TurnEnd::TurnEnd(Loop& loop, std::function<void()> work) : loop_{loop}, work_{std::move(work)}
{}

TurnEnd::~TurnEnd()
{
    std::replace(loop_.pending_.begin(), loop_.pending_.end(), this, static_cast<TurnEnd*>(nullptr));
    std::replace(loop_.running_.begin(), loop_.running_.end(), this, static_cast<TurnEnd*>(nullptr));
}

void TurnEnd::request()
{
    if (!requested_) {
        requested_ = true;
        loop_.pending_.push_back(this);
    }
}

Timer::Timer(Loop& loop, std::function<void()> expired) : handle_{new uv_timer_t{}}, expired_{std::move(expired)}
{
    must(uv_timer_init(loop.raw(), handle_.get()), "uv_timer_init");
    handle_->data = this;
}

void Timer::start(Nanoseconds delay)
{
    start_at(read_boot() + delay);
}

void Timer::start_at(Nanoseconds boot_deadline)
{
    if (armed_for_ == boot_deadline) {
        return; // re-armed after every packet by habit of its owners; most of the time nothing changed
    }
    const auto delay = std::max(boot_deadline - read_boot(), Nanoseconds::zero());
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(delay);
    // libuv's idea of now is as old as the turn; a delay counted from there would end early.
    uv_update_time(handle_->loop);
    armed_for_ = boot_deadline;
    must(uv_timer_start(
             handle_.get(),
             [](uv_timer_t* handle) noexcept {
                 if (auto* timer = owner_of<Timer>(handle)) {
                     timer->armed_for_ = {};
                     const auto expired = timer->expired_; // the callback may destroy the timer
                     expired();
                 }
             },
             static_cast<std::uint64_t>(wait.count()), 0),
         "uv_timer_start");
}

void Timer::stop() noexcept
{
    armed_for_ = {};
    (void)uv_timer_stop(handle_.get()); // cannot fail on an initialised handle
}

Poll::Poll(Loop& loop, int descriptor, std::function<void(int)> ready)
    : handle_{new uv_poll_t{}}, ready_{std::move(ready)}
{
    must(uv_poll_init(loop.raw(), handle_.get(), descriptor), "uv_poll_init");
    handle_->data = this;
}

void Poll::watch(int events)
{
    if (events == watched_) {
        return;
    }
    watched_ = events;
    if (events == 0) {
        (void)uv_poll_stop(handle_.get()); // cannot fail on an initialised handle
        return;
    }
    must(uv_poll_start(handle_.get(), events,
                       [](uv_poll_t* handle, int status, int ready) noexcept {
                           if (auto* poll = owner_of<Poll>(handle)) {
                               // The callback may destroy the watch; the closure it runs in has to outlive that.
                               const auto callback = poll->ready_;
                               if (status < 0) {
                                   // libuv ends a watch when the socket has an error. For a datagram socket that is one
                                   // refused datagram: the read that follows takes it off, and life goes on.
                                   const int wanted = std::exchange(poll->watched_, 0);
                                   poll->watch(wanted);
                               }
                               callback(status < 0 ? UV_READABLE : ready);
                           }
                       }),
         "uv_poll_start");
}

Signal::Signal(Loop& loop, int number, std::function<void()> raised)
    : handle_{new uv_signal_t{}}, raised_{std::move(raised)}
{
    must(uv_signal_init(loop.raw(), handle_.get()), "uv_signal_init");
    handle_->data = this;
    must(uv_signal_start(
             handle_.get(),
             [](uv_signal_t* handle, int) noexcept {
                 if (auto* signal = owner_of<Signal>(handle)) {
                     signal->raised_();
                 }
             },
             number),
         "uv_signal_start");
}

} // namespace transports
