#include "transports/ssh_self_test.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

#include <libssh/libssh.h>
#include <libssh/server.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transports/clock.hpp"
#include "transports/ssh_library.hpp"

namespace transports {

namespace {

constexpr Nanoseconds kPatience = std::chrono::seconds{5};
constexpr int kQuietTurns = 4; // without an octet: both ends have nothing more to say

/// Two ends of a connection; the test stands between them.
class Descriptors {
public:
    Descriptors()
    {
        whole_ = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, client_.data()) == 0 &&
                 socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, server_.data()) == 0;
    }
    ~Descriptors()
    {
        for (const int each : {client_[0], client_[1], server_[0], server_[1]}) {
            if (each >= 0) {
                close(each);
            }
        }
    }
    Descriptors(const Descriptors&) = delete;
    Descriptors& operator=(const Descriptors&) = delete;

    [[nodiscard]] bool are_whole() const noexcept { return whole_; }
    /// The library closes what it has taken.
    [[nodiscard]] int give_client() noexcept { return std::exchange(client_[0], -1); }
    [[nodiscard]] int give_server() noexcept { return std::exchange(server_[0], -1); }
    [[nodiscard]] int of_client() const noexcept { return client_[1]; }
    [[nodiscard]] int of_server() const noexcept { return server_[1]; }

private:
    std::array<int, 2> client_{-1, -1};
    std::array<int, 2> server_{-1, -1};
    bool whole_ = false;
};

/// What has come on `from`; with `spoil` its last octet, which is the last of a tag, is another one.
bool pass_on(int from, int to, bool spoil)
{
    std::array<std::byte, 16384> octets; // NOLINT(cppcoreguidelines-pro-type-member-init): filled by recv
    const ssize_t count = recv(from, octets.data(), octets.size(), MSG_DONTWAIT);
    if (count <= 0) {
        return false;
    }
    const auto size = static_cast<std::size_t>(count);
    octets.at(size - 1) ^= spoil ? std::byte{1} : std::byte{0};
    (void)send(to, octets.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL); // an end that is gone is what is looked for
    return true;
}

class Trial {
public:
    explicit Trial(SshSettings settings) : settings_{std::move(settings)} {}

    /// The error text.
    std::optional<std::string> run()
    {
        if (auto error = begin()) {
            return error;
        }
        if (!connect()) {
            return "no connection within the process: " + failure_of(client_.get()).text;
        }
        const auto as_sent = takes_packet(false);
        if (!as_sent || !*as_sent) {
            return "a packet as it was sent is not taken";
        }
        const auto spoiled = takes_packet(true);
        if (!spoiled) {
            return "no second packet can be sent: " + failure_of(client_.get()).text;
        }
        if (*spoiled) {
            return "a packet with a wrong tag is taken (expected a library with CVE-2026-59847 and CVE-2025-5987 "
                   "mended: install the updates of " +
                   ssh_library_version() + ", or name other algorithms in the profile)";
        }
        return std::nullopt;
    }

private:
    std::optional<std::string> begin()
    {
        std::string error;
        const auto& keys = settings_.policy.public_keys;
        client_ = make_session(settings_, keys, error);
        server_ = client_ ? make_session(settings_, keys, error) : nullptr;
        bind_.reset(ssh_bind_new());
        event_.reset(ssh_event_new());
        ssh_key key = nullptr;
        const bool no_files = false;
        if (!server_ || !bind_ || !event_ || !descriptors_.are_whole() ||
            ssh_pki_generate(SSH_KEYTYPE_ECDSA_P256, 0, &key) != SSH_OK) {
            return error.empty() ? "no descriptors, memory or key" : error;
        }
        OwnedKey owned{key};
        if (ssh_bind_options_set(bind_.get(), SSH_BIND_OPTIONS_PROCESS_CONFIG, &no_files) != SSH_OK ||
            ssh_bind_options_set(bind_.get(), SSH_BIND_OPTIONS_IMPORT_KEY, key) != SSH_OK) {
            return "the library takes no key of its own";
        }
        (void)owned.release(); // the bind object's now
        socket_t client = descriptors_.give_client();
        if (ssh_options_set(client_.get(), SSH_OPTIONS_HOST, "localhost") != SSH_OK ||
            ssh_options_set(client_.get(), SSH_OPTIONS_USER, "trial") != SSH_OK ||
            ssh_options_set(client_.get(), SSH_OPTIONS_FD, &client) != SSH_OK ||
            ssh_bind_accept_fd(bind_.get(), server_.get(), descriptors_.give_server()) != SSH_OK) {
            return "the library takes no descriptor";
        }
        ssh_set_blocking(server_.get(), 0);
        (void)ssh_handle_key_exchange(server_.get()); // only begun: serve() goes on with it
        return ssh_event_add_session(event_.get(), server_.get()) == SSH_OK ? std::nullopt
                                                                            : std::optional<std::string>{"no event"};
    }

