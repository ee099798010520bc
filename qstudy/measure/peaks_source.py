"""The C that a processor's peaks are measured with; qstudy.measure.peaks compiles it.

Peaks are of the instructions, not of a library: twelve independent chains keep both
multiply units busy, whose latency is four to five cycles. Each function does `rounds`
of the same work and returns what it computed, so that nothing can be left out.
"""

# Operations of one round: chains x lanes x 2 (multiply and add).
SOURCE = r"""
#include <stddef.h>
#ifdef __AVX512F__
#include <immintrin.h>
#define WIDTH 64
#else
#define WIDTH 32
#endif
typedef float lanes __attribute__((vector_size(WIDTH)));
#define LANES (WIDTH / 4)
#define CHAINS 12
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

long fp32_operations(void) { return 2L * CHAINS * LANES; }

float fp32(long rounds, float seed)
{
    lanes x = {0}, y = {0};
    x += seed * 0.5f;
    y += seed;
#define START(k) lanes a##k = y + (float)k;
    EACH(START)
    for (long r = 0; r < rounds; r++) {
#define STEP(k) a##k = a##k * x + y;
        EACH(STEP)
    }
    float sum = 0;
#define END(k) sum += a##k[0];
    EACH(END)
    return sum;
}

#ifdef __AVX512BF16__
long bf16_operations(void) { return 2L * CHAINS * 32; }
float bf16(long rounds, float seed)
{
    __m512bh x = _mm512_cvtne2ps_pbh(_mm512_set1_ps(seed), _mm512_set1_ps(seed));
#define START16(k) __m512 b##k = _mm512_set1_ps(seed + k);
    EACH(START16)
    for (long r = 0; r < rounds; r++) {
#define STEP16(k) b##k = _mm512_dpbf16_ps(b##k, x, x);
        EACH(STEP16)
    }
    float sum = 0;
#define END16(k) sum += b##k[0];
    EACH(END16)
    return sum;
}
#else
long bf16_operations(void) { return 0; }
float bf16(long rounds, float seed) { return seed; }
#endif

#ifdef __AVX512VNNI__
long int8_operations(void) { return 2L * CHAINS * 64; }
float int8(long rounds, float seed)
{
    __m512i x = _mm512_set1_epi8((char)seed);
#define START8(k) __m512i c##k = _mm512_set1_epi32((int)seed + k);
    EACH(START8)
    for (long r = 0; r < rounds; r++) {
#define STEP8(k) c##k = _mm512_dpbusd_epi32(c##k, x, x);
        EACH(STEP8)
    }
    int sum = 0;
#define END8(k) sum ^= _mm512_cvtsi512_si32(c##k);
    EACH(END8)
    return (float)sum;
}
#else
long int8_operations(void) { return 0; }
float int8(long rounds, float seed) { return seed; }
#endif

float read_all(long rounds, const float *from, size_t count)
{
    lanes a = {0}, b = {0}, c = {0}, d = {0};
    for (long r = 0; r < rounds; r++) {
        const lanes *p = (const lanes *)from;
        size_t steps = count / (4 * LANES);
        for (size_t i = 0; i < steps; i++, p += 4) {
            a += p[0]; b += p[1]; c += p[2]; d += p[3];
        }
        /* Each round reads again: memory might have changed. */
        __asm__ volatile("" : : "r"(from) : "memory");
    }
    a += b + c + d;
    float sum = 0;
    for (int k = 0; k < LANES; k++) sum += a[k];
    return sum;
}
"""
