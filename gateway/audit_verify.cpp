#include "gateway/audit_verify.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "gateway/audit_chain.hpp"
#include "gateway/config_values.hpp"

namespace gateway {

namespace {

constexpr int kWhole = 0;
constexpr int kBroken = 1;
constexpr int kUsageError = 2;

using Fault = ChainVerifier::Fault;

std::optional<Fault> read_file(const std::filesystem::path& file, ChainVerifier& chain)
{
    std::ifstream in{file, std::ios::binary};
    std::error_code failed;
    if (!in || std::filesystem::is_directory(file, failed)) {
        return Fault{file.string(), 0, failed || !in ? std::strerror(errno) : "is a directory"};
    }
    chain.begin_file(file.string());
    std::string line(kMaxAuditLine + 1, '\0');
    std::size_t number = 0;
    while (in.peek() != std::ifstream::traits_type::eof()) {
        ++number;
        in.getline(line.data(), static_cast<std::streamsize>(line.size()));
        const auto length = static_cast<std::size_t>(in.gcount());
        if (in.fail() || in.bad()) {
            return Fault{file.string(), number, "is longer than any record"};
        }
        const bool whole = !in.eof();
        if (auto fault = chain.add(std::string_view{line.data(), length - (whole ? 1 : 0)}, whole)) {
            return fault;
        }
    }
    return std::nullopt;
}

int tell(const Fault& fault, std::ostream& err)
{
    err << fault.file << (fault.line == 0 ? "" : fmt::format(":{}", fault.line)) << ": " << fault.text << '\n';
    return kBroken;
}

} // namespace

int verify_audit(const AuditFiles& request, std::ostream& out, std::ostream& err)
{
    std::optional<ChainHead> known;
    if (!request.head.empty()) {
        known = parse_chain_head(request.head);
        if (!known) {
            err << fmt::format("--head: {} is no head (expected SEQ:HASH, such as 17:9f86d0..., 64 digits)\n",
                               shown(request.head));
            return kUsageError;
        }
    }
    ChainVerifier chain{known};
    for (const auto& file : request.files) {
        if (const auto fault = read_file(file, chain)) {
            return tell(*fault, err);
        }
    }
    if (const auto fault = chain.finish()) {
        return tell(*fault, err);
    }
    if (!chain.last()) {
        out << "no records\n";
        return kWhole;
    }
    out << fmt::format("{} records, seq {} to {}: the chain is whole\n", chain.records(), *chain.first(),
                       chain.last()->seq);
    if (*chain.first() != 1) {
        out << fmt::format("begins at seq {}: earlier files were not given\n", *chain.first());
    }
    for (const auto& file : chain.begun_anew()) {
        out << fmt::format("{} begins a chain of its own: nothing joins it to the files before it\n", file);
    }
    out << fmt::format("head {}:{}\n", chain.last()->seq, chain.last()->hash);
    if (!known) {
        out << "tail not anchored: without --head nobody can tell whether lines were cut off the end, or all of it "
               "written anew\n";
    } else if (chain.not_anchored() != 0) {
        out << fmt::format("tail not anchored: {} records are behind the given head\n", chain.not_anchored());
    } else {
        out << "anchored by the given head\n";
    }
    return kWhole;
}

} // namespace gateway
