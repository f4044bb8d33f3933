// One NTS key establishment at a time (RFC 8915 section 4): the question, the judgement of its answer, and the search
// for the NTP server that the answer names.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "gateway/config.hpp"
#include "gateway/services.hpp"
#include "ntp-shim/nts_ke_client.hpp"
#include "ntp-shim/nts_state.hpp"
#include "transports/look_up.hpp"
#include "transports/nts_ke.hpp"

namespace gateway {

/// What a key establishment gives.
struct NtsEstablished {
    ntp_shim::NtsSession session;
    ntp_shim::NtsClientState state;          // of the session, which is beside it; no attempts
    transports::PeerIdentity peer;           // the key-establishment server
    std::vector<sockaddr_storage> addresses; // of the NTP server: at least one, all of them fit to be asked
};

class NtsEstablishment {
public:
    /// Called once on a later turn. It neither asks nor cancels.
    using Done = std::function<void(std::variant<NtsEstablished, transports::Failed>)>;

    /// `tunnel` has an nts: block and outlives it.
    NtsEstablishment(Services services, const Tunnel& tunnel, const transports::TlsSupply& supply);

    /// What was under way is given up without a call.
    void ask(const Target& target, Done done);
    void cancel();

private:
    [[nodiscard]] bool judge(transports::Channel& channel, std::span<const std::byte> received);
    void tell_heard();
    void adopt(transports::Channel& channel, ntp_shim::KeResult result);
    void locate(const std::string& host);
    void located(const std::vector<sockaddr_storage>& addresses);
    void fail(transports::Failed why);

    Services services_;
    const Tunnel& tunnel_;
    Target target_;
    ntp_shim::KeOffer offer_;
    std::vector<std::byte> heard_; // log level debug only
    NtsEstablished made_;          // as far as it has come
    Done done_;
    transports::KeClient client_;
    std::unique_ptr<transports::LookUp> look_up_;
};

/// Why an NTP server cannot be at `address`; it was named by the key-establishment server at `ke_address`. What no
/// server may send us to: ourselves, nobody, everybody, and this host unless the key establishment was with it.
[[nodiscard]] std::optional<std::string> why_unfit(const OwnListeners* own, const sockaddr_storage& address,
                                                   const std::string& ke_address);

/// Whom key establishment by `context` believes: its anchors and revocation lists, in whatever order, and the name that
/// a server must bear. 64 hexadecimal digits, to be compared.
[[nodiscard]] std::string trust_digest(const transports::TlsContext& context, const std::string& server_name);

/// The keys that both ends derive from a channel; nothing when it gives none.
[[nodiscard]] std::optional<ntp_shim::SessionKeys> export_session(transports::Channel& channel, ntp_shim::AeadId aead,
                                                                  bool compliant_export);

} // namespace gateway
