// libssh's objects with owners, its options, and its words for what went wrong. For the ssh files only.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "transports/channel.hpp"
#include "transports/ssh_context.hpp"
#include "transports/ssh_key_text.hpp"

struct ssh_session_struct;
struct ssh_key_struct;
struct ssh_bind_struct;
struct ssh_event_struct;

namespace transports {

struct SshFree {
    void operator()(ssh_session_struct* session) const noexcept;
    void operator()(ssh_key_struct* key) const noexcept;
    void operator()(ssh_bind_struct* bind) const noexcept;
    void operator()(ssh_event_struct* event) const noexcept;
};
using OwnedSession = std::unique_ptr<ssh_session_struct, SshFree>;
using OwnedKey = std::unique_ptr<ssh_key_struct, SshFree>;
using OwnedBind = std::unique_ptr<ssh_bind_struct, SshFree>;
using OwnedEvent = std::unique_ptr<ssh_event_struct, SshFree>;

/// A session that does what the policy says and reads no file of its own; null with the cause in `error`.
/// `host_key_order` replaces the order, not the choice, of the policy's public keys.
[[nodiscard]] OwnedSession make_session(const SshSettings& settings, const std::vector<std::string>& host_key_order,
                                        std::string& error);

/// The public half in our own form; nothing when the library cannot say it.
[[nodiscard]] std::optional<SshPublicKey> public_key_of(ssh_key_struct* key);
[[nodiscard]] std::string fingerprint_of(ssh_key_struct* key); // "SHA256:..." as ssh-keygen -l prints it

/// Why a session broke, from the library's text and the peer's last word.
[[nodiscard]] Closed failure_of(ssh_session_struct* session);
[[nodiscard]] bool is_broken(ssh_session_struct* session) noexcept;
/// What was negotiated: "curve25519-sha256 aes256-gcm@openssh.com aead-gcm".
[[nodiscard]] std::string algorithms_of(ssh_session_struct* session);

[[nodiscard]] std::string joined(const std::vector<std::string>& words);

} // namespace transports
