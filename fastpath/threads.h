// What threads share: locks, and files that stay open as long as somebody reads them. No lock is waited for while Python's own is held.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

#ifdef FIDUCIAL_CHAOS
#include <ctime>

// For tests: a thread lets others go first, now and then, or even sleeps, wherever it takes or gives back a lock,
// or looks at a number that all see, or sets it.
inline void hesitate() {
    static std::atomic<uint64_t> seeds{1};
    static thread_local uint64_t chance = seeds.fetch_add(1) * 0x9E3779B97F4A7C15;
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    const uint64_t drawn = (chance >> 20) % 256;
    const timespec a_while{0, 20000};
    if (drawn == 0) {
        nanosleep(&a_while, nullptr);
    } else if (drawn < 16) {
        sched_yield();
    }
}
#else
inline void hesitate() {}
#endif

// A mutex.
class Lock {
    pthread_mutex_t mutex;

public:
    Lock() { pthread_mutex_init(&mutex, nullptr); }
    ~Lock() { pthread_mutex_destroy(&mutex); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    void take() {
        hesitate();
        pthread_mutex_lock(&mutex);
        hesitate();
    }
    void give() {
        pthread_mutex_unlock(&mutex);
        hesitate();
    }
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
    int64_t get() const {
        hesitate();
        return number.load();
    }
    void set(int64_t value) {
        hesitate();
        number.store(value);
    }
    int64_t add(int64_t more) { return number.fetch_add(more) + more; }
    bool begin(int64_t value) {  // set it, if it is 0
        int64_t none = 0;
        return number.compare_exchange_strong(none, value);
    }
};

// What one thread counts, and others look at now and then.
class Tally {
    std::atomic<int64_t> number{0};

public:
    int64_t get() const { return number.load(std::memory_order_relaxed); }
    void add(int64_t more) { number.store(get() + more, std::memory_order_relaxed); }
};
