// Key establishment by one question and one answer over TLS: each a message in one record, then the end. What the
// messages say is for others to judge; here is how they travel, and for how long.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "transports/admission.hpp"
#include "transports/channel.hpp"
#include "transports/loop.hpp"
#include "transports/tls.hpp"

namespace transports {

/// One peer's question, on the server's side.
class KeConversation {
public:
    KeConversation() = default;
    virtual ~KeConversation() = default;
    KeConversation(const KeConversation&) = delete;
    KeConversation& operator=(const KeConversation&) = delete;

    /// `received`: everything so far. The answer, of at most 16384 octets, or nothing while the question is not whole.
    /// `over`: no more will come (the peer ended it, it is too long, its time is up), so that an answer must be given.
    /// `channel` lives for the call.
    [[nodiscard]] virtual std::optional<std::vector<std::byte>>
    hear(Channel& channel, std::span<const std::byte> received, bool over) = 0;
};

class KeServerOwner {
public:
    [[nodiscard]] virtual std::unique_ptr<KeConversation> converse(const PeerIdentity& peer) = 0;
    virtual void on_failed(const Failed& why) = 0; // before there was anybody to converse with

protected:
    ~KeServerOwner() = default;
};

struct KeServerOptions {
    std::size_t max_question = 16384;
    Nanoseconds handshake = std::chrono::seconds{5}; // for the handshake, and again for the question
};

/// Any number of peers at once on one loop, as far as `admission` lets them in. Who holds out until the deadline is
/// answered then, and who drips is not given more time for it.
class KeServer final : private ChannelHandler {
public:
    /// All outlive it.
    KeServer(Loop& loop, const KeServerOptions& options, Admission& admission, KeServerOwner& owner);
    ~KeServer();
    KeServer(const KeServer&) = delete;
    KeServer& operator=(const KeServer&) = delete;

    /// Once for each address; the error text names it.
    [[nodiscard]] std::optional<std::string> listen(const sockaddr_storage& local, TlsSupply supply);
    [[nodiscard]] std::vector<std::string> addresses() const;
    [[nodiscard]] ListenerCounters counters() const;
    [[nodiscard]] std::size_t open() const noexcept { return peers_.size(); }
    void stop(); // lets nobody in any more

private:
    struct Peer {
        std::unique_ptr<Channel> channel;
        std::unique_ptr<KeConversation> conversation; // gone once it is answered
        std::vector<std::byte> received;
    };
    struct Deadline {
        std::uint64_t number{};
        Nanoseconds at{};
    };
    void on_open(std::unique_ptr<Channel> channel) override;
    void on_message(Channel& from, std::span<const std::byte> message, Instant arrival) override;
    void on_end(Channel& from) override;
    void on_closed(Channel& channel, const Closed& why) override;
    void on_failed(const Failed& why) override;

    void hear(Peer& peer, bool over);
    void expire();

    Loop& loop_;
    KeServerOptions options_;
    Admission& admission_;
    KeServerOwner& owner_;
    std::unordered_map<std::uint64_t, Peer> peers_; // bounded by the admission
    std::deque<Deadline> deadlines_;                // all of one length: the first is the next
    Timer timer_;
    std::vector<std::unique_ptr<Listener>> listeners_; // first to go: they hold pending sessions
};

/// Asks one server at a time.
class KeClient final : private ChannelHandler {
public:
    /// Called with everything received so far, until it says that this was all: true once the answer is settled, well
    /// or not. `channel` lives for the call; keys are exported from it.
    using Judge = std::function<bool(Channel& channel, std::span<const std::byte> received)>;
    /// Called once on a later turn unless `judge` has said true: the step that failed is the reason's. An answer cut
    /// short or too slow is protocol_error or handshake_timeout.
    using Failure = std::function<void(const Failed& why)>;

    struct Options {
        std::size_t max_answer = 65536;
        Nanoseconds answer = std::chrono::seconds{5}; // from the end of the handshake
    };
    KeClient(Loop& loop, std::unique_ptr<Connector> connector, const Options& options);
    ~KeClient();
    KeClient(const KeClient&) = delete;
    KeClient& operator=(const KeClient&) = delete;

    /// Anew: what was under way is given up without a call.
    void ask(const Target& target, std::vector<std::byte> question, Judge judge, Failure failure);
    void cancel();

private:
    void on_open(std::unique_ptr<Channel> channel) override;
    void on_message(Channel& from, std::span<const std::byte> message, Instant arrival) override;
    void on_end(Channel& from) override;
    void on_closed(Channel& channel, const Closed& why) override;
    void on_failed(const Failed& why) override;
    void fail(CloseReason reason, const std::string& text);
    void finish();

    std::unique_ptr<Connector> connector_;
    Options options_;
    std::unique_ptr<Attempt> attempt_;
    std::unique_ptr<Channel> channel_;
    std::vector<std::byte> question_;
    std::vector<std::byte> received_;
    Judge judge_;
    Failure failure_;
    std::optional<Failed> failed_; // told at the end of the turn
    Timer deadline_;
    TurnEnd turn_end_;
};

} // namespace transports
