#include "transports/ssh_link.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fcntl.h>
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transports/kernel_stamp.hpp"
#include "transports/tcp.hpp"

namespace transports {

namespace {

constexpr int kReadsPerTurn = 4;
constexpr std::size_t kLibraryRead = 4096;                      // libssh reads so much at once
constexpr std::size_t kErrorStream = 200;                       // octets of it that are kept
constexpr std::uint64_t kMaxUnread = std::uint64_t{256} * 1024; // of answers that the peer does not read
constexpr std::uint64_t kKexInit = 100; // a key exchange begins with more than this, and nothing else sent here does
// The library measures time in whole seconds, so that a renewal can be asked for a good second after the last.
constexpr Nanoseconds kBetweenRekeys = std::chrono::milliseconds{1100};
constexpr std::uint32_t kSoonest = 1;

/// The server waits a little longer than the client, so that one of them begins.
Nanoseconds renewal_time(SshRole role, Nanoseconds limit) noexcept
{
    const Nanoseconds margin = std::min<Nanoseconds>(limit / 8, std::chrono::minutes{2});
    return limit - (role == SshRole::client ? margin : margin / 2);
}

std::uint64_t renewal_data(SshRole role, std::uint64_t limit) noexcept
{
    return limit - (role == SshRole::client ? limit / 8 : limit / 16);
}

/// How much a library read will find, and when the last of it came: a look that takes nothing and copies nothing.
struct Peeked {
    std::size_t size = 0;
    Instant arrival;
};

Peeked peek(int descriptor, Instant not_before)
{
    std::array<std::byte, kLibraryRead> nothing; // NOLINT(cppcoreguidelines-pro-type-member-init): MSG_TRUNC leaves it
    alignas(cmsghdr) std::array<std::byte, 128> control{};
    iovec vector{nothing.data(), nothing.size()};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t count = recvmsg(descriptor, &message, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    const ClockReading reading = read_clocks();
    Peeked peeked{count > 0 ? static_cast<std::size_t>(count) : 0, reading.now};
    if (count > 0) {
        if (const auto stamp = read_control(message).stamp) {
            peeked.arrival = translate_stamp(reading, *stamp, not_before).value_or(reading.now);
        }
    }
    return peeked;
}

bool is_writable(int descriptor) noexcept
{
    pollfd one{descriptor, POLLOUT, 0};
    return ::poll(&one, 1, 0) == 1 && (one.revents & POLLOUT) != 0;
}

} // namespace

/// Octets and packets: `socket` as they lie on the wire, `payload` as SSH counts them.
struct SshLink::Traffic {
    ssh_counter_struct socket{};
    ssh_counter_struct payload{};
    std::uint64_t rekey_in = 0; // `payload` at the last renewal
    std::uint64_t rekey_out = 0;
    std::uint64_t drained_out = 0;  // `payload` when the kernel had taken everything
    std::uint64_t packets_seen = 0; // and the wire octets that came since the last whole packet
    std::uint64_t payload_seen = 0;
    std::uint64_t partial = 0;
};

struct SshLink::Hooks {
    ssh_callbacks_struct session{};
    ssh_channel_callbacks_struct channel{};

