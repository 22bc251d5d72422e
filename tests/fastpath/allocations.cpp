// Counts what its process asks of malloc: preloaded, it stands before the C library's own.
#include <cstdlib>

extern "C" {
void *__libc_malloc(size_t size);
void *__libc_realloc(void *before, size_t size);

long allocations = 0;

void *malloc(size_t size) {
    ++allocations;
    return __libc_malloc(size);
}

void *realloc(void *before, size_t size) {
    ++allocations;
    return __libc_realloc(before, size);
}
}
