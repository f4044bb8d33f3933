// Runs a fuzz target over every file of a corpus directory, in the order of their names: a fuzz target as an ordinary
// test. A property that does not hold aborts, as under libFuzzer.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <system_error>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

// What a test runner takes for an error of the test itself, where a failure is expected (a planted bug) as well.
constexpr int kNoCorpus = 99;

std::vector<std::filesystem::path> files_of(const std::filesystem::path& directory)
{
    std::vector<std::filesystem::path> files;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
        if (entry.is_regular_file(error)) {
            files.push_back(entry.path());
        }
    }
    std::ranges::sort(files);
    return files;
}

} // namespace

int main(int argc, char** argv)
{
    const std::vector<std::string> arguments(argv, argv + argc);
    if (arguments.size() != 2) {
        std::cerr << "usage: replay CORPUS_DIRECTORY\n";
        return kNoCorpus;
    }
    const auto files = files_of(arguments[1]);
    if (files.empty()) {
        std::cerr << arguments[1] << ": no corpus\n";
        return kNoCorpus;
    }
    for (const auto& file : files) {
        std::ifstream stream(file, std::ios::binary);
        const std::vector<char> content{std::istreambuf_iterator<char>(stream), {}};
        if (stream.bad() || !stream.is_open()) {
            std::cerr << file << ": cannot be read\n";
            return kNoCorpus;
        }
        std::cerr << file.filename().string() << '\n'; // the last one named is the one that failed
        const std::vector<std::uint8_t> octets(content.begin(), content.end());
        (void)LLVMFuzzerTestOneInput(octets.data(), octets.size()); // it has nothing to say but by aborting
    }
    std::cerr << files.size() << " inputs hold\n";
    return EXIT_SUCCESS;
}
