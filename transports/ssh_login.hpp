// From a connection to a granted subsystem: what each role does before there is a channel. For the ssh files only.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "transports/channel.hpp"
#include "transports/ssh_context.hpp"
#include "transports/ssh_link.hpp"

namespace transports {

class SshLogin {
public:
    SshLogin() = default;
    virtual ~SshLogin() = default;
    SshLogin(const SshLogin&) = delete;
    SshLogin& operator=(const SshLogin&) = delete;

    enum class Progress : std::uint8_t { waiting, granted, refused };
    /// After every turn of the link, until it has said granted or refused; never from inside the library.
    [[nodiscard]] virtual Progress advance(SshLink& link) = 0;
    /// The first refusal of what the peer asked for after the login; ends the channel.
    [[nodiscard]] virtual const Closed* refusal() const noexcept = 0;
    /// What is known of the peer so far, its address aside.
    [[nodiscard]] virtual const PeerIdentity& peer() const noexcept = 0;
    /// Once granted: why the peer would not be let in by `context`; nothing when it would.
    [[nodiscard]] virtual std::optional<Closed> judge_by(const SshContext& context) const = 0;
    /// A better reason than the link's for an end before anything was granted: why the peer was turned down.
    [[nodiscard]] virtual Closed explain(const Closed& end) const = 0;
};

/// Takes the connected descriptor. On failure it is closed, and the text says why.
struct SshBegun {
    std::unique_ptr<SshLink> link;
    std::unique_ptr<SshLogin> login;
    std::string error;
};
[[nodiscard]] SshBegun begin_ssh_client(Loop& loop, int descriptor, std::shared_ptr<const SshContext> context,
                                        const Target& target, std::function<void()> ready);
[[nodiscard]] SshBegun begin_ssh_server(Loop& loop, int descriptor, std::shared_ptr<const SshContext> context,
                                        const sockaddr_storage& peer, std::function<void()> ready);

} // namespace transports
