/* CRC-32C (the Castagnoli polynomial), the checksum of record batches: by the processor's own instructions where it has them.

   `crc32c_prepare` once, then `crc32c`. Which way is taken is found out at run time; every way is there to be asked for by its number.

   The instruction of x86 takes 8 bytes each cycle, but its result comes 3 cycles later. So three lanes of equal length are summed side by
   side, and their sums joined: a sum is moved over n bytes by a product with x^(8n) modulo the polynomial, which is one carry-less
   multiplication and one more CRC instruction. */

#ifndef FIDUCIAL_CRC32C_H
#define FIDUCIAL_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define CRC32C_FOR_X86
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__linux__) && (defined(__GNUC__) || defined(__clang__))
#define CRC32C_FOR_ARM
#include <arm_acle.h>
#include <sys/auxv.h>
#endif

enum crc32c_way { CRC32C_BY_TABLE, CRC32C_BY_X86, CRC32C_BY_ARM, CRC32C_WAYS };

/* The state before any byte is all ones, and the sum is the state's complement; the functions below go from state to state. */
typedef uint32_t (*crc32c_function)(uint32_t state, const uint8_t *data, size_t size);

#define CRC32C_POLYNOMIAL 0x82F63B78u /* bits reflected: bit 31 is the coefficient of x^0 */

/* [k][byte]: what a byte does to the state once k more zero bytes have followed it. */
static uint32_t crc32c_table[8][256];

static void crc32c_fill_table(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t state = byte;
        for (int bit = 0; bit < 8; bit++)
            state = state >> 1 ^ (state & 1 ? CRC32C_POLYNOMIAL : 0);
        crc32c_table[0][byte] = state;
    }
    for (int k = 1; k < 8; k++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t before = crc32c_table[k - 1][byte];
            crc32c_table[k][byte] = before >> 8 ^ crc32c_table[0][before & 0xFF];
        }
}

static uint32_t crc32c_by_table(uint32_t state, const uint8_t *data, size_t size)
{
    for (; size >= 8; data += 8, size -= 8) {
        uint32_t low = state ^ (data[0] | data[1] << 8 | data[2] << 16 | (uint32_t)data[3] << 24);
        state = crc32c_table[7][low & 0xFF] ^ crc32c_table[6][low >> 8 & 0xFF] ^ crc32c_table[5][low >> 16 & 0xFF]
            ^ crc32c_table[4][low >> 24] ^ crc32c_table[3][data[4]] ^ crc32c_table[2][data[5]] ^ crc32c_table[1][data[6]]
            ^ crc32c_table[0][data[7]];
    }
    for (; size > 0; data++, size--)
        state = state >> 8 ^ crc32c_table[0][(state ^ *data) & 0xFF];
    return state;
}

#if defined(CRC32C_FOR_X86) || defined(CRC32C_FOR_ARM)
static inline uint64_t crc32c_word(const uint8_t *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof word);
    return word;
}
#endif

#ifdef CRC32C_FOR_X86

/* Lanes of these many bytes, the longest first; multiples of 8. */
enum { CRC32C_LONG_LANE = 1024, CRC32C_SHORT_LANE = 128 };

/* x^(8n - 33) modulo the polynomial, for n the bytes in one lane and in two. The instruction multiplies by x^32, and the product of two
   reflected numbers comes out shifted by one. */
struct crc32c_moves {
    uint32_t one_lane, two_lanes;
};
static struct crc32c_moves crc32c_long_moves, crc32c_short_moves;

static uint32_t crc32c_power_of_x(unsigned exponent)
{
    uint32_t power = 0x80000000u;
    while (exponent--)
        power = power >> 1 ^ (power & 1 ? CRC32C_POLYNOMIAL : 0);
    return power;
}

static struct crc32c_moves crc32c_moves_over(unsigned lane_bytes)
{
    struct crc32c_moves moves = {crc32c_power_of_x(8 * lane_bytes - 33), crc32c_power_of_x(16 * lane_bytes - 33)};
    return moves;
}

