// Two ends of one TLS conversation in memory, and the settings that let them agree.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "tests/support/plain_tls_peer.hpp"
#include "tests/support/test_pki.hpp"
#include "transports/tls_context.hpp"
#include "transports/tls_engine.hpp"

namespace support {

/// An authority, a server "server.test" and a client "client.test", and settings that use them.
struct Scene {
    Scene();

    Folder folder;
    Identity authority;
    Identity server;
    Identity client;
    transports::TlsSettings server_settings;
    transports::TlsSettings client_settings;

    /// Writes the identity's files and points `settings` at them; `chain` follows the leaf.
    void show(transports::TlsSettings& settings, const Identity& identity,
              const std::vector<const Identity*>& chain = {}) const;
    /// A plain peer that either of the two would admit.
    [[nodiscard]] PlainSettings plain_client() const;
    [[nodiscard]] PlainSettings plain_server() const;
    /// A leaf of the scene's authority.
    [[nodiscard]] Identity issue(const Wish& wish) const { return {wish, &authority}; }
};

/// What both ends offer unless a test narrows it.
[[nodiscard]] transports::TlsPolicy test_policy();
[[nodiscard]] Wish server_wish();
[[nodiscard]] Wish client_wish();

using MadeContext = std::variant<std::shared_ptr<const transports::TlsContext>, std::vector<transports::TlsProblem>>;
/// The context, or an exception with the problems.
[[nodiscard]] std::shared_ptr<const transports::TlsContext> make_context(const transports::TlsSettings& settings);
[[nodiscard]] std::unique_ptr<transports::TlsEngine> make_engine(const transports::TlsSettings& settings,
                                                                 const std::string& reference = "server.test");
/// The problems; empty when the context was made.
[[nodiscard]] std::vector<transports::TlsProblem> problems_of(const transports::TlsSettings& settings);

/// Carries octets both ways until neither end has any more, `step` at a time; records that arrive are kept.
struct Delivered {
    std::vector<std::string> to_client;
    std::vector<std::string> to_server;
};
Delivered converse(transports::TlsEngine& client, transports::TlsEngine& server, std::size_t step = 65536);
void converse(transports::TlsEngine& engine, PlainTlsPeer& peer);

[[nodiscard]] std::vector<std::string> read_all(transports::TlsEngine& engine);
[[nodiscard]] std::span<const std::byte> octets(const std::string& text);

} // namespace support
