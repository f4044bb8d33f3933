// One libssh session on one TCP descriptor: moves its octets without ever blocking, stamps what arrives, and knows when
// the keys are being renewed. For the ssh files only; knows neither role.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "transports/channel.hpp"
#include "transports/clock.hpp"
#include "transports/loop.hpp"
#include "transports/ssh_context.hpp"
#include "transports/ssh_library.hpp"

struct ssh_channel_struct;
struct ssh_message_struct;

namespace transports {

class SshLink {
public:
    /// What the peer asks of us: false = refused in the library's way. Called from inside turn(); must not end the
    /// link.
    using Request = std::function<bool(ssh_message_struct*)>;

    /// Takes both descriptors; `session` is complete but not begun. `theirs` is the library's own duplicate: it closes
    /// that one by itself when it gives up, whereas ours is watched and must stay.
    SshLink(Loop& loop, int descriptor, OwnedSession session, const SshSettings& settings, std::function<void()> ready);
    ~SshLink();
    SshLink(const SshLink&) = delete;
    SshLink& operator=(const SshLink&) = delete;

    /// A duplicate for the library, or nothing when the process has none left.
    [[nodiscard]] static std::optional<int> duplicate(int descriptor);

    [[nodiscard]] ssh_session_struct* session() noexcept { return session_.get(); }
    void set_request(Request request) { request_ = std::move(request); }
    /// After the login's first step: from now on turn() drives the session.
    void drive();
    /// Takes the data of `channel` from now on. Data before open_data() is a breach.
    void attach(ssh_channel_struct* channel);
    [[nodiscard]] bool has_channel() const noexcept { return channel_ != nullptr; }
    [[nodiscard]] ssh_channel_struct* channel() noexcept { return channel_; }
    void open_data() noexcept { data_open_ = true; }

    /// Reads and writes what is possible now; the reason when that was the end.
    [[nodiscard]] std::optional<Closed> turn();
    /// What came in this turn and is not taken yet, and when its last octet came.
    [[nodiscard]] std::span<const std::byte> received() const noexcept { return received_; }
    [[nodiscard]] Instant arrival() const noexcept { return arrival_; }
    void consume_received() noexcept { received_.clear(); }
    /// Arms the watch for what comes next.
    void watch();

    /// Whether so much fits into the peer's window, and the kernel takes octets now.
    [[nodiscard]] bool has_room(std::size_t size);
    /// False when the session is done for.
    [[nodiscard]] bool write(std::span<const std::byte> data);

    /// Fills `octets` from the library's own generator.
    static void wake_random(std::span<std::byte> octets) noexcept;

    [[nodiscard]] bool rekeying() const noexcept { return rekeying_; }
    [[nodiscard]] std::uint64_t rekeys() const noexcept { return rekeys_; }
    /// When keys are due by time; data is looked at by begin_rekey_if_due.
    [[nodiscard]] Nanoseconds rekey_due_at() const noexcept;
    void begin_rekey_if_due();
    [[nodiscard]] Nanoseconds last_receive() const noexcept { return last_receive_; }

    /// The library makes a connected client's socket block: undone here, after every step of a login.
    void forbid_blocking() noexcept;
    /// Says goodbye with `message`, and lets the last octets out. The link is over.
    void finish(const std::string& message);
    /// What a far subsystem wrote on its error stream last: why it ended, often.
    [[nodiscard]] const std::string& error_stream() const noexcept { return error_stream_; }

private:
    struct Hooks; // the library's callback tables
    struct Traffic;
    friend struct Hooks;
    [[nodiscard]] std::optional<Closed> judge_turn(int result);
    [[nodiscard]] bool packet_too_large();
    void on_status(float status);
    [[nodiscard]] int on_data(std::span<const std::byte> data, bool error_stream);

    Loop& loop_;
    int descriptor_;
    SshRole role_;
    std::uint64_t rekey_data_;
    Nanoseconds rekey_time_;
    std::uint32_t max_packet_;
    OwnedSession session_;
    OwnedEvent event_;
    ssh_channel_struct* channel_ = nullptr; // the session's
    Request request_;
    bool data_open_ = false;
    bool established_ = false; // the first key exchange is over
    bool rekeying_ = false;
    std::optional<Closed> breach_;
    bool ended_by_peer_ = false;
    std::uint64_t rekeys_ = 0;
    Nanoseconds last_rekey_;
    Nanoseconds next_try_{}; // to renew keys
    Nanoseconds last_receive_;
    Instant arrival_{};
    std::vector<std::byte> received_;
    std::string error_stream_;
    std::unique_ptr<Traffic> traffic_;
    std::unique_ptr<Hooks> hooks_;
    std::unique_ptr<Poll> poll_;
};

} // namespace transports
