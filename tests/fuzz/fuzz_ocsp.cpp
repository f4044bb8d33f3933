// Any octets as an OCSP response about a fixed certificate.
//
// Property: the certificate is called good or revoked only by what its issuer, or the issuer's delegate, has signed:
// the signed part is then found among the octets, whole.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tests/fuzz/ocsp_parties.hpp"
#include "tests/fuzz/property.hpp"
#include "transports/tls_ocsp.hpp"

namespace {

using fuzz::require;
using Octets = std::span<const unsigned char>;

bool holds(Octets whole, Octets part)
{
    return std::search(whole.begin(), whole.end(), part.begin(), part.end()) != whole.end();
}

transports::OcspQuestion question()
{
    transports::OcspQuestion asked;
    asked.certificate.assign(fuzz::kLeaf.begin(), fuzz::kLeaf.end());
    asked.issuer.assign(fuzz::kIssuer.begin(), fuzz::kIssuer.end());
    asked.limits.check_time = false;
    return asked;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static const transports::OcspQuestion asked = question();
    const Octets response{data, size};
    const auto status = transports::judge_response(response, asked).status;
    const bool good = holds(response, fuzz::kGood) || (holds(response, fuzz::kGoodDelegated) && !fuzz::kPlantedBug);
    require(status != transports::OcspStatus::good || good, "good only by a signature");
    require(status != transports::OcspStatus::revoked || holds(response, fuzz::kRevoked),
            "revoked only by a signature");
    return 0;
}
