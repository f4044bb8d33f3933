// The nts: block.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include <sys/types.h>

#include "ntp-shim/nts_aead.hpp"
#include "ntp-shim/nts_ke_server.hpp"
#include "ntp-shim/nts_server_seal.hpp"

namespace gateway {

struct SocketAddress;

/// Where a front's cookie keys come from.
enum class NtsKeySource : std::uint8_t {
    own,     // keys: a file of ours
    chrony,  // chrony-keys: chrony's ntskeys
    ratchet, // ratchet: a seed file
};

struct NtsSettings {
    std::vector<ntp_shim::AeadId> aeads; // client role: offered in this order; server role: taken

    std::optional<std::filesystem::path> state; // client role: a folder; absent = nothing outlives a restart

    std::vector<ntp_shim::NtpServerOffer> servers; // server role: whom clients are told to ask; empty = us
    NtsKeySource source = NtsKeySource::own;
    std::filesystem::path keys;
    std::chrono::seconds rotate{}; // 0 = the file has another writer: it is read and watched
    ntp_shim::PlainRequests plain = ntp_shim::PlainRequests::refuse;
    std::vector<uid_t> owners; // who may own the files, beside root
};

} // namespace gateway