#ifdef __clang__ /* has a name of its own for the instruction, which GCC counts to SSE 4.2 */
#define CRC32C_X86 __attribute__((target("sse4.2,crc32,pclmul")))
#else
#define CRC32C_X86 __attribute__((target("sse4.2,pclmul")))
#endif

CRC32C_X86 static inline uint64_t crc32c_product(uint32_t left, uint32_t right)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)left), _mm_cvtsi32_si128((int)right), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

/* The state behind three lanes that begin at `data`. */
CRC32C_X86 static inline uint32_t crc32c_lanes(uint32_t state, const uint8_t *data, size_t lane_bytes, struct crc32c_moves moves)
{
    uint64_t first = state, second = 0, third = 0;
    for (const uint8_t *end = data + lane_bytes; data < end; data += 8) {
        first = _mm_crc32_u64(first, crc32c_word(data));
        second = _mm_crc32_u64(second, crc32c_word(data + lane_bytes));
        third = _mm_crc32_u64(third, crc32c_word(data + 2 * lane_bytes));
    }
    uint64_t moved = crc32c_product((uint32_t)first, moves.two_lanes) ^ crc32c_product((uint32_t)second, moves.one_lane);
    return (uint32_t)(third ^ _mm_crc32_u64(0, moved));
}

CRC32C_X86 static uint32_t crc32c_by_x86(uint32_t state, const uint8_t *data, size_t size)
{
    for (; size >= 3 * CRC32C_LONG_LANE; data += 3 * CRC32C_LONG_LANE, size -= 3 * CRC32C_LONG_LANE)
        state = crc32c_lanes(state, data, CRC32C_LONG_LANE, crc32c_long_moves);
    for (; size >= 3 * CRC32C_SHORT_LANE; data += 3 * CRC32C_SHORT_LANE, size -= 3 * CRC32C_SHORT_LANE)
        state = crc32c_lanes(state, data, CRC32C_SHORT_LANE, crc32c_short_moves);
    for (; size >= 8; data += 8, size -= 8)
        state = (uint32_t)_mm_crc32_u64(state, crc32c_word(data));
    for (; size > 0; data++, size--)
        state = _mm_crc32_u8(state, *data);
    return state;
}

#endif

#ifdef CRC32C_FOR_ARM

__attribute__((target("+crc"))) static uint32_t crc32c_by_arm(uint32_t state, const uint8_t *data, size_t size)
{
    for (; size >= 8; data += 8, size -= 8)
        state = __crc32cd(state, crc32c_word(data));
    for (; size > 0; data++, size--)
        state = __crc32cb(state, *data);
    return state;
}

#endif

/* The function of a way, NULL where this machine does not have it. */
static crc32c_function crc32c_function_of(int way)
{
#ifdef CRC32C_FOR_X86
    if (way == CRC32C_BY_X86)
        return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul") ? crc32c_by_x86 : NULL;
#endif
#ifdef CRC32C_FOR_ARM
    if (way == CRC32C_BY_ARM)
        return getauxval(AT_HWCAP) & HWCAP_CRC32 ? crc32c_by_arm : NULL;
#endif
    return way == CRC32C_BY_TABLE ? crc32c_by_table : NULL;
}

static crc32c_function crc32c_chosen;

/* To be called once, before any other thread can want a sum. */
static void crc32c_prepare(void)
{
    crc32c_fill_table();
#ifdef CRC32C_FOR_X86
    crc32c_long_moves = crc32c_moves_over(CRC32C_LONG_LANE);
    crc32c_short_moves = crc32c_moves_over(CRC32C_SHORT_LANE);
#endif
    for (int way = 0; way < CRC32C_WAYS; way++)
        if (crc32c_function_of(way) != NULL)
            crc32c_chosen = crc32c_function_of(way); /* an instruction is better than the table */
}

/* The sum of what gave the sum `before` (0 for nothing) with `data` behind it. */
static inline uint32_t crc32c(uint32_t before, const uint8_t *data, size_t size)
{
    return ~crc32c_chosen(~before, data, size);
}

#endif
