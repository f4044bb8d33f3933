// The words that stand for enumerators, wherever a file may use them.
#pragma once

#include <array>

#include "gateway/config_reader.hpp"
#include "gateway/profile.hpp"

namespace gateway {

inline constexpr std::array<Choice<ChannelKind>, 5> kChannelWords{{{"tls", ChannelKind::tls},
                                                                   {"dtls", ChannelKind::dtls},
                                                                   {"ssh", ChannelKind::ssh},
                                                                   {"mac", ChannelKind::mac},
                                                                   {"nts", ChannelKind::nts}}};
inline constexpr std::array<Choice<transports::Ocsp>, 3> kOcspWords{
    {{"none", transports::Ocsp::none}, {"staple", transports::Ocsp::staple}, {"fetch", transports::Ocsp::fetch}}};
inline constexpr std::array<Choice<transports::Revocation>, 3> kRevocationWords{
    {{"none", transports::Revocation::none},
     {"soft", transports::Revocation::soft},
     {"require", transports::Revocation::require}}};
inline constexpr std::array<Choice<CertificateTime>, 3> kCertificateTimeWords{
    {{"strict", CertificateTime::strict},
     {"bootstrap", CertificateTime::bootstrap},
     {"unchecked", CertificateTime::unchecked}}};
inline constexpr std::array<Choice<transports::ClientCertificate>, 3> kClientCertificateWords{
    {{"required", transports::ClientCertificate::required},
     {"optional", transports::ClientCertificate::optional},
     {"none", transports::ClientCertificate::none}}};

/// `extended-master-secret:` of a profile.
inline constexpr std::array<Choice<bool>, 2> kMasterSecretWords{{{"offered", false}, {"required", true}}};

inline constexpr std::array<Choice<Requirements>, 3> kRequirementWords{
    {{"2.2e", Requirements::v2_2e}, {"3.0e", Requirements::v3_0e}, {"4.0", Requirements::v4_0}}};

} // namespace gateway
