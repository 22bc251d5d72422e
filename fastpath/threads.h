// What threads share: locks, and files that stay open as long as somebody reads them. No lock is waited for while Python's own is held.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

// A mutex.
class Lock {
    pthread_mutex_t mutex;

public:
    Lock() { pthread_mutex_init(&mutex, nullptr); }
    ~Lock() { pthread_mutex_destroy(&mutex); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    void take() { pthread_mutex_lock(&mutex); }
    void give() { pthread_mutex_unlock(&mutex); }
};

// Many may look, or one may change; who wants to change goes before those who come to look.
class Gate {
    pthread_rwlock_t lock;

public:
    Gate() {
        pthread_rwlockattr_t attributes;
        pthread_rwlockattr_init(&attributes);
#ifdef __GLIBC__
        pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
        pthread_rwlock_init(&lock, &attributes);
        pthread_rwlockattr_destroy(&attributes);
    }
    ~Gate() { pthread_rwlock_destroy(&lock); }
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;
    void look() { pthread_rwlock_rdlock(&lock); }
    void change() { pthread_rwlock_wrlock(&lock); }
    void leave() { pthread_rwlock_unlock(&lock); }
};

// An open file, closed when nobody holds it any more. The kernel tells of data that it could not write once: who forces it to the disk after
// that is told the same.
struct OpenFile {
    std::atomic<int64_t> holders{1};
    int fd;
    Lock syncing;
    int failed{0};

    explicit OpenFile(int fd) : fd(fd) {}
};

inline OpenFile* held(OpenFile* file) {
    file->holders.fetch_add(1, std::memory_order_relaxed);
    return file;
}

// Was this the last one who held it? Then its descriptor is to be closed, and `file` is no more.
inline bool let_go_of(OpenFile* file, int* fd) {
    if (file->holders.fetch_sub(1, std::memory_order_acq_rel) > 1) {
        return false;
    }
    *fd = file->fd;
    delete file;
    return true;
}

// A number that all threads see.
class Shared {
    std::atomic<int64_t> number{0};

public:
    int64_t get() const { return number.load(); }
    void set(int64_t value) { number.store(value); }
    int64_t add(int64_t more) { return number.fetch_add(more) + more; }
    bool begin(int64_t value) {  // set it, if it is 0
        int64_t none = 0;
        return number.compare_exchange_strong(none, value);
    }
};
