// An SSH connector and a listener on one loop, and a wire between them that cuts, breaks, drops and repeats what they
// say to each other.
//
// Property: each end opens once at most, and knows the other by its key; it delivers nothing before it is open and
// nothing after its end; what it delivers is what the other sent, whole, once and in order, from the first message on;
// on a wire that was left alone it is all of it; and the listener has accounted for whoever came in.
#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/property.hpp"
#include "transports/address.hpp"
#include "transports/ssh.hpp"
#include "transports/ssh_keygen.hpp"

namespace {

using fuzz::require;
using namespace transports;
using Octets = std::vector<std::byte>;

std::shared_ptr<const SshContext> make_context(const std::filesystem::path& keys, SshRole role)
{
    SshSettings settings;
    settings.role = role;
    settings.policy.kex = {"curve25519-sha256"};
    settings.policy.public_keys = {"ssh-ed25519"};
    settings.policy.ciphers = {"aes256-gcm@openssh.com"};
    if (role == SshRole::server) {
        settings.host_keys = {keys / "host_ed25519"};
        settings.authorized_keys = keys / "authorized_keys";
    } else {
        settings.key = keys / "id_ed25519";
        settings.known_hosts = keys / "known_hosts";
    }
    auto made = SshContext::create(settings);
    require(made.index() == 0, "no context");
    return std::get<0>(made);
}

struct Contexts {
    Contexts()
    {
        (void)std::signal(SIGPIPE, SIG_IGN); // NOLINT(cert-err33-c): as the program does
        const auto keys = std::filesystem::temp_directory_path() / ("ntpgate-fuzz-" + std::to_string(::getpid()));
        require(!write_trial_ssh_keys({keys, {"127.0.0.1"}, "trial"}), "no trial keys");
        client = make_context(keys, SshRole::client);
        server = make_context(keys, SshRole::server);
        std::error_code ignored; // what is left in the temporary directory harms nobody
        std::filesystem::remove_all(keys, ignored);
    }
    std::shared_ptr<const SshContext> client;
    std::shared_ptr<const SshContext> server;
};

/// One end: what it was given to send, and what it heard of the other's.
struct End final : ChannelHandler {
    std::string knows; // the other, by
    End* other = nullptr;
    std::unique_ptr<Channel> channel;
    std::vector<Octets> sent;
    std::size_t delivered = 0; // of the other end's `sent`
    int opened = 0;
    int ended = 0;

