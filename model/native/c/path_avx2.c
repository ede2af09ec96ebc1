#include "kernels.h"
#ifdef QT_X86
static int never(void) { return 0; }
const qt_kernels qt_avx2 = {"avx2", never, {0}, 0,0,0,0,0,0,0};
const qt_kernels qt_avx2_vnni = {"avx2_vnni", never, {0}, 0,0,0,0,0,0,0};
#endif
