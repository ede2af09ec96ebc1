/* The NEON path with dot products (ARMv8.2 with asimddp: Apple M1 and later, Neoverse, Cortex-A76 and later).
 *
 * A block of 32 outputs is eight vectors of sums. Levels are made signed before the dot product, so no offset
 * is needed. The levels of four outputs are unpacked at a time and reused by all rows.
 */
#include "kernels.h"

#ifdef QT_NEON_DOT
#include <arm_neon.h>
#include <math.h>
#include <string.h>

#define NAME(x) neon_##x
#if defined(__clang__)
#define LANE_FN QT_TARGET("dotprod")
#else
#define LANE_FN QT_TARGET("arch=armv8.2-a+dotprod")
#endif
#define LANES 4
#define HEADS_AT_ONCE 4
typedef float32x4_t vf;
typedef int32x4_t vi;
#define V QT_INLINE LANE_FN
V vf v_load(const float *p) { return vld1q_f32(p); }
V void v_store(float *p, vf a) { vst1q_f32(p, a); }
V vf v_set1(float a) { return vdupq_n_f32(a); }
V vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
V vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
V vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
V vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
V vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
V vf v_max(vf a, vf b) { return vmaxnmq_f32(a, b); } /* the number where one is NaN */
V vf v_min(vf a, vf b) { return vminnmq_f32(a, b); }
V float v_root(float a) { return sqrtf(a); }
V float v_hsum(vf a) { return vaddvq_f32(a); }
V float v_hmax(vf a) { return vmaxnmvq_f32(a); }
V vi v_izero(void) { return vdupq_n_s32(0); }
V vi v_iadd(vi a, vi b) { return vaddq_s32(a, b); }
V vi v_imax(vi a, vi b) { return vmaxq_s32(a, b); }
V int v_hsum_int(vi a) { return vaddvq_s32(a); }
V int v_hmax_int(vi a) { return vmaxvq_s32(a); }
V vi v_magnitude_bits(vf a) { return vandq_s32(vreinterpretq_s32_f32(a), vdupq_n_s32(0x7fffffff)); }
V float v_float_of_bits(int32_t a) { return vgetq_lane_f32(vreinterpretq_f32_s32(vdupq_n_s32(a)), 0); }
V vi v_to_int(vf a) { return vcvtnq_s32_f32(a); }
V vf v_from_int(vi a) { return vcvtq_f32_s32(a); }
V vf v_power_of_two(vi n) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23)); }
V vf v_load_half(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
V void v_store_half(uint16_t *p, vf a) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(a))); }
V void v_store_int8(int8_t *p, vi a) {
    int16x4_t words = vmovn_s32(a);
    int32_t four = vget_lane_s32(vreinterpret_s32_s8(vmovn_s16(vcombine_s16(words, words))), 0);
    memcpy(p, &four, 4);
}

#include "lanes.inc"

/* Levels of four outputs (16 bytes of each vector) as signed values; bare levels for affine kinds. */
V void neon_unpack(const int kind, const uint8_t *p, int8x16_t w[QT_VECTORS]) {
    const int bits = qt_kind_bits(kind);
    const uint8x16_t nibble = vdupq_n_u8(15);
    uint8x16_t u[QT_VECTORS];
    for (int j = 0; j < QT_VECTORS; j++) {
        if (bits == 8) {
            u[j] = vld1q_u8(p + 64 * j);
            continue;
        }
        const uint8x16_t v = vld1q_u8(p + 64 * (j % 4));
        u[j] = j < 4 ? vandq_u8(v, nibble) : vshrq_n_u8(v, 4);
        if (bits == 5) {
            const uint8x16_t bit = vshlq_u8(vld1q_u8(p + 256), vdupq_n_s8((int8_t)(4 - j)));
            u[j] = vorrq_u8(u[j], vandq_u8(bit, vdupq_n_u8(0x10)));
        }
        if (bits == 6) {
            const uint8x16_t pair = vshlq_u8(vld1q_u8(p + 256 + 64 * (j / 4)), vdupq_n_s8((int8_t)(4 - 2 * (j % 4))));
            u[j] = vorrq_u8(u[j], vandq_u8(pair, vdupq_n_u8(0x30)));
        }
    }
    const uint8x16_t middle = vdupq_n_u8(qt_kind_is_affine(kind) ? 0 : (uint8_t)(1 << (bits - 1)));
    for (int j = 0; j < QT_VECTORS; j++)
        w[j] = vreinterpretq_s8_u8(vsubq_u8(u[j], middle));
}

