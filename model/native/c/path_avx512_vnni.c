/* The AVX-512 VNNI path (Intel from Ice Lake on, AMD from Zen 4 on).
 *
 * Half a block, 16 outputs, fills one vector of sums. The sixteen level vectors of a group are unpacked once
 * into registers, then every row passes by: per half eight dot products, one conversion, two multiplications.
 * The same code serves one row (where memory sets the pace) and hundreds (where the dot products do).
 */
#include "kernels.h"

#ifdef QT_X86
#include <immintrin.h>
#include <string.h>

#define LANE_FN QT_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")
#define NAME(x) avx512_##x
#define LANES 16
#define HEADS_AT_ONCE 8
enum { ROWS_AT_ONCE = 6, FEW_ROWS = 4 };
typedef __m512 vf;
typedef __m512i vi;
#define V QT_INLINE LANE_FN
V vf v_load(const float *p) { return _mm512_loadu_ps(p); }
V void v_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
V vf v_set1(float a) { return _mm512_set1_ps(a); }
V vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
V vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
V vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
V vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
V vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
V vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); } /* b where a is NaN */
V vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
V float v_root(float a) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(a))); }
V float v_hsum(vf a) { return _mm512_reduce_add_ps(a); }
V float v_hmax(vf a) { return _mm512_reduce_max_ps(a); }
V vi v_izero(void) { return _mm512_setzero_si512(); }
V vi v_iadd(vi a, vi b) { return _mm512_add_epi32(a, b); }
V vi v_imax(vi a, vi b) { return _mm512_max_epi32(a, b); }
V int v_hsum_int(vi a) { return _mm512_reduce_add_epi32(a); }
V int v_hmax_int(vi a) { return _mm512_reduce_max_epi32(a); }
V vi v_magnitude_bits(vf a) { return _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff)); }
V float v_float_of_bits(int a) { return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(a))); }
V vi v_to_int(vf a) { return _mm512_cvtps_epi32(a); }
V vf v_from_int(vi a) { return _mm512_cvtepi32_ps(a); }
V vf v_power_of_two(vi n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
}
V vf v_load_half(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
V void v_store_half(uint16_t *p, vf a) { _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a, 0)); }
V void v_store_int8(int8_t *p, vi a) { _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(a)); }

#include "lanes.inc"

/* Levels of one group as unsigned bytes: value + 128, or the bare level for affine kinds. */
V void avx512_unpack(const int kind, const uint8_t *p, __m512i w[QT_VECTORS]) {
    const int bits = qt_kind_bits(kind);
    const __m512i nibble = _mm512_set1_epi8(15);
    if (bits == 8) {
        for (int j = 0; j < QT_VECTORS; j++)
            w[j] = _mm512_loadu_si512(p + 64 * j);
        return;
    }
    for (int i = 0; i < 4; i++) {
        __m512i v = _mm512_loadu_si512(p + 64 * i);
        w[i] = _mm512_and_si512(v, nibble);
        w[i + 4] = _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble);
    }
    if (bits == 5) {
        const __m512i plane = _mm512_loadu_si512(p + 256), bit = _mm512_set1_epi8(0x10);
        for (int j = 0; j < QT_VECTORS; j++) {
            __m512i at4 = j < 4 ? _mm512_slli_epi16(plane, 4 - j) : _mm512_srli_epi16(plane, j - 4);
            w[j] = _mm512_ternarylogic_epi32(w[j], at4, bit, 0xf8); /* w | (at4 & bit) */
        }
    }
    if (bits == 6)
        for (int j = 0; j < QT_VECTORS; j++) {
            const __m512i plane = _mm512_loadu_si512(p + 256 + 64 * (j / 4)), pair = _mm512_set1_epi8(0x30);
            const int i = j % 4;
            __m512i at4 = i < 2 ? _mm512_slli_epi16(plane, 4 - 2 * i) : _mm512_srli_epi16(plane, 2 * i - 4);
            w[j] = _mm512_ternarylogic_epi32(w[j], at4, pair, 0xf8);
        }
    if (!qt_kind_is_affine(kind))
        for (int j = 0; j < QT_VECTORS; j++)
            w[j] = _mm512_add_epi8(w[j], _mm512_set1_epi8((char)(128 - (1 << (bits - 1)))));
}

V __m512i avx512_four(const int8_t *q) {
    int32_t four;
    memcpy(&four, q, 4);
    return _mm512_set1_epi32(four);
}

/* One group of half a block, unpacked. */
typedef struct {
    __m512i w[QT_VECTORS];
    __m512 scale, second;
} avx512_weights;

/* out[row] += one group's contribution, for `count` rows side by side. Loads set the pace: both halves of the
 * block share every activation they load. A dot product waits for the one before it: several
 * rows keep the multipliers busy meanwhile. Integer sums are exact, so grouping rows does not change a bit. */
