// `keygen nts`: cookie keys for a front, or a seed for fronts that share a ratchet.
#pragma once

#include <chrono>
#include <filesystem>
#include <iosfwd>
#include <string>

namespace gateway {

struct NtsKeyRequest {
    std::filesystem::path directory;
    std::string form = "keys";  // keys: nts.keys | chrony: ntskeys | ratchet: nts.seed
    std::string period = "24h"; // of a ratchet
};

/// Writes one file into a directory that is made when missing; never overwrites. The exit code.
[[nodiscard]] int write_nts_keys(const NtsKeyRequest& request, std::ostream& out, std::ostream& errors);

} // namespace gateway
