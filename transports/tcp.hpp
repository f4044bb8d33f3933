// TCP on descriptors of our own: streams with kernel receive stamps, an acceptor, and a dial that tries every address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "transports/address.hpp"
#include "transports/channel.hpp"
#include "transports/look_up.hpp"
#include "transports/loop.hpp"

namespace transports {

class TcpHandler {
public:
    /// `arrival` is that of the last octet. The handler may destroy the stream only from a TurnEnd of its own.
    virtual void on_bytes(std::span<const std::byte> bytes, Instant arrival) = 0;
    virtual void on_end_of_stream() = 0;
    virtual void on_io_error(int error) = 0;

protected:
    ~TcpHandler() = default;
};

/// A connected stream: TCP_NODELAY, non-blocking, with little unsent data allowed in the kernel, since what waits
/// there is growing old.
class TcpStream {
public:
    TcpStream(Loop& loop, int descriptor, TcpHandler& handler); // takes the descriptor
    ~TcpStream();
    TcpStream(const TcpStream&) = delete;
    TcpStream& operator=(const TcpStream&) = delete;

    /// Writes what the kernel takes and keeps the rest; callers stop when unsent() is not zero. An error shows as
    /// on_io_error on a later turn.
    void write(std::span<const std::byte> bytes);
    [[nodiscard]] std::size_t unsent() const noexcept { return unsent_.size(); }
    /// What comes next is acknowledged without delay: a peer without TCP_NODELAY holds its next segment back until
    /// then, and in a handshake it is the kernel's 40 ms that both would wait for. Holds until we write again.
    void acknowledge_at_once() noexcept;
    /// Ends our direction and lets go: what was written still goes out, and what the peer still sends is read away for
    /// a second, since a reset would take our last words (an alert) from its hands. Nothing is called afterwards.
    void finish();

private:
    void ready(int events);
    void read();
    void write_unsent();

    Loop& loop_;
    int descriptor_;
    TcpHandler& handler_;
    std::vector<std::byte> unsent_;
    std::unique_ptr<Poll> poll_;
};

/// The same options for a descriptor that somebody else reads and writes.
void prepare_stream(int descriptor) noexcept;

/// What TcpStream::finish does, for such a descriptor, which it takes; `unsent` is sent first.
void linger(Loop& loop, int descriptor, std::vector<std::byte> unsent);

/// Accepts at most 64 connections a turn.
class TcpAcceptor {
public:
    using Accepted = std::function<void(int descriptor, const sockaddr_storage& peer)>; // takes the descriptor
    /// SO_REUSEADDR is set: for listening TCP sockets it admits no second listener, only connections that are ending.
    [[nodiscard]] static std::variant<std::unique_ptr<TcpAcceptor>, std::string>
    listen(Loop& loop, const sockaddr_storage& local, Accepted accepted);
    ~TcpAcceptor();
    TcpAcceptor(const TcpAcceptor&) = delete;
    TcpAcceptor& operator=(const TcpAcceptor&) = delete;
    [[nodiscard]] const sockaddr_storage& local() const noexcept { return local_; }

private:
    TcpAcceptor(Loop& loop, int descriptor, Accepted accepted);
    void accept_some();

    int descriptor_;
    sockaddr_storage local_{};
    Accepted accepted_;
    Timer resume_; // after the process ran out of descriptors
    Poll poll_;
};

struct Dialled {
    int descriptor = -1; // the receiver's
    sockaddr_storage peer{};
};

/// Resolves a name off the loop and connects to its addresses in turn, all within one deadline.
class TcpDial {
public:
    using Done = std::function<void(std::variant<Dialled, Failed>)>; // once, on a later turn; may destroy the dial
    TcpDial(Loop& loop, const Target& target, Nanoseconds timeout, Done done);
    ~TcpDial();
    TcpDial(const TcpDial&) = delete;
    TcpDial& operator=(const TcpDial&) = delete;

private:
    void resolved(std::variant<Addresses, Failed> result);
    void try_next();
    void connect_ready();
    void attempt_failed(int error);
    void report(std::variant<Dialled, Failed> result);
    void time_out();

    Loop& loop_;
    Nanoseconds deadline_;
    Done done_;
    Addresses addresses_;
    std::size_t next_ = 0;
    int descriptor_ = -1;
    std::string last_error_;
    std::string last_address_;
    std::unique_ptr<Poll> poll_;
    Timer timer_;
    LookUp look_up_;
};

} // namespace transports
