#include "transports/ocsp_desk.hpp"

#include <algorithm>
#include <utility>

namespace transports {

namespace {

constexpr std::chrono::seconds kLongestFetch{3};
constexpr Nanoseconds kKeepFailure = std::chrono::seconds{5}; // a responder that is down is not asked by each handshake
constexpr Nanoseconds kKeepLongest = std::chrono::hours{12};

/// How long an answer is given again, from now.
Nanoseconds shelf_life(const OcspFinding& finding)
{
    const bool of_responder = is_conclusive(finding.status) || finding.status == OcspStatus::unknown;
    const Nanoseconds left = finding.believe_until - read_wall();
    return of_responder ? std::clamp(left, Nanoseconds::zero(), kKeepLongest) : kKeepFailure;
}

} // namespace

Nanoseconds ocsp_patience(Nanoseconds handshake) noexcept
{
    return std::min<Nanoseconds>(kLongestFetch, handshake / 2);
}

OcspDesk::Inquiry::Inquiry(OcspDesk& desk, Loop& loop, Nanoseconds patience, Done done)
    : desk_{desk}, done_{std::move(done)}, patience_{patience}, deadline_{loop, [this] { give_up(); }},
      report_{loop, [this] { finish(); }}
{
    desk_.inquiries_.push_back(this);
    deadline_.start(patience);
}

OcspDesk::Inquiry::~Inquiry()
{
    std::erase(desk_.inquiries_, this);
}

void OcspDesk::Inquiry::settle(const OcspAnswer& answer)
{
    if (std::erase(open_, answer.key) == 0) {
        return;
    }
    answers_.push_back(answer);
    if (open_.empty()) {
        report_.request();
    }
}

void OcspDesk::Inquiry::give_up()
{
    const auto within = std::chrono::duration_cast<std::chrono::milliseconds>(patience_).count();
    const auto open = std::exchange(open_, {});
    for (const std::string& key : open) {
        answers_.push_back(
            {key, {OcspStatus::unreachable, "no response within " + std::to_string(within) + " ms", {}}});
    }
    if (!open.empty()) {
        report_.request();
    }
}

void OcspDesk::Inquiry::finish()
{
    deadline_.stop();
    const Done done = std::move(done_); // which may destroy this inquiry
    done(std::move(answers_));
}

std::unique_ptr<OcspDesk::Inquiry> OcspDesk::ask(Loop& loop, std::vector<OcspQuestion> questions, Nanoseconds patience,
                                                 Done done)
{
    auto inquiry = std::make_unique<Inquiry>(*this, loop, patience, std::move(done));
    for (const OcspQuestion& question : questions) {
        inquiry->open_.push_back(question.key);
    }
    if (questions.empty()) {
        inquiry->report_.request();
    }
    for (OcspQuestion& question : questions) {
        if (const OcspFinding* const known = recall(question.key)) {
            inquiry->settle({question.key, *known});
        } else if (question.url.empty()) {
            inquiry->settle(
                {question.key, {OcspStatus::no_responder, "the certificate names no responder that speaks http", {}}});
        } else if (is_silent(question.url)) {
            inquiry->settle({question.key, {OcspStatus::unreachable, question.url + ": silent a moment ago", {}}});
        } else {
            enqueue(loop, std::move(question));
        }
    }
    return inquiry;
}

const OcspFinding* OcspDesk::recall(const std::string& key)
{
    const auto found = kept_.find(key);
    if (found == kept_.end()) {
        return nullptr;
    }
    const OcspFinding& finding = found->second.finding;
    // A clock that was stepped forward makes an answer old before its time.
    const bool over = read_boot() >= found->second.until ||
                      (finding.believe_until != Nanoseconds::zero() && read_wall() >= finding.believe_until);
    if (over) {
        kept_.erase(found);
        return nullptr;
    }
    return &finding;
}

void OcspDesk::keep(const OcspAnswer& answer)
{
    const Nanoseconds now = read_boot();
    if (kept_.size() >= kMaxKept) {
        std::erase_if(kept_, [&](const auto& item) { return item.second.until <= now; });
    }
    if (kept_.size() >= kMaxKept) {
        kept_.erase(std::ranges::min_element(kept_, {}, [](const auto& item) { return item.second.until; }));
    }
    kept_[answer.key] = {answer.finding, now + shelf_life(answer.finding)};
}

void OcspDesk::enqueue(Loop& loop, OcspQuestion question)
{
    const bool asked = jobs_.contains(question.key) ||
                       std::ranges::any_of(waiting_, [&](const auto& other) { return other.key == question.key; });
    if (!asked && waiting_.size() < kMaxWaiting) { // else its patience ends
        waiting_.push_back(std::move(question));
        begin_next(loop);
    }
}

bool OcspDesk::is_wanted(const std::string& key) const
{
    return std::ranges::any_of(inquiries_, [&](const Inquiry* inquiry) {
        return std::ranges::find(inquiry->open_, key) != inquiry->open_.end();
    });
}

/// One responder that is down must not hold up what others could say.
bool OcspDesk::is_silent(const std::string& url)
{
    const Nanoseconds now = read_boot();
    std::erase_if(silent_, [&](const auto& item) { return item.second <= now; }); // few: each took a whole fetch
    return silent_.contains(url);
}

void OcspDesk::begin_next(Loop& loop)
{
    while (!waiting_.empty() && jobs_.size() < kMaxAtOnce) {
        const OcspQuestion question = std::move(waiting_.front());
        waiting_.pop_front();
        if (!is_wanted(question.key)) {
            continue; // who asked has given up
        }
        auto fetched = std::make_shared<OcspFetched>();
        Job& job = jobs_[question.key];
        job.fetched = fetched;
        job.url = question.url;
        job.work = std::make_unique<OffLoop>(
            loop, [fetched, question] { *fetched = fetch_response(question, kLongestFetch); },
            [this, &loop, key = question.key] { finished(loop, key); });
    }
}

void OcspDesk::finished(Loop& loop, const std::string& key)
{
    const auto job = jobs_.extract(key); // with the work that calls: gone at the end of this call
    const OcspAnswer answer{key, job.mapped().fetched->finding};
    keep(answer);
    if (answer.finding.status == OcspStatus::unreachable) {
        silent_[job.mapped().url] = read_boot() + kKeepFailure;
    }
    const std::vector<Inquiry*> inquiries = inquiries_;
    for (Inquiry* const inquiry : inquiries) {
        inquiry->settle(answer);
    }
    begin_next(loop);
}

} // namespace transports
