// Keeps a response about our own certificate at hand, to be stapled to it (RFC 6066 section 8).
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "transports/loop.hpp"
#include "transports/off_loop.hpp"
#include "transports/tls_context.hpp"
#include "transports/tls_ocsp.hpp"

namespace transports {

class OwnStaple {
public:
    /// After each attempt to fetch one.
    using Told = std::function<void(const OcspFinding& finding)>;
    OwnStaple(Loop& loop, Told told);
    ~OwnStaple();
    OwnStaple(const OwnStaple&) = delete;
    OwnStaple& operator=(const OwnStaple&) = delete;

    /// The certificate to keep one of, from now on; fetches it at once.
    void use(const TlsContext& context);
    /// What to send; null before the first one, and when the last one is over. Also a response that says revoked is
    /// sent: it is for the peer to judge.
    [[nodiscard]] OcspBytes current() const;

private:
    void fetch();
    void fetched(const OcspFetched& what);
    void wait(Nanoseconds time);
    void look();

    Loop& loop_;
    Told told_;
    std::optional<OcspQuestion> question_;
    OcspBytes staple_;
    Nanoseconds until_{};   // wall clock
    Nanoseconds due_{};     // boot clock: the next fetch
    unsigned failures_ = 0; // in a row
    std::unique_ptr<OffLoop> work_;
    Timer next_;
};

} // namespace transports
