/* The AVX-VNNI path (Intel laptops from Alder Lake, AMD from Zen 5): 256-bit dot products without AVX-512. */
#include "kernels.h"

#ifdef QT_X86
#include <immintrin.h>
#include <string.h>

#define NAME(x) avx2_vnni_##x
#define LANE_FN QT_TARGET("avx2,fma,f16c,avxvnni")
#define VNNI 1
#define DOT(sum, levels, activations) _mm256_dpbusd_avx_epi32(sum, levels, activations)
#include "narrow_x86.inc"

static int supported(void) { return qt_cpu_has(QT_CPU_AVX_VNNI); }

const qt_kernels qt_avx2_vnni = {"avx2_vnni", supported, QT_PRODUCTS, QT_ROW_OPERATIONS};
#endif
