// Where new sessions get their context from. It is replaced when a tunnel's files are read again; sessions that are
// there keep the one they were made of, and can be judged by the new one.
#pragma once

#include <memory>

#include "transports/ocsp_desk.hpp"
#include "transports/own_staple.hpp"
#include "transports/tls_context.hpp"

namespace transports {

/// Copies share one supply. One loop's.
class TlsSupply {
public:
    /// A context is a supply of itself until it is replaced.
    TlsSupply(std::shared_ptr<const TlsContext> context); // NOLINT(google-explicit-constructor)

    [[nodiscard]] const std::shared_ptr<const TlsContext>& current() const noexcept { return shared_->context; }
    /// Of the same role and transport as the one before.
    void replace(std::shared_ptr<const TlsContext> context);

    /// Who asks responders about peers.
    [[nodiscard]] OcspDesk& desk() const noexcept { return shared_->desk; }
    /// Server role under ocsp: begins to keep a response about our own certificate. `told` hears of each attempt.
    void keep_staple(Loop& loop, OwnStaple::Told told);
    /// The one to send now; null when there is none.
    [[nodiscard]] OcspBytes staple() const;

private:
    struct Shared {
        std::shared_ptr<const TlsContext> context;
        OcspDesk desk;
        std::unique_ptr<OwnStaple> staple;
    };
    std::shared_ptr<Shared> shared_;
};

} // namespace transports
