#include "transports/off_loop.hpp"

#include <cstdlib>
#include <string>
#include <utility>

namespace transports {

struct OffLoop::Request {
    uv_work_t request{};
    std::function<void()> work;
    std::function<void()> done;
    OffLoop* owner = nullptr;
};

void reserve_threads(unsigned count)
{
    // The library has no other way to be told.
    (void)setenv("UV_THREADPOOL_SIZE", std::to_string(count).c_str(), 0);
}

OffLoop::OffLoop(Loop& loop, std::function<void()> work, std::function<void()> done) : request_{new Request{}}
{
    request_->work = std::move(work);
    request_->done = std::move(done);
    request_->owner = this;
    request_->request.data = request_;
    // Refused only without a function to call.
    (void)uv_queue_work(
        loop.raw(), &request_->request,
        [](uv_work_t* request) noexcept { static_cast<Request*>(request->data)->work(); },
        [](uv_work_t* request, int /*status*/) noexcept {
            const std::unique_ptr<Request> ended{static_cast<Request*>(request->data)};
            if (ended->owner != nullptr) {
                ended->owner->request_ = nullptr;
                ended->done();
            }
        });
}

OffLoop::~OffLoop()
{
    if (request_ != nullptr) {
        request_->owner = nullptr;
        (void)uv_cancel(reinterpret_cast<uv_req_t*>(&request_->request)); // too late is as good: nobody listens
    }
}

} // namespace transports
