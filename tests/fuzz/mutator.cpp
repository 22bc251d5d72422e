// libFuzzer looks for a mutator of ours when it is loaded, before Python is: what it finds is this, which asks whoever has come since.
#include <cstddef>
#include <cstdint>

extern "C" {
size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t size_max);

size_t (*fiducial_mutator)(uint8_t* data, size_t size, size_t size_max, unsigned int seed) = nullptr;

size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t size_max, unsigned int seed) {
    return fiducial_mutator != nullptr ? fiducial_mutator(data, size, size_max, seed) : LLVMFuzzerMutate(data, size, size_max);
}
}
