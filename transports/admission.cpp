#include "transports/admission.hpp"

#include <utility>

namespace transports {

Admission::Admission(const AdmissionLimits& limits, Admission* wider) : limits_{limits}, wider_{wider}
{}

std::optional<Limit> Admission::check(const MappedAddress& source, Nanoseconds second)
{
    if (second != second_) {
        second_ = second;
        begun_ = 0;
        begun_by_source_.clear();
    }
    if (limits_.half_open != 0 && half_open_ >= limits_.half_open) {
        return Limit::half_open;
    }
    if (limits_.channels != 0 && channels_ + half_open_ >= limits_.channels) {
        return Limit::channels;
    }
    if (limits_.handshakes_per_second != 0 && begun_ >= limits_.handshakes_per_second) {
        return Limit::handshakes_per_second;
    }
    if (limits_.handshakes_per_second_per_source != 0) {
        const auto found = begun_by_source_.find(source);
        if (found == begun_by_source_.end() ? begun_by_source_.size() >= kMaxSources
                                            : found->second >= limits_.handshakes_per_second_per_source) {
            return Limit::handshakes_per_second_per_source;
        }
    }
    return std::nullopt;
}

void Admission::count(const MappedAddress& source)
{
    ++begun_;
    if (limits_.handshakes_per_second_per_source != 0) {
        ++begun_by_source_[source];
    }
}

std::optional<Limit> Admission::admit(const MappedAddress& peer, Nanoseconds boot_now)
{
    const MappedAddress source = source_key(peer);
    const Nanoseconds second = std::chrono::floor<std::chrono::seconds>(boot_now);
    for (Admission* level = this; level != nullptr; level = level->wider_) {
        if (const auto limit = level->check(source, second)) {
            return limit;
        }
    }
    for (Admission* level = this; level != nullptr; level = level->wider_) {
        level->count(source);
    }
    return std::nullopt;
}

Admission::Place::Place(Admission& admission) noexcept : admission_{&admission}
{
    for (Admission* level = admission_; level != nullptr; level = level->wider_) {
        ++level->half_open_;
    }
}

Admission::Place::~Place()
{
    release();
}

Admission::Place::Place(Place&& other) noexcept
    : admission_{std::exchange(other.admission_, nullptr)}, promoted_{other.promoted_}
{}

Admission::Place& Admission::Place::operator=(Place&& other) noexcept
{
    if (this != &other) {
        release();
        admission_ = std::exchange(other.admission_, nullptr);
        promoted_ = other.promoted_;
    }
    return *this;
}

void Admission::Place::promote() noexcept
{
    if (admission_ == nullptr || promoted_) {
        return;
    }
    promoted_ = true;
    for (Admission* level = admission_; level != nullptr; level = level->wider_) {
        --level->half_open_;
        ++level->channels_;
    }
}

void Admission::Place::release() noexcept
{
    for (Admission* level = admission_; level != nullptr; level = level->wider_) {
        --(promoted_ ? level->channels_ : level->half_open_);
    }
    admission_ = nullptr;
}

} // namespace transports
