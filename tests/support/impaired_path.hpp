// One direction of a bad network: decides about each datagram, keeps it until it is due. No socket, no clock.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <queue>
#include <random>
#include <vector>

namespace support {

using Nanoseconds = std::chrono::nanoseconds;

/// Probabilities are 0 to 1; what is zero is off.
struct Impairment {
    double loss = 0;
    double duplicate = 0;
    double reorder = 0;   // of these, each is held `reorder_by` longer and may be overtaken
    Nanoseconds delay{};  // never less
    Nanoseconds jitter{}; // uniformly up to this much more; keeps the order
    Nanoseconds reorder_by{5000000};
    std::uint64_t rate = 0;   // bits a second, on a link that sends one datagram after the other
    std::size_t queue = 1000; // datagrams under way at most; more are dropped
};

enum class Act : std::uint8_t { drop, duplicate, delay, swap };

/// What happens to one datagram, picked by its number.
struct Hook {
    Act act{};
    Nanoseconds delay{}; // Act::delay: this much longer, overtaken by whatever comes meanwhile
};

struct Datagram {
    std::uint32_t flow = 0; // whose: counted by
    std::vector<std::byte> octets;
};

struct FlowCounters {
    std::uint64_t received = 0;
    std::uint64_t dropped = 0; // lost, overflowed or hooked away
};

/// received + duplicated == sent + lost + overflowed + hooked_away + those under way.
struct PathCounters {
    std::uint64_t received = 0;
    std::uint64_t lost = 0;
    std::uint64_t duplicated = 0;
    std::uint64_t reordered = 0;
    std::uint64_t overflowed = 0;
    std::uint64_t hooked = 0;      // datagrams that met a hook
    std::uint64_t hooked_away = 0; // of these, dropped
    std::uint64_t sent = 0;
    std::size_t largest = 0; // octets of a datagram received
    std::map<std::uint32_t, FlowCounters> flows;
    Nanoseconds latest{}; // how far behind its due time a datagram was taken, at worst
};

class ImpairedPath {
public:
    /// The fate of the n-th datagram depends on the seed, on n and on the impairment, on nothing else.
    explicit ImpairedPath(std::uint64_t seed) : random_(seed) {}

    void set(const Impairment& impairment) { impairment_ = impairment; }
    [[nodiscard]] const Impairment& impairment() const noexcept { return impairment_; }
    /// Hooks count from the last `renumber`; the first datagram is number 1.
    void hook(std::uint64_t number, Hook what) { hooks_[number] = what; }
    void renumber();

    void submit(Datagram datagram, Nanoseconds now);
    /// The next one that is due, if any.
    [[nodiscard]] std::optional<Datagram> take(Nanoseconds now);
    [[nodiscard]] std::optional<Nanoseconds> next_due() const;
    [[nodiscard]] const PathCounters& counters() const noexcept { return counters_; }
    [[nodiscard]] std::uint64_t number() const noexcept { return number_; } // of the last datagram

private:
    struct Waiting {
        Nanoseconds due{};
        std::uint64_t order = 0;
        Datagram datagram;
        bool operator<(const Waiting& other) const noexcept
        {
            return due != other.due ? due > other.due : order > other.order;
        }
    };
    struct Fate {
        bool lost = false;
        bool duplicated = false;
        bool reordered = false;
        Nanoseconds jitter{};
    };
    [[nodiscard]] double draw();
    [[nodiscard]] Fate decide();
    [[nodiscard]] std::optional<Nanoseconds> leave_link(std::size_t octets, Nanoseconds now);
    [[nodiscard]] std::optional<Nanoseconds> survive(const Datagram& datagram, const Fate& fate,
                                                     const std::optional<Hook>& hook, Nanoseconds now);
    void wait(Datagram datagram, Nanoseconds due);
    void release_swapped(Nanoseconds due);

    std::mt19937_64 random_;
    Impairment impairment_;
    std::map<std::uint64_t, Hook> hooks_;
    std::priority_queue<Waiting> waiting_;
    std::optional<Datagram> swapped_; // leaves right after the next one
    std::uint64_t number_ = 0;
    std::uint64_t order_ = 0;
    Nanoseconds link_free_{};
    Nanoseconds last_due_{};
    PathCounters counters_;
};

} // namespace support
