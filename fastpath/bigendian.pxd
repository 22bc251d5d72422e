"""Numbers as the protocol and the files have them: most significant byte first."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <cstdint>
    #include <cstring>
    static inline uint16_t fiducial_load16(const uint8_t* at) { uint16_t n; std::memcpy(&n, at, 2); return __builtin_bswap16(n); }
    static inline uint32_t fiducial_load32(const uint8_t* at) { uint32_t n; std::memcpy(&n, at, 4); return __builtin_bswap32(n); }
    static inline uint64_t fiducial_load64(const uint8_t* at) { uint64_t n; std::memcpy(&n, at, 8); return __builtin_bswap64(n); }
    static inline void fiducial_store16(uint8_t* at, uint16_t n) { n = __builtin_bswap16(n); std::memcpy(at, &n, 2); }
    static inline void fiducial_store32(uint8_t* at, uint32_t n) { n = __builtin_bswap32(n); std::memcpy(at, &n, 4); }
    static inline void fiducial_store64(uint8_t* at, uint64_t n) { n = __builtin_bswap64(n); std::memcpy(at, &n, 8); }
    #if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "a little-endian processor is needed"
    #endif
    """
    uint16_t load16 "fiducial_load16"(const uint8_t* at) noexcept nogil
    uint32_t load32 "fiducial_load32"(const uint8_t* at) noexcept nogil
    uint64_t load64 "fiducial_load64"(const uint8_t* at) noexcept nogil
    void store16 "fiducial_store16"(uint8_t* at, uint16_t number) noexcept nogil
    void store32 "fiducial_store32"(uint8_t* at, uint32_t number) noexcept nogil
    void store64 "fiducial_store64"(uint8_t* at, uint64_t number) noexcept nogil
