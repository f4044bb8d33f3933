// Asks responders about the certificates of peers, off the loop, and remembers what they said for as long as it holds.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "transports/loop.hpp"
#include "transports/off_loop.hpp"
#include "transports/tls_ocsp.hpp"

namespace transports {

/// How long a handshake waits for responders, so that enough of `handshake` is left for the peers.
[[nodiscard]] Nanoseconds ocsp_patience(Nanoseconds handshake) noexcept;

class OcspDesk {
public:
    using Done = std::function<void(std::vector<OcspAnswer>)>;

    /// Questions under way; destroying it is no longer wanting to know.
    class Inquiry {
    public:
        Inquiry(OcspDesk& desk, Loop& loop, Nanoseconds patience, Done done);
        ~Inquiry();
        Inquiry(const Inquiry&) = delete;
        Inquiry& operator=(const Inquiry&) = delete;

    private:
        friend class OcspDesk;
        void settle(const OcspAnswer& answer);
        void give_up();
        void finish();

        OcspDesk& desk_;
        Done done_;
        std::vector<std::string> open_; // keys
        std::vector<OcspAnswer> answers_;
        Nanoseconds patience_;
        Timer deadline_;
        TurnEnd report_;
    };

    OcspDesk() = default;
    ~OcspDesk() = default;
    OcspDesk(const OcspDesk&) = delete;
    OcspDesk& operator=(const OcspDesk&) = delete;

    /// `done` comes once, on a later turn, with an answer to each question: what is not known within `patience` is
    /// unreachable. It may destroy the inquiry. The desk outlives it.
    [[nodiscard]] std::unique_ptr<Inquiry> ask(Loop& loop, std::vector<OcspQuestion> questions, Nanoseconds patience,
                                               Done done);

    static constexpr std::size_t kMaxKept = 1024;   // answers
    static constexpr std::size_t kMaxWaiting = 256; // questions that no responder was asked yet
    static constexpr std::size_t kMaxAtOnce = 2;    // of the pool's threads: names are looked up by the same

private:
    struct Kept {
        OcspFinding finding;
        Nanoseconds until{}; // boot clock
    };
    struct Job {
        std::shared_ptr<OcspFetched> fetched;
        std::unique_ptr<OffLoop> work;
        std::string url;
    };
    [[nodiscard]] const OcspFinding* recall(const std::string& key);
    void keep(const OcspAnswer& answer);
    void enqueue(Loop& loop, OcspQuestion question);
    void begin_next(Loop& loop);
    [[nodiscard]] bool is_wanted(const std::string& key) const;
    [[nodiscard]] bool is_silent(const std::string& url);
    void finished(Loop& loop, const std::string& key);

    std::unordered_map<std::string, Kept> kept_;
    std::list<OcspQuestion> waiting_;
    std::unordered_map<std::string, Job> jobs_;
    std::unordered_map<std::string, Nanoseconds> silent_; // responders -> until when they are not asked; boot clock
    std::vector<Inquiry*> inquiries_;
};

} // namespace transports
