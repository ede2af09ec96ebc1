/* 256-bit dot products in the encoding of AVX-512: for processors that have it but do not like wide vectors,
 * and so that the code of path_avx2_vnni.c can be tested where only this encoding exists. */
#include "kernels.h"

#ifdef QT_X86
#include <immintrin.h>
#include <string.h>

#define NAME(x) avx512vl_##x
#define LANE_FN QT_TARGET("avx2,fma,f16c,avx512f,avx512vl,avx512vnni")
#define VNNI 1
#define DOT(sum, levels, activations) _mm256_dpbusd_epi32(sum, levels, activations)
#include "narrow_x86.inc"

static int supported(void) { return qt_cpu_has(QT_CPU_AVX512_VNNI); }

const qt_kernels qt_avx512vl_vnni = {"avx512vl_vnni", supported, QT_PRODUCTS, QT_ROW_OPERATIONS};
#endif
