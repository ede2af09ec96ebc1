/* What this machine's processor and operating system can run, and the table of paths in order of speed. */
#include "kernels.h"

#ifdef QT_X86
#if defined(_MSC_VER)
#include <intrin.h>
static void cpuid(int leaf, int sub, int r[4]) { __cpuidex(r, leaf, sub); }
static uint64_t enabled_state(void) { return _xgetbv(0); }
#else
#include <cpuid.h>
static void cpuid(int leaf, int sub, int r[4]) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    __get_cpuid_count((unsigned)leaf, (unsigned)sub, &a, &b, &c, &d);
    r[0] = (int)a, r[1] = (int)b, r[2] = (int)c, r[3] = (int)d;
}
static uint64_t enabled_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}
#endif

static int bit(int word, int n) { return (int)((uint32_t)word >> n & 1u); }

/* The operating system must save the wide registers too, hence the look at XCR0. */
int qt_cpu_has(int feature) {
    int one[4], seven[4], seven_one[4] = {0, 0, 0, 0};
    cpuid(1, 0, one);
    if (!bit(one[2], 27)) /* OSXSAVE */
        return 0;
    uint64_t state = enabled_state();
    cpuid(7, 0, seven);
    if (seven[0] >= 1)
        cpuid(7, 1, seven_one);
    int avx2 = (state & 6) == 6 && bit(one[2], 12) && bit(one[2], 29) && bit(seven[1], 5); /* FMA, F16C, AVX2 */
    int avx512 = avx2 && (state & 0xe6) == 0xe6 && bit(seven[1], 16) && bit(seven[1], 17) && /* F, DQ */
                 bit(seven[1], 30) && bit(seven[1], 31) && bit(seven[2], 11);                /* BW, VL, VNNI */
    switch (feature) {
    case QT_CPU_AVX2: return avx2;
    case QT_CPU_AVX_VNNI: return avx2 && bit(seven_one[0], 4);
    case QT_CPU_AVX512_VNNI: return avx512;
    default: return 0;
    }
}
#endif

#ifdef QT_ARM
#if defined(__linux__)
#include <sys/auxv.h>
int qt_cpu_has(int feature) { return feature == QT_CPU_DOT && (getauxval(AT_HWCAP) >> 20 & 1u); } /* ASIMDDP */
#elif defined(__APPLE__)
int qt_cpu_has(int feature) { return feature == QT_CPU_DOT; } /* every Apple processor for the Mac has it */
#elif defined(_WIN32)
#include <windows.h>
int qt_cpu_has(int feature) { return feature == QT_CPU_DOT && IsProcessorFeaturePresent(43); }
#else
int qt_cpu_has(int feature) { return (void)feature, 0; }
#endif
#endif

const qt_kernels *const *qt_runnable(void) {
    static const qt_kernels *const all[] = {
#ifdef QT_X86
        &qt_avx512_vnni,
        &qt_avx512vl_vnni,
        &qt_avx2_vnni,
        &qt_avx2,
#endif
#ifdef QT_NEON_DOT
        &qt_neon_dot,
#endif
        &qt_portable,
    };
    static const qt_kernels *found[sizeof all / sizeof *all + 1];
    size_t n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->supported())
            found[n++] = all[i];
    found[n] = NULL; /* filled with the same values whoever calls first: no lock needed */
    return found;
}