/* out[row][4 of 32] += one group's contribution of four outputs. */
V void neon_group(const int kind, const int8x16_t w[QT_VECTORS], vf scale, vf second, const qt_group *acts,
                  int rows, float *out) {
    for (int r = 0; r < rows; r++) {
        const qt_group *a = acts + r;
        const int8x16_t q0 = vld1q_s8(a->q), q1 = vld1q_s8(a->q + 16);
        vi low = vdotq_laneq_s32(v_izero(), w[0], q0, 0), high = vdotq_laneq_s32(v_izero(), w[4], q1, 0);
        low = vdotq_laneq_s32(low, w[1], q0, 1), high = vdotq_laneq_s32(high, w[5], q1, 1);
        low = vdotq_laneq_s32(low, w[2], q0, 2), high = vdotq_laneq_s32(high, w[6], q1, 2);
        low = vdotq_laneq_s32(low, w[3], q0, 3), high = vdotq_laneq_s32(high, w[7], q1, 3);
        vf sum = v_load(out + r * QT_BLOCK), as = v_set1(a->scale);
        if (kind == QT_Q6)
            sum = v_fma(v_fma(v_from_int(high), second, v_mul(v_from_int(low), scale)), as, sum);
        else
            sum = v_fma(v_from_int(v_iadd(low, high)), v_mul(scale, as), sum);
        if (qt_kind_is_affine(kind))
            sum = vfmsq_f32(sum, second, v_set1(a->weighted_sum));
        v_store(out + r * QT_BLOCK, sum);
    }
}

V void neon_product(const int kind, const uint8_t *block, int groups, const qt_group *acts, size_t stride,
                    int rows, float *out) {
    memset(out, 0, (size_t)rows * QT_BLOCK * sizeof *out);
    for (int g = 0; g < groups; g++, block += qt_group_bytes(kind), acts += stride)
        for (int part = 0; part < QT_BLOCK / LANES; part++) {
            int8x16_t w[QT_VECTORS];
            neon_unpack(kind, block + part / 4 * QT_LEVEL_BYTES(qt_kind_bits(kind)) + part % 4 * 16, w);
            const uint16_t *scale = qt_scales(kind, block) + LANES * part;
            vf first = v_load_half(scale);
            vf second = qt_kind_has_second(kind) ? v_load_half(scale + QT_BLOCK) : first;
            neon_group(kind, w, first, second, acts, rows, out + LANES * part);
        }
}

#define PRODUCT(kind)                                                                                        \
    LANE_FN static void neon_##kind(const uint8_t *block, int groups, const qt_group *acts, size_t stride,   \
                                    int rows, float *out) {                                                  \
        neon_product(kind, block, groups, acts, stride, rows, out);                                          \
    }
PRODUCT(QT_Q8)
PRODUCT(QT_Q6)
PRODUCT(QT_Q5)
PRODUCT(QT_Q5M)
PRODUCT(QT_Q4)
PRODUCT(QT_Q4M)

static int supported(void) { return qt_cpu_has(QT_CPU_DOT); }

const qt_kernels qt_neon_dot = {
    "neon_dot",
    supported,
    {neon_QT_Q8, neon_QT_Q6, neon_QT_Q5, neon_QT_Q5M, neon_QT_Q4, neon_QT_Q4M},
    QT_ROW_OPERATIONS,
};
#endif
