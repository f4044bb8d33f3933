// What must hold before the first socket is opened: the cryptography works, and nobody has changed the program.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "gateway/audit.hpp"
#include "gateway/config.hpp"

namespace gateway {

struct SelfTestFailure {
    std::string_view reason; // "broken_primitive", "integrity"
    std::string text;
};
/// Known answers of every primitive that `config` may come to use, how the SSH library takes wrong tags, then its
/// `integrity:`. Absent = all is well.
[[nodiscard]] std::optional<SelfTestFailure> self_test(const Config& config);
/// The same, and a failure is recorded.
[[nodiscard]] std::optional<SelfTestFailure> self_test(const Config& config, Audit& audit);

} // namespace gateway
