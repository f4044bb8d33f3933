// What a context keeps behind its header.
#pragma once

#include <vector>

#include "transports/ssh_authorized_keys.hpp"
#include "transports/ssh_context.hpp"
#include "transports/ssh_known_hosts.hpp"
#include "transports/ssh_library.hpp"

namespace transports {

struct SshContext::State {
    SshSettings settings;
    std::vector<SshProblem> warnings;
    SshContext::Inventory inventory;
    OwnedKey key;                   // client
    KnownHosts known_hosts;         // client
    OwnedBind bind;                 // server: holds the host keys
    AuthorizedKeys authorized_keys; // server
};

} // namespace transports
