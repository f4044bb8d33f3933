#include "tests/support/impaired_path.hpp"

#include <algorithm>
#include <utility>

namespace support {

void ImpairedPath::renumber()
{
    number_ = 0;
    hooks_.clear();
}

double ImpairedPath::draw()
{
    return static_cast<double>(random_() >> 11) * 0x1p-53;
}

ImpairedPath::Fate ImpairedPath::decide()
{
    // Always four draws: what is switched on or off does not change the fate of the datagrams after it.
    Fate fate;
    fate.lost = draw() < impairment_.loss;
    fate.duplicated = draw() < impairment_.duplicate;
    fate.reordered = draw() < impairment_.reorder;
    fate.jitter = Nanoseconds{static_cast<std::int64_t>(draw() * static_cast<double>(impairment_.jitter.count()))};
    return fate;
}

std::optional<Nanoseconds> ImpairedPath::leave_link(std::size_t octets, Nanoseconds now)
{
    if (waiting_.size() >= impairment_.queue) {
        return std::nullopt;
    }
    if (impairment_.rate == 0) {
        return now;
    }
    const double seconds = static_cast<double>(octets) * 8 / static_cast<double>(impairment_.rate);
    link_free_ = std::max(link_free_, now) + Nanoseconds{static_cast<std::int64_t>(seconds * 1e9)};
    return link_free_;
}

void ImpairedPath::wait(Datagram datagram, Nanoseconds due)
{
    waiting_.push({due, ++order_, std::move(datagram)});
}

void ImpairedPath::release_swapped(Nanoseconds due)
{
    if (swapped_) {
        wait(std::move(*swapped_), due);
        swapped_.reset();
    }
}

std::optional<Nanoseconds> ImpairedPath::survive(const Datagram& datagram, const Fate& fate,
                                                 const std::optional<Hook>& hook, Nanoseconds now)
{
    if (hook && hook->act == Act::drop) {
        ++counters_.hooked_away;
        return std::nullopt;
    }
    if (fate.lost) {
        ++counters_.lost;
        return std::nullopt;
    }
    const std::optional<Nanoseconds> left = leave_link(datagram.octets.size(), now);
    counters_.overflowed += left ? 0 : 1;
    return left;
}

void ImpairedPath::submit(Datagram datagram, Nanoseconds now)
{
    FlowCounters& flow = counters_.flows[datagram.flow];
    ++counters_.received;
    ++flow.received;
    counters_.largest = std::max(counters_.largest, datagram.octets.size());
    const Fate fate = decide();
    const auto found = hooks_.find(++number_);
    const std::optional<Hook> hook = found == hooks_.end() ? std::nullopt : std::optional{found->second};
    counters_.hooked += hook ? 1 : 0;
    const std::optional<Nanoseconds> left = survive(datagram, fate, hook, now);
    if (!left) {
        ++flow.dropped;
        return;
    }
    if (hook && hook->act == Act::swap && !swapped_) {
        swapped_ = std::move(datagram);
        return;
    }
    Nanoseconds due = *left + impairment_.delay + fate.jitter;
    if (hook && hook->act == Act::delay) {
        due += hook->delay;
    } else if (fate.reordered) {
        ++counters_.reordered;
        due += impairment_.reorder_by;
    } else {
        due = last_due_ = std::max(due, last_due_);
    }
    if (fate.duplicated || (hook && hook->act == Act::duplicate)) {
        ++counters_.duplicated;
        wait(datagram, due);
    }
    wait(std::move(datagram), due);
    release_swapped(due);
}

std::optional<Datagram> ImpairedPath::take(Nanoseconds now)
{
    if (waiting_.empty() || waiting_.top().due > now) {
        return std::nullopt;
    }
    counters_.latest = std::max(counters_.latest, now - waiting_.top().due);
    ++counters_.sent;
    Datagram datagram = waiting_.top().datagram;
    waiting_.pop();
    return datagram;
}

std::optional<Nanoseconds> ImpairedPath::next_due() const
{
    return waiting_.empty() ? std::nullopt : std::optional{waiting_.top().due};
}

} // namespace support
