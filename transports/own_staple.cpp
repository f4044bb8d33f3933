#include "transports/own_staple.hpp"

#include <algorithm>
#include <utility>

#include "transports/tls_inventory.hpp"

namespace transports {

namespace {

constexpr std::chrono::seconds kPatience{10}; // nobody waits for it
constexpr Nanoseconds kFirstRetry = std::chrono::seconds{2};
constexpr Nanoseconds kLongestRetry = std::chrono::minutes{10};
constexpr Nanoseconds kLook = std::chrono::minutes{1};
constexpr Nanoseconds kShortestUse = std::chrono::seconds{1};
constexpr Nanoseconds kLongestUse = std::chrono::hours{12};

} // namespace

OwnStaple::OwnStaple(Loop& loop, Told told) : loop_{loop}, told_{std::move(told)}, next_{loop, [this] { look(); }}
{}

OwnStaple::~OwnStaple() = default;

void OwnStaple::use(const TlsContext& context)
{
    work_.reset();
    next_.stop();
    auto question = own_question(context);
    if (!question || !question_ || question->key != question_->key) {
        staple_ = nullptr; // of another certificate
    }
    question_ = std::move(question);
    failures_ = 0;
    if (question_) {
        fetch();
    }
}

OcspBytes OwnStaple::current() const
{
    return read_wall() < until_ ? staple_ : nullptr;
}

void OwnStaple::fetch()
{
    auto result = std::make_shared<OcspFetched>();
    work_ = std::make_unique<OffLoop>(
        loop_, [result, question = *question_] { *result = fetch_response(question, kPatience); },
        [this, result] { fetched(*result); });
}

void OwnStaple::wait(Nanoseconds time)
{
    due_ = read_boot() + time;
    next_.start(std::min(time, kLook));
}

/// The clock may be stepped beyond the staple's end: looked at every minute.
void OwnStaple::look()
{
    const Nanoseconds left = due_ - read_boot();
    const bool over = staple_ && read_wall() >= until_ && failures_ == 0;
    if (left <= Nanoseconds::zero() || over) {
        fetch();
    } else {
        next_.start(std::min(left, kLook));
    }
}

/// A new one is fetched in the middle of the old one's time, so that a responder may be away for the other half.
void OwnStaple::fetched(const OcspFetched& what)
{
    if (is_conclusive(what.finding.status)) {
        failures_ = 0;
        staple_ = what.response;
        until_ = what.finding.believe_until;
        wait(std::clamp((until_ - read_wall()) / 2, kShortestUse, kLongestUse));
    } else {
        wait(std::min(kLongestRetry, kFirstRetry * (1L << std::min(failures_++, 9U))));
    }
    if (told_) {
        told_(what.finding);
    }
}

} // namespace transports