    /// One turn of both ends; whether an octet moved.
    bool turn(bool spoil)
    {
        const bool rose = pass_on(descriptors_.of_client(), descriptors_.of_server(), spoil);
        (void)ssh_event_dopoll(event_.get(), 0); // a server that has ended shows in is_broken
        return pass_on(descriptors_.of_server(), descriptors_.of_client(), false) || rose;
    }

    bool connect()
    {
        const Nanoseconds until = read_boot() + kPatience;
        int result = SSH_AGAIN;
        while (result == SSH_AGAIN && read_boot() < until) {
            result = ssh_connect(client_.get());
            (void)turn(false);
        }
        settle(false);
        return result == SSH_OK && !is_broken(server_.get());
    }

    void settle(bool spoil)
    {
        for (int quiet = 0; quiet < kQuietTurns;) {
            quiet = turn(spoil) ? 0 : quiet + 1;
        }
    }

    /// Nothing when it could not be sent.
    std::optional<bool> takes_packet(bool spoil)
    {
        // SSH_MSG_IGNORE: nobody answers it, and nothing but its tag can be wrong.
        if (ssh_send_ignore(client_.get(), "known answer") != SSH_OK) {
            return std::nullopt;
        }
        settle(spoil);
        return !is_broken(server_.get());
    }

    SshSettings settings_;
    Descriptors descriptors_; // outlives the sessions, whose last words go there
    OwnedBind bind_;
    OwnedSession client_;
    OwnedSession server_;
    OwnedEvent event_;
};

SshPolicy with(const std::string& cipher, const std::string& mac)
{
    SshPolicy policy;
    // What is looked at is how packets are protected; these two any library and any provider has.
    policy.kex = {"ecdh-sha2-nistp256"};
    policy.public_keys = {"ecdsa-sha2-nistp256"};
    policy.ciphers = {cipher};
    policy.macs = {mac};
    return policy;
}

struct Protection {
    std::string cipher;
    std::string mac; // empty = the cipher needs none
};

std::vector<Protection> protections_of(const SshPolicy& policy)
{
    std::vector<Protection> all;
    for (const auto& cipher : policy.ciphers) {
        if (is_ssh_aead(cipher)) {
            all.push_back({cipher, {}});
            continue;
        }
        for (const auto& mac : policy.macs) {
            all.push_back({cipher, mac});
        }
    }
    return all;
}

std::string name_of(const Protection& protection)
{
    return protection.cipher + (protection.mac.empty() ? "" : " " + protection.mac);
}

} // namespace

std::vector<std::string> ssh_protections(const SshPolicy& policy)
{
    std::vector<std::string> names;
    std::ranges::transform(protections_of(policy), std::back_inserter(names), name_of);
    return names;
}

std::optional<std::string> find_broken_ssh_protection(const SshPolicy& policy)
{
    for (const auto& protection : protections_of(policy)) {
        SshSettings settings;
        settings.policy = with(protection.cipher, protection.mac.empty() ? std::string{kUnusedSshMac} : protection.mac);
        if (const auto error = Trial{std::move(settings)}.run()) {
            return name_of(protection) + ": " + *error;
        }
    }
    return std::nullopt;
}

} // namespace transports
