#include "transports/tls_supply.hpp"

#include <utility>

namespace transports {

TlsSupply::TlsSupply(std::shared_ptr<const TlsContext> context) : shared_{std::make_shared<Shared>()}
{
    shared_->context = std::move(context);
}

void TlsSupply::replace(std::shared_ptr<const TlsContext> context)
{
    shared_->context = std::move(context);
    if (shared_->staple) {
        shared_->staple->use(*shared_->context);
    }
}

void TlsSupply::keep_staple(Loop& loop, OwnStaple::Told told)
{
    const TlsSettings& settings = current()->settings();
    if (settings.role == TlsRole::server && settings.ocsp != Ocsp::none) {
        shared_->staple = std::make_unique<OwnStaple>(loop, std::move(told));
        shared_->staple->use(*current());
    }
}

OcspBytes TlsSupply::staple() const
{
    return shared_->staple ? shared_->staple->current() : nullptr;
}

} // namespace transports