V void avx512_rows(const int kind, const int count, const avx512_weights m[2],
                   const qt_group *acts, float *out) {
    __m512i low[2][ROWS_AT_ONCE], high[2][ROWS_AT_ONCE];
    for (int r = 0; r < count; r++)
        for (int b = 0; b < 2; b++) {
            const __m512i all = _mm512_set1_epi32(acts[r].offset), part = _mm512_set1_epi32(acts[r].offset_low);
            low[b][r] = qt_kind_is_affine(kind) ? _mm512_setzero_si512() : kind == QT_Q6 ? part : all;
            high[b][r] = kind == QT_Q6 ? _mm512_sub_epi32(all, part) : all;
        }
    for (int j = 0; j < QT_VECTORS; j++)
        for (int r = 0; r < count; r++) {
            const __m512i four = avx512_four(acts[r].q + 4 * j);
            for (int b = 0; b < 2; b++)
                if (kind == QT_Q6 && j >= 4)
                    high[b][r] = _mm512_dpbusd_epi32(high[b][r], m[b].w[j], four);
                else
                    low[b][r] = _mm512_dpbusd_epi32(low[b][r], m[b].w[j], four);
        }
    for (int r = 0; r < count; r++)
        for (int b = 0; b < 2; b++) {
            float *to = out + r * QT_BLOCK + b * LANES;
            const __m512 as = _mm512_set1_ps(acts[r].scale), first = _mm512_cvtepi32_ps(low[b][r]);
            __m512 sum = _mm512_loadu_ps(to);
            if (kind == QT_Q6) {
                __m512 both = _mm512_mul_ps(first, m[b].scale);
                both = _mm512_fmadd_ps(_mm512_cvtepi32_ps(high[b][r]), m[b].second, both);
                sum = _mm512_fmadd_ps(both, as, sum);
            } else {
                sum = _mm512_fmadd_ps(first, _mm512_mul_ps(m[b].scale, as), sum);
            }
            if (qt_kind_is_affine(kind))
                sum = _mm512_fnmadd_ps(m[b].second, _mm512_set1_ps(acts[r].weighted_sum), sum);
            _mm512_storeu_ps(to, sum);
        }
}

V void avx512_product(const int kind, const int many, const uint8_t *block, int groups, const qt_group *acts,
                      size_t stride, int rows, float *out) {
    const size_t bytes = qt_group_bytes(kind);
    memset(out, 0, (size_t)rows * QT_BLOCK * sizeof *out);
    for (int g = 0; g < groups; g++, block += bytes, acts += stride) {
        const uint16_t *scales = qt_scales(kind, block);
        avx512_weights m[2];
        qt_fetch_ahead(block, bytes);
        for (int b = 0; b < 2; b++) {
            avx512_unpack(kind, block + b * QT_LEVEL_BYTES(qt_kind_bits(kind)), m[b].w);
            m[b].scale = v_load_half(scales + b * LANES);
            m[b].second = qt_kind_has_second(kind) ? v_load_half(scales + QT_BLOCK + b * LANES) : m[b].scale;
        }
        int r = 0;
        for (; r + many <= rows; r += many)
            avx512_rows(kind, many, m, acts + r, out + r * QT_BLOCK);
        if (many > 1)
            for (; r < rows; r++)
                avx512_rows(kind, 1, m, acts + r, out + r * QT_BLOCK);
    }
}

#define PRODUCT(kind)                                                                                        \
    LANE_FN static void avx512_##kind(const uint8_t *block, int groups, const qt_group *acts, size_t stride, \
                                      int rows, float *out) {                                                \
        enum { MANY = kind == QT_Q6 ? ROWS_AT_ONCE / 2 : ROWS_AT_ONCE };                                     \
        if (rows <= FEW_ROWS)                                                                                \
            avx512_product(kind, 1, block, groups, acts, stride, rows, out);                                 \
        else                                                                                                 \
            avx512_product(kind, MANY, block, groups, acts, stride, rows, out);                              \
    }
PRODUCT(QT_Q8)
PRODUCT(QT_Q6)
PRODUCT(QT_Q5)
PRODUCT(QT_Q5M)
PRODUCT(QT_Q4)
PRODUCT(QT_Q4M)

static int avx512_supported(void) { return qt_cpu_has(QT_CPU_AVX512_VNNI); }

const qt_kernels qt_avx512_vnni = {
    "avx512_vnni",
    avx512_supported,
    {avx512_QT_Q8, avx512_QT_Q6, avx512_QT_Q5, avx512_QT_Q5M, avx512_QT_Q4, avx512_QT_Q4M},
    QT_ROW_OPERATIONS,
};
#endif
