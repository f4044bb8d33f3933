// Work that may block (files, name servers, other people's servers), done by libuv's thread pool and told on the loop.
#pragma once

#include <functional>
#include <memory>

#include "transports/loop.hpp"

namespace transports {

/// How many pieces of work may be under way at once, 4 unless it is said before the first. The environment's
/// UV_THREADPOOL_SIZE, where it is set, says otherwise.
void reserve_threads(unsigned count);

/// Destroying it before `done` was called forgets the result; work under way ends in its own time, so that what it
/// touches must belong to it.
class OffLoop {
public:
    /// `work` runs on another thread, then `done` on the loop, on a later turn; `done` may destroy this object.
    OffLoop(Loop& loop, std::function<void()> work, std::function<void()> done);
    ~OffLoop();
    OffLoop(const OffLoop&) = delete;
    OffLoop& operator=(const OffLoop&) = delete;

private:
    struct Request;
    Request* request_; // freed by its own callback, which always comes
};

} // namespace transports