    void deliver(const Octets& message)
    {
        require(opened == 1 && ended == 0, "delivered before it was open, or after its end");
        require(delivered < other->sent.size(), "delivered what was never sent");
        require(message == other->sent.at(delivered), "delivered something else, or out of order");
        ++delivered;
    }
    void on_open(std::unique_ptr<Channel> made) override
    {
        require(++opened == 1 && ended == 0, "opened twice, or after it had failed");
        require(made->peer().matched == knows, "opened for somebody else");
        channel = std::move(made);
    }
    void on_message(Channel&, std::span<const std::byte> message, Instant) override
    {
        deliver({message.begin(), message.end()});
    }
    void on_end(Channel&) override { require(false, "an SSH channel does not half-close"); }
    void on_closed(Channel&, const Closed& why) override
    {
        require(++ended == 1 && opened == 1, "closed twice, or never opened");
        require(!name(why.reason).empty(), "closed without a reason");
        channel.reset();
    }
    void on_failed(const Failed& why) override
    {
        require(++ended == 1 && opened == 0, "failed twice, or after it was open");
        require(!name(why.reason).empty(), "failed without a reason");
    }
};

class Descriptor {
public:
    Descriptor() = default;
    explicit Descriptor(int number) : number_{number} {}
    Descriptor(Descriptor&& other) noexcept : number_{std::exchange(other.number_, -1)} {}
    Descriptor& operator=(Descriptor&& other) noexcept
    {
        std::swap(number_, other.number_);
        return *this;
    }
    ~Descriptor()
    {
        if (number_ >= 0) {
            ::close(number_);
        }
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    [[nodiscard]] int get() const noexcept { return number_; }

private:
    int number_ = -1;
};

sockaddr_in loopback(std::uint16_t port)
{
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/// One direction: from the socket of one end, held here, to that of the other.
struct Wire {
    int from = -1;
    int to = -1;
    Octets held;
    bool over = false; // its source has ended
    bool told = false;

    /// Takes what has come; whether there was any.
    bool collect()
    {
        std::array<std::byte, 16384> part; // NOLINT(cppcoreguidelines-pro-type-member-init): filled by recv
        const auto count = from < 0 || over ? -1 : ::recv(from, part.data(), part.size(), MSG_DONTWAIT);
        if (count > 0) {
            held.insert(held.end(), part.begin(), part.begin() + count);
        }
        over = over || count == 0 || (count < 0 && from >= 0 && errno != EAGAIN && errno != EINTR);
        return count > 0;
    }
    void pass(std::size_t most)
    {
        const auto count = ::send(to, held.data(), std::min(most, held.size()), MSG_DONTWAIT | MSG_NOSIGNAL);
        const bool lost = count < 0 && errno != EAGAIN && errno != EINTR; // nobody is there to hear it
        const auto gone = lost ? held.size() : static_cast<std::size_t>(std::max<ssize_t>(count, 0));
        held.erase(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(gone));
        if (over && held.empty() && !told) {
            told = true;
            (void)::shutdown(to, SHUT_WR); // it may be gone
        }
    }
};

class Conversation {
public:
    explicit Conversation(const Contexts& contexts);
    ~Conversation();
    Conversation(const Conversation&) = delete;
    Conversation& operator=(const Conversation&) = delete;
    void step(std::uint8_t operation);
    void finish();

private:
    bool turn();
    void settle();
    void accept();
    void move(Wire& wire, std::size_t count);
    void send(End& from, std::size_t size);
    void spoil(Wire& wire, End& to, unsigned kind, std::size_t count);
    void check_listener() const;
    [[nodiscard]] bool all_delivered() const;

    Loop loop_;
    Admission admission_{{0, 0, 0, 0}, nullptr};
    End client_;
    End server_;
    std::unique_ptr<Listener> listener_;
    std::unique_ptr<Connector> connector_;
    std::unique_ptr<Attempt> attempt_;
    Descriptor waiting_; // for the connector, in the listener's place
    Descriptor near_;
    Descriptor far_;
    Wire up_;
    Wire down_;
    bool whole_ = true; // nothing was spoilt, and nobody has ended it
};

Conversation::Conversation(const Contexts& contexts)
{
    client_.other = &server_;
    client_.knows = "127.0.0.1";
    server_.other = &client_;
    server_.knows = "trial";
    auto made = make_ssh_listener(loop_, *numeric_address("127.0.0.1", 0), contexts.server, {}, admission_, server_);
    require(made.index() == 0, "no listener");
    listener_ = std::get<0>(std::move(made));
    waiting_ = Descriptor{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    auto address = loopback(0);
    socklen_t size = sizeof(address);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    require(::bind(waiting_.get(), generic, size) == 0 && ::listen(waiting_.get(), 1) == 0 &&
                ::getsockname(waiting_.get(), generic, &size) == 0,
            "no wire");
    connector_ = make_ssh_connector(loop_, contexts.client, {});
    attempt_ = connector_->connect({"127.0.0.1", ntohs(address.sin_port)}, client_);
    settle();
}

Conversation::~Conversation()
{
    attempt_.reset();
    client_.channel.reset();
    server_.channel.reset();
    connector_.reset();
    listener_.reset();
}

void Conversation::accept()
{
    Descriptor came{::accept4(waiting_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    if (came.get() < 0) {
        return;
    }
    const std::string& text = listener_->address();
    const auto address = loopback(static_cast<std::uint16_t>(std::stoi(text.substr(text.rfind(':') + 1))));
    near_ = std::move(came);
    far_ = Descriptor{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    require(::connect(far_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0, "no far end");
    const int at_once = 1;
    for (const int each : {near_.get(), far_.get()}) {
        (void)::setsockopt(each, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof(at_once)); // slower without
    }
    up_ = {near_.get(), far_.get(), {}};
    down_ = {far_.get(), near_.get(), {}};
}

bool Conversation::turn()
{
    (void)uv_run(loop_.raw(), UV_RUN_NOWAIT); // says whether handles are left: they are
    if (near_.get() < 0) {
        accept();
    }
    const bool rose = up_.collect();
    return down_.collect() || rose;
}

void Conversation::settle()
{
    for (int quiet = 0; quiet < 4;) {
        quiet = turn() ? 0 : quiet + 1;
    }
}

void Conversation::move(Wire& wire, std::size_t count)
{
    if (wire.to >= 0) {
        wire.pass(count);
        settle();
    }
}

void Conversation::send(End& from, std::size_t size)
{
    Octets text(size + 1, static_cast<std::byte>(from.sent.size()));
    if (from.channel && from.channel->send(text) == SendResult::sent) {
        from.sent.push_back(std::move(text));
    }
    settle();
}

void Conversation::spoil(Wire& wire, End& to, unsigned kind, std::size_t count)
{
    const std::size_t size = std::min(count + 1, wire.held.size());
    if (size == 0) {
        return;
    }
    whole_ = false;
    const auto end = wire.held.begin() + static_cast<std::ptrdiff_t>(size);
    if (kind == 0) {
        wire.held.at(size - 1) ^= std::byte{0x20};
    } else if (kind == 1) {
        wire.held.erase(wire.held.begin(), end);
    } else {
        const Octets again{wire.held.begin(), end};
        wire.held.insert(wire.held.begin(), again.begin(), again.end());
        // The planted bug: as if packets had no sequence numbers, the last message is there once more.
        if (fuzz::kPlantedBug && to.delivered > 0) {
            to.deliver(to.other->sent.at(to.delivered - 1));
        }
    }
}

void Conversation::step(std::uint8_t operation)
{
    constexpr std::size_t kAll = 1U << 20U;
    const bool rises = (operation & 0x80U) == 0;
    Wire& wire = rises ? up_ : down_;
    End& from = rises ? client_ : server_;
    const std::size_t amount = operation & 0x0FU;
    switch ((operation >> 4U) & 0x07U) {
    case 0:
        move(wire, amount + 1);
        break;
    case 1:
        move(wire, amount == 0 ? kAll : amount * 64);
        break;
    case 2:
        send(from, amount);
        break;
    case 3:
        send(from, amount * 1056);
        break;
    case 4:
        spoil(wire, *from.other, 0, amount * 8);
        break;
    case 5:
        spoil(wire, *from.other, 1, amount * 4);
        break;
    case 6:
        spoil(wire, *from.other, 2, amount * 8);
        break;
    default:
        if (amount > 0) {
            move(wire, 5 * amount);
        } else if (from.channel) {
            whole_ = false;
            from.channel->close(CloseReason::local_request);
            settle();
        }
        break;
    }
    check_listener();
}

void Conversation::check_listener() const
{
    const auto& counted = listener_->counters();
    const auto failed = std::accumulate(counted.failed.begin(), counted.failed.end(), std::uint64_t{0});
    require(counted.accepted == counted.opened + counted.pending + failed, "the listener has lost somebody");
    require(counted.opened == static_cast<std::uint64_t>(server_.opened), "opened, but not counted");
}

bool Conversation::all_delivered() const
{
    return client_.opened == 1 && server_.opened == 1 && server_.delivered == client_.sent.size() &&
           client_.delivered == server_.sent.size();
}

void Conversation::finish()
{
    const Nanoseconds patience = read_boot() + std::chrono::seconds{20};
    do {
        move(up_, up_.held.size());
        move(down_, down_.held.size());
    } while (!up_.held.empty() || !down_.held.empty() || (whole_ && !all_delivered() && read_boot() < patience));
    check_listener();
    require(!whole_ || all_delivered(), "something was lost on a good wire");
    require(!whole_ || (client_.ended == 0 && server_.ended == 0), "an end came on a good wire");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static const Contexts kContexts;
    constexpr std::size_t kMaxSteps = 256;
    Conversation conversation{kContexts};
    for (const std::uint8_t operation : std::span<const std::uint8_t>{data, std::min(size, kMaxSteps)}) {
        conversation.step(operation);
    }
    conversation.finish();
    return 0;
}
