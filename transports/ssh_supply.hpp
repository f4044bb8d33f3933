// Where new SSH sessions get their context from. It is replaced when a tunnel's files are read again; sessions that are
// there keep the one they were made of, and can be judged by the new one.
#pragma once

#include <memory>
#include <utility>

#include "transports/ssh_context.hpp"

namespace transports {

/// Copies share one supply. One loop's.
class SshSupply {
public:
    /// A context is a supply of itself until it is replaced.
    SshSupply(std::shared_ptr<const SshContext> context) // NOLINT(google-explicit-constructor)
        : shared_{std::make_shared<std::shared_ptr<const SshContext>>(std::move(context))}
    {}

    [[nodiscard]] const std::shared_ptr<const SshContext>& current() const noexcept { return *shared_; }
    /// Of the same role as the one before.
    void replace(std::shared_ptr<const SshContext> context) { *shared_ = std::move(context); }

private:
    std::shared_ptr<std::shared_ptr<const SshContext>> shared_;
};

} // namespace transports