    explicit Hooks(SshLink& link)
    {
        ssh_callbacks_init(&session);
        session.userdata = &link;
        session.connect_status_function = [](void* user, float status) { of(user).on_status(status); };
        ssh_callbacks_init(&channel);
        channel.userdata = &link;
        channel.channel_data_function = [](ssh_session, ssh_channel, void* data, std::uint32_t size, int is_error,
                                           void* user) -> int {
            return of(user).on_data({static_cast<const std::byte*>(data), size}, is_error != 0);
        };
        // A stock client says this alone when its input ends; a server that runs a program closes as well, and between
        // the two may come the program's last words.
        channel.channel_eof_function = [](ssh_session, ssh_channel, void* user) {
            of(user).ended_by_peer_ = of(user).ended_by_peer_ || of(user).role_ == SshRole::server;
        };
        // sshd keeps a subsystem's error stream to itself: this is all that is heard of a failure.
        channel.channel_exit_status_function = [](ssh_session, ssh_channel, int code, void* user) {
            if (code != 0 && of(user).error_stream_.empty()) {
                of(user).error_stream_ = "the far program ended with exit code " + std::to_string(code);
            }
        };
        channel.channel_close_function = [](ssh_session, ssh_channel, void* user) { of(user).ended_by_peer_ = true; };
        // The library would answer "granted" to whoever has this hook; the session ends before the answer counts.
        channel.channel_auth_agent_req_function = [](ssh_session, ssh_channel, void* user) {
            of(user).breach_ = Closed{CloseReason::agent_refused, "there is no agent forwarding"};
        };
    }
    static SshLink& of(void* user) { return *static_cast<SshLink*>(user); }
};

SshLink::SshLink(Loop& loop, int descriptor, OwnedSession session, const SshSettings& settings,
                 std::function<void()> ready)
    : loop_{loop}, descriptor_{descriptor}, role_{settings.role}, rekey_data_{settings.rekey_data},
      rekey_time_{settings.rekey_time}, max_packet_{settings.max_packet}, session_{std::move(session)},
      last_rekey_{read_boot()}, last_receive_{last_rekey_}, traffic_{std::make_unique<Traffic>()},
      hooks_{std::make_unique<Hooks>(*this)}, poll_{std::make_unique<Poll>(
                                                  loop, descriptor, [ready = std::move(ready)](int) { ready(); })}
{
    prepare_stream(descriptor);
    ssh_set_callbacks(session_.get(), &hooks_->session);
    ssh_set_counters(session_.get(), &traffic_->socket, &traffic_->payload);
    ssh_set_message_callback(
        session_.get(),
        [](ssh_session, ssh_message message, void* user) -> int {
            auto& link = *static_cast<SshLink*>(user);
            return link.request_ && link.request_(message) ? 0 : 1;
        },
        this);
}

SshLink::~SshLink()
{
    finish("closed");
}

std::optional<int> SshLink::duplicate(int descriptor)
{
    const int copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    return copy < 0 ? std::nullopt : std::optional{copy};
}

void SshLink::drive()
{
    event_.reset(ssh_event_new());
    if (event_) {
        (void)ssh_event_add_session(event_.get(), session_.get()); // a session without a socket shows in turn()
    }
}

void SshLink::attach(ssh_channel_struct* channel)
{
    channel_ = channel;
    (void)ssh_set_channel_callbacks(channel, &hooks_->channel); // fails on a null channel only
}

void SshLink::forbid_blocking() noexcept
{
    const int flags = fcntl(descriptor_, F_GETFL);
    if (flags >= 0 && (flags & O_NONBLOCK) == 0) {
        (void)fcntl(descriptor_, F_SETFL, flags | O_NONBLOCK);
    }
}

void SshLink::on_status(float status)
{
    const bool done = status >= 1.0F;
    if (!established_) {
        established_ = done;
    } else if (done) {
        ++rekeys_;
    }
    rekeying_ = established_ && !done;
    if (done) {
        last_rekey_ = read_boot();
        traffic_->rekey_in = traffic_->payload.in_bytes;
        traffic_->rekey_out = traffic_->payload.out_bytes;
    }
}

int SshLink::on_data(std::span<const std::byte> data, bool error_stream)
{
    if (error_stream) {
        const auto kept = data.first(std::min(data.size(), kErrorStream));
        error_stream_.assign(reinterpret_cast<const char*>(kept.data()), kept.size());
    } else if (data.size() > max_packet_) {
        breach_ = Closed{CloseReason::packet_too_large, std::to_string(data.size()) + " octets of data"};
    } else if (!data_open_ && role_ == SshRole::server) {
        breach_ = Closed{CloseReason::protocol_error, "data before the subsystem was granted"};
    } else {
        received_.insert(received_.end(), data.begin(), data.end());
    }
    return static_cast<int>(data.size());
}

std::optional<Closed> SshLink::turn()
{
    for (int round = 0; round < kReadsPerTurn; ++round) {
        const Peeked peeked = peek(descriptor_, loop_.earliest_arrival());
        const std::uint64_t before = traffic_->socket.in_bytes;
        const int result = ssh_event_dopoll(event_.get(), 0);
        const std::uint64_t count = traffic_->socket.in_bytes - before;
        if (count > 0) {
            // Octets that came between the look and the read have no stamp, and may be the last ones.
            arrival_ = count > peeked.size ? read_instant() : peeked.arrival;
            last_receive_ = arrival_.boot;
            traffic_->partial += count;
        }
        if (auto end = judge_turn(result)) {
            return end;
        }
        if (count < kLibraryRead) {
            break;
        }
    }
    return std::nullopt;
}

std::optional<Closed> SshLink::judge_turn(int result)
{
    if (breach_) {
        return breach_;
    }
    if (packet_too_large()) {
        return Closed{CloseReason::packet_too_large, "more than " + std::to_string(max_packet_) + " octets"};
    }
    if ((ssh_get_poll_flags(session_.get()) & SSH_WRITE_PENDING) == 0) {
        traffic_->drained_out = traffic_->payload.out_bytes;
    } else if (traffic_->payload.out_bytes - traffic_->drained_out > kMaxUnread) {
        return Closed{CloseReason::congested, "the peer asks and does not read the answers"};
    }
    if (result == SSH_ERROR || is_broken(session_.get())) {
        Closed why = failure_of(session_.get());
        // After the channel's orderly end a peer may hang up as it likes.
        return ended_by_peer_ ? Closed{CloseReason::peer_closed, error_stream_} : why;
    }
    if (ended_by_peer_) {
        return Closed{CloseReason::peer_closed, error_stream_};
    }
    return std::nullopt;
}

/// A packet is seen by the library's counters when it is whole, and by the octets that wait for its rest before: so a
/// large one is found while it still grows. Beside channel data, which is measured exactly, up to one read of other
/// packets may hide in the sum.
bool SshLink::packet_too_large()
{
    auto& traffic = *traffic_;
    if (traffic.payload.in_packets == traffic.packets_seen) {
        return traffic.partial > max_packet_ + kLibraryRead;
    }
    const std::uint64_t grown = traffic.payload.in_bytes - traffic.payload_seen;
    const bool single = traffic.payload.in_packets - traffic.packets_seen == 1;
    traffic.packets_seen = traffic.payload.in_packets;
    traffic.payload_seen = traffic.payload.in_bytes;
    traffic.partial = 0;
    return grown > max_packet_ + (single ? 0 : kLibraryRead);
}

void SshLink::watch()
{
    const bool pending = (ssh_get_poll_flags(session_.get()) & SSH_WRITE_PENDING) != 0;
    poll_->watch(pending ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

bool SshLink::has_room(std::size_t size)
{
    if (channel_ == nullptr || ssh_channel_window_size(channel_) < size) {
        return false;
    }
    // After each write the library waits to hear that it may write again; until then the kernel is asked.
    return (ssh_get_poll_flags(session_.get()) & SSH_WRITE_PENDING) == 0 || is_writable(descriptor_);
}

bool SshLink::write(std::span<const std::byte> data)
{
    const int result = ssh_channel_write(channel_, data.data(), static_cast<std::uint32_t>(data.size()));
    return result >= 0 && static_cast<std::size_t>(result) == data.size();
}

void SshLink::wake_random(std::span<std::byte> octets) noexcept
{
    (void)ssh_get_random(octets.data(), static_cast<int>(octets.size()), 0); // nobody uses what comes of it
}

Nanoseconds SshLink::rekey_due_at() const noexcept
{
    return std::max(last_rekey_ + renewal_time(role_, rekey_time_), next_try_);
}

void SshLink::begin_rekey_if_due()
{
    const Nanoseconds now = read_boot();
    if (!established_ || rekeying_ || now < std::max(last_rekey_ + kBetweenRekeys, next_try_)) {
        return;
    }
    const std::uint64_t data =
        std::max(traffic_->payload.in_bytes - traffic_->rekey_in, traffic_->payload.out_bytes - traffic_->rekey_out);
    if (now < rekey_due_at() && data < renewal_data(role_, rekey_data_)) {
        return;
    }
    // The library renews keys when a packet is due to be sent after its limit, and keeps that packet until it is done.
    // An empty one takes the place of a frame, which would be late.
    const std::uint64_t before = traffic_->payload.out_bytes;
    const std::uint32_t usual = static_cast<std::uint32_t>(rekey_time_ / std::chrono::seconds{1});
    (void)ssh_options_set(session_.get(), SSH_OPTIONS_REKEY_TIME, &kSoonest); // refused for a null pointer only
    (void)ssh_send_ignore(session_.get(), "");                                // an error shows in turn()
    (void)ssh_options_set(session_.get(), SSH_OPTIONS_REKEY_TIME, &usual);
    if (traffic_->payload.out_bytes - before > kKexInit) {
        rekeying_ = rekeying_ || last_rekey_ <= now; // the peer's half may have come in meanwhile
    } else {
        next_try_ = now + kBetweenRekeys; // the library's clock does not count a suspended host's time
    }
}

void SshLink::finish(const std::string& message)
{
    if (!session_) {
        return;
    }
    poll_.reset();
    ssh_set_message_callback(
        session_.get(), [](ssh_session, ssh_message, void*) { return 1; }, nullptr);
    if (channel_ != nullptr) {
        (void)ssh_remove_channel_callbacks(channel_, &hooks_->channel); // it may call a freed channel's otherwise
    }
    if (channel_ != nullptr && !is_broken(session_.get())) {
        if (role_ == SshRole::server) {
            (void)ssh_channel_request_send_exit_status(channel_, 0); // a stock client ends with it
        }
        (void)ssh_channel_close(channel_); // best effort, as all last words
    }
    if (event_) {
        (void)ssh_event_remove_session(event_.get(), session_.get());
        event_.reset();
    }
    // A client's descriptor is left open by the library, unless it broke off by itself.
    const int theirs = role_ == SshRole::client ? ssh_get_fd(session_.get()) : -1;
    (void)ssh_session_set_disconnect_message(session_.get(), message.c_str());
    ssh_disconnect(session_.get());
    session_.reset();
    if (theirs >= 0) {
        close(theirs);
    }
    linger(loop_, descriptor_, {});
}

} // namespace transports
