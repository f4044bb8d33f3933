#include "transports/stdio_channel.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transports/stream_framing.hpp"

namespace transports {

namespace {

constexpr std::size_t kMaxQueued = std::size_t{32} * 1024; // of one turn; what is more is refused as congested
constexpr std::size_t kReadSize = std::size_t{16} * 1024;

class StdioChannel final : public Channel {
public:
    StdioChannel(Loop& loop, StdioOptions options, ChannelHandler& handler)
        : number_{loop.take_number()}, options_{std::move(options)}, handler_{handler}, decoder_{options_.min_message,
                                                                                                 options_.max_message},
          last_receive_{read_boot()}, turn_end_{loop, [this] { at_turn_end(); }}, idle_{loop, [this] { check_idle(); }},
          in_{std::make_unique<Poll>(loop, options_.in, [this](int) { read(); })}
    {
        if (options_.out != options_.in) {
            out_ = std::make_unique<Poll>(loop, options_.out, [this](int) { on_writable(); });
        }
        in_->watch(UV_READABLE);
        idle_.start_at(last_receive_ + options_.idle);
    }
    ~StdioChannel() override = default;
    StdioChannel(const StdioChannel&) = delete;
    StdioChannel& operator=(const StdioChannel&) = delete;

    SendResult send(std::span<const std::byte> message) override
    {
        if (closing_) {
            return SendResult::closed;
        }
        if (!unsent_.empty() || queued_.size() + message.size() > kMaxQueued) {
            return SendResult::congested; // what cannot leave now would leave late
        }
        append_framed(queued_, message);
        turn_end_.request();
        return SendResult::sent;
    }

    void close(CloseReason why) override { end({why, {}}); }
    [[nodiscard]] const PeerIdentity& peer() const noexcept override { return options_.peer; }
    [[nodiscard]] std::uint64_t number() const noexcept override { return number_; }

private:
    void end(const Closed& why)
    {
        if (!closing_) {
            closing_ = true;
            closed_ = why;
            turn_end_.request();
        }
    }

    void read()
    {
        std::array<std::byte, kReadSize> buffer; // NOLINT(cppcoreguidelines-pro-type-member-init): filled by read
        const ssize_t count = ::read(options_.in, buffer.data(), buffer.size());
        if (closing_ || (count < 0 && (errno == EAGAIN || errno == EINTR))) {
            return;
        }
        if (count <= 0) {
            in_->watch(0); // the end stays readable for ever
            end(count == 0 ? Closed{CloseReason::peer_closed, {}}
                           : Closed{CloseReason::connection_lost, std::strerror(errno)});
            return;
        }
        const Instant arrival = read_instant();
        last_receive_ = arrival.boot;
        auto stream = std::span<const std::byte>{buffer}.first(static_cast<std::size_t>(count));
        while (!closing_) {
            const auto message = decoder_.next(stream);
            if (!message) {
                break;
            }
            handler_.on_message(*this, *message, arrival);
        }
        if (decoder_.broken()) {
            end({CloseReason::bad_framing, "a message length outside what the framing allows"});
        }
    }

    void write(std::vector<std::byte>& octets)
    {
        const ssize_t count = ::write(options_.out, octets.data(), octets.size());
        if (count > 0) {
            octets.erase(octets.begin(), octets.begin() + count);
        } else if (count < 0 && errno != EAGAIN && errno != EINTR) {
            octets.clear();
            end({CloseReason::connection_lost, std::strerror(errno)});
        }
    }

    void on_writable()
    {
        write(unsent_);
        watch_for_room();
    }

    void watch_for_room()
    {
        if (out_) {
            out_->watch(unsent_.empty() ? 0 : UV_WRITABLE);
        } else if (in_->watched() != 0) {
            in_->watch(unsent_.empty() ? UV_READABLE : UV_READABLE | UV_WRITABLE);
        }
    }

    void at_turn_end()
    {
        if (!queued_.empty() && unsent_.empty()) {
            write(queued_);
            std::swap(queued_, unsent_); // what is left of it
            watch_for_room();
        }
        if (!closing_) {
            return;
        }
        in_.reset();
        out_.reset();
        idle_.stop();
        const Closed closed = closed_;
        const auto gone = std::move(options_.gone);
        handler_.on_closed(*this, closed); // which destroys this channel
        if (gone) {
            gone();
        }
    }

    void check_idle()
    {
        if (read_boot() - last_receive_ >= options_.idle) {
            end({CloseReason::idle_timeout, {}});
        } else {
            idle_.start_at(last_receive_ + options_.idle);
        }
    }

    std::uint64_t number_;
    StdioOptions options_;
    ChannelHandler& handler_;
    StreamDecoder decoder_;
    bool closing_ = false;
    Closed closed_;
    std::vector<std::byte> queued_; // messages of this turn, written together at its end
    std::vector<std::byte> unsent_;
    Nanoseconds last_receive_;
    TurnEnd turn_end_;
    Timer idle_;
    std::unique_ptr<Poll> in_;
    std::unique_ptr<Poll> out_; // absent when both directions are one descriptor
};

class StdioListener final : public Listener {
public:
    StdioListener(Loop& loop, StdioOptions options, ChannelHandler& handler)
        : loop_{loop}, options_{std::move(options)}, handler_{handler}, open_{loop, [this] { open(); }}
    {
        counters_.accepted = counters_.pending = 1;
        open_.request();
    }
    [[nodiscard]] const std::string& address() const noexcept override { return address_; }
    [[nodiscard]] const ListenerCounters& counters() const noexcept override { return counters_; }
    void stop() override {} // the one peer there ever is came in already

private:
    void open()
    {
        counters_.pending = 0;
        counters_.opened = 1;
        handler_.on_open(std::make_unique<StdioChannel>(loop_, std::move(options_), handler_));
    }

    Loop& loop_;
    StdioOptions options_;
    ChannelHandler& handler_;
    std::string address_ = "stdio";
    ListenerCounters counters_;
    TurnEnd open_;
};

/// Why the descriptor cannot be waited for; empty when it can, and never blocks from now on.
std::string make_ready(int descriptor)
{
    struct stat status {};
    if (fstat(descriptor, &status) != 0) {
        return std::strerror(errno);
    }
    if (!S_ISFIFO(status.st_mode) && !S_ISSOCK(status.st_mode)) {
        return "is neither a pipe nor a socket";
    }
    const int flags = fcntl(descriptor, F_GETFL);
    return fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0 ? "" : std::strerror(errno);
}

} // namespace

std::variant<std::unique_ptr<Listener>, std::string> make_stdio_listener(Loop& loop, StdioOptions options,
                                                                         ChannelHandler& handler)
{
    if (auto why = make_ready(options.in); !why.empty()) {
        return "standard input: " + why;
    }
    if (auto why = make_ready(options.out); !why.empty()) {
        return "standard output: " + why;
    }
    return std::unique_ptr<Listener>{std::make_unique<StdioListener>(loop, std::move(options), handler)};
}

} // namespace transports
