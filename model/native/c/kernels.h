/* The kernel table: every operation whose instructions differ between machines, one table per path.
 *
 * The law for all of them: what is computed for a row depends on that row alone, in a fixed order, so the
 * result has the same bits however many rows come together and however many threads share the work.
 */
#ifndef QT_KERNELS_H
#define QT_KERNELS_H

#include "layout.h"

#ifdef QT_X86
#include <xmmintrin.h>
#endif

enum { QT_POSITIONS = 16, QT_MAX_HEADS = 8 };

/* One block of 32 outputs for `rows` rows: out[row][32] = weights . activations.
 * acts is [groups][stride] records; rows <= stride. */
typedef void (*qt_product_fn)(const uint8_t *block, int groups, const qt_group *acts, size_t stride, int rows,
                              float *out);

/* What one attention job needs; see lanes.inc for the layout of the cache. */
typedef struct {
    const uint16_t *keys;   /* half, [position / 16][head_dim][16] */
    const uint16_t *values; /* half, [position][head_dim] */
    int head_dim;
    int length; /* positions attended: 0 .. length-1 */
} qt_past;

typedef struct {
    const char *name;
    int (*supported)(void);
    qt_product_fn product[QT_KINDS];
    /* RMS norm of one row, quantised to out[group * stride]; plain (may be NULL) gets the float row. */
    void (*norm)(const float *x, const float *weight, float eps, int width, qt_group *out, size_t stride,
                 float *plain);
    /* Quantise `count` groups of one row. */
    void (*quantise)(const float *x, int count, qt_group *out, size_t stride);
    /* gate[i] = gate[i] * sigmoid(gate[i]) * up[i], for n values (a multiple of 16). */
    void (*swiglu)(float *gate, const float *up, int n);
    /* Rotate one head in place: pairs (i, i + head_dim/2); table is cos[half] then sin[half]; then scale. */
    void (*rotate)(float *head, const float *table, int head_dim, float scale);
    /* Write one key or value head as halves with the given step between elements. */
    void (*store)(const float *head, int head_dim, uint16_t *to, size_t step);
    /* Attention of `heads` (<= QT_MAX_HEADS) query heads of one row over one key/value head.
     * q and out are [heads][head_dim]; scores has room for heads * (length rounded up to 16). */
    void (*attend)(const qt_past *past, const float *q, int heads, float *scores, float *out);
    /* Over n logits: the greatest, its first index, and sum(exp(l - greatest)). */
    void (*survey)(const float *logits, int n, float *greatest, int *index, float *sum);
} qt_kernels;

/* Does the processor (and the operating system) support this? */
enum { QT_CPU_AVX2, QT_CPU_AVX_VNNI, QT_CPU_AVX512_VNNI, QT_CPU_DOT };
int qt_cpu_has(int feature);

#ifdef QT_X86
/* Blocks lie one behind the other, so what comes next is known. Two steps, memory to second-level cache and
 * from there to the first, measured best on Ice Lake: with either alone four rows cost 1.15 times one row in
 * a kernel, with both 1.02. */
QT_INLINE void qt_fetch_ahead(const uint8_t *group, size_t bytes) {
    enum { FAR_AHEAD = 8192, NEAR_AHEAD = 1408 };
    for (size_t line = 0; line < bytes; line += 64) {
        _mm_prefetch((const char *)group + FAR_AHEAD + line, _MM_HINT_T1);
        _mm_prefetch((const char *)group + NEAR_AHEAD + line, _MM_HINT_T0);
    }
}
#endif

extern const qt_kernels qt_portable;
#ifdef QT_X86
extern const qt_kernels qt_avx2, qt_avx2_vnni, qt_avx512vl_vnni, qt_avx512_vnni;
#endif
#ifdef QT_NEON_DOT
extern const qt_kernels qt_neon_dot;
#endif

/* Paths that run on this machine, best first; NULL-terminated. */
const qt_kernels *const *qt_runnable(void);

/* The half-precision value of `bits`, exactly; and the nearest half to `value` (ties to even). */
float qt_from_half(uint16_t bits);
uint16_t qt_to_half(float value);

/* One row (of a block layout) as floats: the embedding of one token. */
void qt_decode_row(const qt_matrix *matrix, int row, float *out);

#endif
