#include "transports/tls_provisional.hpp"

#include <utility>

#include <openssl/x509_vfy.h>

#include "transports/tls_openssl.hpp"

namespace transports {

namespace {

struct FreeParts {
    void operator()(STACK_OF(X509) * chain) const noexcept { sk_X509_pop_free(chain, X509_free); }
    void operator()(X509_STORE* store) const noexcept { X509_STORE_free(store); }
    void operator()(X509_STORE_CTX* store) const noexcept { X509_STORE_CTX_free(store); }
    void operator()(X509_VERIFY_PARAM* parameters) const noexcept { X509_VERIFY_PARAM_free(parameters); }
};
template <class T>
using Part = std::unique_ptr<T, FreeParts>;

class KeptChain final : public ProvisionalChain {
public:
    struct Parts {
        Part<X509_STORE> anchors;
        Certificate leaf;
        Part<STACK_OF(X509)> untrusted;
        Part<X509_VERIFY_PARAM> parameters;
    };
    KeptChain(Parts parts, VerifyRules rules, Reference reference)
        : parts_{std::move(parts)}, rules_{std::move(rules)}, reference_{std::move(reference)}
    {}

    [[nodiscard]] std::optional<Closed> verify_at(Nanoseconds wall) const override
    {
        auto rules = rules_;
        rules.check_time = true;
        rules.clock = std::make_shared<CertificateClock>(wall);
        const Part<X509_STORE_CTX> store{X509_STORE_CTX_new()};
        const bool ready =
            store && rules.clock->learn(wall, read_boot()) &&
            X509_STORE_CTX_init(store.get(), parts_.anchors.get(), parts_.leaf.get(), parts_.untrusted.get()) == 1 &&
            X509_VERIFY_PARAM_set1(X509_STORE_CTX_get0_param(store.get()), parts_.parameters.get()) == 1;
        if (!ready) {
            return Closed{CloseReason::io_error, take_library_errors().text};
        }
        return verify_chain(*store, rules, reference_).refusal;
    }

private:
    Parts parts_;
    VerifyRules rules_;
    Reference reference_;
};

} // namespace

std::shared_ptr<const ProvisionalChain> keep_chain(x509_store_ctx_st& store, const VerifyRules& rules,
                                                   const Reference& reference)
{
    X509_STORE* const anchors = X509_STORE_CTX_get0_store(&store);
    X509* const leaf = X509_STORE_CTX_get0_cert(&store);
    if (leaf == nullptr || X509_STORE_up_ref(anchors) != 1) {
        return nullptr;
    }
    KeptChain::Parts parts;
    parts.anchors.reset(anchors);
    if (X509_up_ref(leaf) == 1) {
        parts.leaf.reset(leaf);
    }
    if (STACK_OF(X509)* const untrusted = X509_STORE_CTX_get0_untrusted(&store)) {
        parts.untrusted.reset(X509_chain_up_ref(untrusted));
    }
    parts.parameters.reset(X509_VERIFY_PARAM_new());
    const bool whole = parts.leaf && parts.parameters &&
                       X509_VERIFY_PARAM_set1(parts.parameters.get(), X509_STORE_CTX_get0_param(&store)) == 1;
    return whole ? std::make_shared<const KeptChain>(std::move(parts), rules, reference) : nullptr;
}

} // namespace transports
