#include "gateway/nts_memory.hpp"

#include <algorithm>
#include <span>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "gateway/secret_file.hpp"

namespace gateway {

namespace {

using std::chrono::seconds;
using transports::Nanoseconds;

seconds wall_seconds()
{
    return std::chrono::duration_cast<seconds>(transports::read_wall());
}

} // namespace

NtsMemory::NtsMemory(Services services, const Tunnel& tunnel) : services_{services}, tunnel_{tunnel}
{
    for (std::size_t at = 0; at < tunnel.connect.size(); ++at) {
        const auto target = tunnel.connect[at].text();
        auto& known = known_[target];
        if (tunnel.nts->state && known.file.empty()) {
            known.file = *tunnel.nts->state / fmt::format("{}.{}.nts", tunnel.name, at);
            load(target, known);
        }
    }
}

void NtsMemory::load(const std::string& target, Known& known)
{
    std::error_code none;
    if (!std::filesystem::exists(known.file, none)) {
        return;
    }
    const auto text = read_secret(known.file);
    // Deleted before a single cookie of it is used.
    if (::unlink(known.file.c_str()) != 0 || std::holds_alternative<std::string>(text)) {
        services_.log.warn(fmt::format("tunnel {}: {} cannot be read and deleted: cookies of an earlier run are not "
                                       "used",
                                       tunnel_.name, known.file.string()));
        return;
    }
    auto parsed = ntp_shim::parse_state(text_of(std::get<ntp_shim::Secret>(text)));
    if (const auto* why = std::get_if<std::string>(&parsed)) {
        services_.log.warn(fmt::format("tunnel {}: {}: {}: starting anew", tunnel_.name, known.file.string(), *why));
        return;
    }
    auto& state = std::get<ntp_shim::NtsClientState>(parsed);
    if (state.target != target) {
        return; // the configuration has another server there now
    }
    known.backoff.restore(state.attempts);
    // A clock that is wrong now, or was then, must not keep us waiting longer than the interval itself.
    const auto left = std::min<Nanoseconds>(state.not_before - wall_seconds(), known.backoff.interval(0));
    known.not_before = transports::read_boot() + std::max(left, Nanoseconds::zero());
    if (state.attempts != 0) { // this process may end before it has anything else to write
        auto attempts = state;
        attempts.session.reset();
        write(known, attempts);
    }
    known.read = std::move(state);
}

std::optional<ntp_shim::NtsClientState> NtsMemory::take(const std::string& target)
{
    const auto found = known_.find(target);
    return found == known_.end() ? std::nullopt : std::exchange(found->second.read, std::nullopt);
}

void NtsMemory::write(const Known& known, const ntp_shim::NtsClientState& state)
{
    if (known.file.empty()) {
        return;
    }
    auto text = ntp_shim::write_state(state);
    const auto error = replace_secret(known.file, text);
    ntp_shim::wipe(std::as_writable_bytes(std::span{text}));
    if (error) {
        services_.log.warn(fmt::format("tunnel {}: {}", tunnel_.name, *error));
    }
}

void NtsMemory::keep(const std::string& target, ntp_shim::NtsClientState state, ntp_shim::NtsSession session)
{
    const auto found = known_.find(target);
    if (found == known_.end()) {
        return;
    }
    const auto& known = found->second;
    state.attempts = known.backoff.attempts();
    const auto left = std::max(known.not_before - transports::read_boot(), Nanoseconds::zero());
    state.not_before = wall_seconds() + std::chrono::duration_cast<seconds>(left);
    state.session = std::move(session);
    write(known, state);
}

bool NtsMemory::may_attempt(const std::string& target) const
{
    const auto found = known_.find(target);
    return found == known_.end() || transports::read_boot() >= found->second.not_before;
}

std::int64_t NtsMemory::seconds_left(const std::string& target) const
{
    const auto found = known_.find(target);
    if (found == known_.end()) {
        return 0;
    }
    return std::chrono::ceil<seconds>(found->second.not_before - transports::read_boot()).count();
}

void NtsMemory::attempt(const std::string& target)
{
    auto& known = known_[target];
    known.backoff.attempt();
    const auto interval = known.backoff.interval(services_.random.bits());
    known.not_before = transports::read_boot() + interval;
    ntp_shim::NtsClientState state;
    state.target = target;
    state.attempts = known.backoff.attempts();
    state.not_before = wall_seconds() + std::chrono::ceil<seconds>(interval);
    write(known, state);
}

void NtsMemory::used(const std::string& target)
{
    const auto found = known_.find(target);
    if (found == known_.end() || found->second.backoff.attempts() == 0) {
        return;
    }
    auto& known = found->second;
    known.backoff.used();
    // What was established works: the next attempt keeps its distance from the last one, and counts from the start.
    if (!known.file.empty()) {
        (void)::unlink(known.file.c_str()); // no more attempts to remember
    }
}

} // namespace gateway
