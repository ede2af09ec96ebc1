/* The AVX2 path (Intel from Haswell, AMD from Zen): 8-bit products in two steps of 16 and 32 bits. */
#include "kernels.h"

#ifdef QT_X86
#include <immintrin.h>
#include <string.h>

#define NAME(x) avx2_##x
#define LANE_FN QT_TARGET("avx2,fma,f16c")
#define VNNI 0
#include "narrow_x86.inc"

static int supported(void) { return qt_cpu_has(QT_CPU_AVX2); }

const qt_kernels qt_avx2 = {"avx2", supported, QT_PRODUCTS, QT_ROW_OPERATIONS};
#endif
