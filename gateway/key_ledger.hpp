// Which private keys are in use, by whom, and the records of their coming and going (FCS_CKM.4).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "gateway/services.hpp"

namespace gateway {

struct HeldKey {
    std::string id; // the same key, the same id
    std::string subject;
    nlohmann::ordered_json fields; // of its records
};

class KeyLedger {
public:
    KeyLedger(Services services, std::string tunnel) : services_{services}, tunnel_{std::move(tunnel)} {}

    /// `holder` has these keys for as long as it lives. Those that nobody had are recorded as loaded.
    void hold(std::weak_ptr<const void> holder, std::vector<HeldKey> keys);
    /// Those that nobody has any more are recorded as destroyed.
    void look();

private:
    struct Holding {
        std::weak_ptr<const void> holder;
        std::vector<HeldKey> keys;
    };
    [[nodiscard]] bool is_held(const HeldKey& key) const;
    void record(bool loaded, const HeldKey& key);

    Services services_;
    std::string tunnel_;
    std::vector<Holding> holdings_;
};

} // namespace gateway
