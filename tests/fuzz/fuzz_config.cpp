// Any text is a configuration or errors with places, never both, never neither, never an exception; twice the same.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "gateway/check.hpp"
#include "gateway/config.hpp"
#include "gateway/config_values.hpp"
#include "gateway/url.hpp"

namespace {

void ensure(bool holds, const char* property)
{
    if (!holds) {
        std::fprintf(stderr, "fuzz_config: violated: %s\n", property);
        std::abort();
    }
}

gateway::Loaded load(const std::string& text)
{
    auto loaded = gateway::load_config_text(text, "fuzz.yaml", "/nonexistent");
#ifdef NTPGATE_PLANTED_BUG
    // What a loader does that asks the YAML library for its keys: repeated ones go unnoticed.
    std::erase_if(loaded.errors, [](const gateway::Problem& error) {
        return error.message.find("is written twice") != std::string::npos;
    });
#endif
    return loaded;
}

bool is_printable(const std::string& text)
{
    return gateway::is_utf8(text) && std::none_of(text.begin(), text.end(), [](char c) {
               return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
           });
}

void check_problems(const std::vector<gateway::Problem>& problems, const std::string& text)
{
    const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
    for (const auto& problem : problems) {
        ensure(!problem.message.empty(), "a problem says what is wrong");
        ensure(is_printable(problem.text()), "a problem prints in one line, whatever the file holds");
        // The end of a file without a last newline counts as one line more.
        ensure(problem.file != "fuzz.yaml" || problem.line <= lines + 1, "a problem is inside the file");
        ensure((problem.line == 0) == (problem.column == 0), "a line comes with a column");
    }
}

std::string printed(const gateway::Loaded& loaded, bool json)
{
    std::ostringstream out;
    const int code = gateway::run_check(loaded, json, out);
    ensure(code == (loaded.config ? 0 : 2), "the exit code says whether it is valid");
    return out.str();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    std::string text;
    std::transform(data, data + size, std::back_inserter(text),
                   [](std::uint8_t octet) { return static_cast<char>(octet); });

    const auto loaded = load(text);
    ensure(loaded.config.has_value() == loaded.errors.empty(),
           "there is a configuration exactly when nothing is wrong");
    check_problems(loaded.errors, text);
    check_problems(loaded.warnings, text);
    const auto json = printed(loaded, true);
    ensure(nlohmann::json::accept(json), "JSON output is JSON");
    ensure(json == printed(load(text), true), "the same text gives the same result");
    ensure(!printed(loaded, false).empty(), "text output says something");

    const auto line = text.substr(0, text.find('\n'));
    for (const auto use : {gateway::UrlUse::target, gateway::UrlUse::listener}) {
        const auto url = gateway::parse_url(line, use);
        const auto* refused = std::get_if<gateway::Problem>(&url);
        ensure(refused == nullptr || is_printable(refused->text()), "a refused URL prints in one line");
    }
    return 0;
}
