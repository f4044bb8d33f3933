// The seal of an NTS client, which has its session looked at before each request.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <variant>

#include "ntp-shim/nts_client_seal.hpp"

namespace gateway {

class WatchfulSeal final : public ntp_shim::ClientSeal {
public:
    WatchfulSeal(ntp_shim::NtsClientSeal& seal, std::function<void()> before_request)
        : seal_{seal}, before_request_{std::move(before_request)}
    {}
    [[nodiscard]] std::uint8_t version() const noexcept override { return seal_.version(); }
    [[nodiscard]] std::variant<Sealed, ntp_shim::DropReason> seal(ntp_shim::SealBuffer& packet) override
    {
        before_request_();
        return seal_.seal(packet);
    }
    [[nodiscard]] std::optional<ntp_shim::DropReason> open(ntp_shim::Bytes reply,
                                                           const ntp_shim::SealMemory& memory) override
    {
        return seal_.open(reply, memory);
    }

private:
    ntp_shim::NtsClientSeal& seal_;
    std::function<void()> before_request_;
};

} // namespace gateway
