/* The portable path: plain C11, no vector instructions asked for, for unknown machines and as the reference
 * of the other paths. It also holds what every path shares: half-precision conversion and row decoding. */
#include "kernels.h"

#include <math.h>
#include <string.h>

#define LANE_FN
#define NAME(x) portable_##x
#define LANES 1
#define HEADS_AT_ONCE 2
typedef float vf;
typedef int32_t vi;
#define V QT_INLINE
V int32_t bits_of(float a) {
    int32_t b;
    memcpy(&b, &a, 4);
    return b;
}
V float v_float_of_bits(int32_t b) {
    float a;
    memcpy(&a, &b, 4);
    return a;
}
V vf v_load(const float *p) { return *p; }
V void v_store(float *p, vf a) { *p = a; }
V vf v_set1(float a) { return a; }
V vf v_add(vf a, vf b) { return a + b; }
V vf v_sub(vf a, vf b) { return a - b; }
V vf v_mul(vf a, vf b) { return a * b; }
V vf v_div(vf a, vf b) { return a / b; }
V vf v_fma(vf a, vf b, vf c) { return a * b + c; }
V vf v_max(vf a, vf b) { return a > b ? a : b; } /* b where a is NaN */
V vf v_min(vf a, vf b) { return a < b ? a : b; }
V float v_root(float a) { return sqrtf(a); }
V float v_hsum(vf a) { return a; }
V float v_hmax(vf a) { return a; }
V vi v_izero(void) { return 0; }
V vi v_iadd(vi a, vi b) { return a + b; }
V vi v_imax(vi a, vi b) { return a > b ? a : b; }
V int v_hsum_int(vi a) { return a; }
V int v_hmax_int(vi a) { return a; }
V vi v_magnitude_bits(vf a) { return bits_of(a) & 0x7fffffff; }
V vi v_to_int(vf a) { return (vi)lrintf(a); }
V vf v_from_int(vi a) { return (vf)a; }
V vf v_power_of_two(vi n) { return v_float_of_bits((n + 127) << 23); }
V vf v_load_half(const uint16_t *p) { return qt_from_half(*p); }
V void v_store_half(uint16_t *p, vf a) { *p = qt_to_half(a); }
V void v_store_int8(int8_t *p, vi a) { *p = (int8_t)a; }

float qt_from_half(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;
    if (rest >= 0x7c00) /* infinity, NaN */
        return v_float_of_bits((int32_t)(sign | 0x7f800000 | (rest & 0x3ff) << 13));
    if (rest < 0x0400) { /* zero and subnormals: multiples of 2^-24 */
        float small = (float)rest * 5.9604644775390625e-8f;
        return sign ? -small : small;
    }
    return v_float_of_bits((int32_t)(sign | ((rest << 13) + 0x38000000)));
}

uint16_t qt_to_half(float value) {
    uint32_t bits = (uint32_t)bits_of(value), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    if (rest >= 0x7f800000)
        return (uint16_t)(sign | 0x7c00 | (rest > 0x7f800000 ? 0x200 | (rest >> 13 & 0x3ff) : 0));
    if (rest >= 0x477ff000) /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00);
    if (rest < 0x38800000) /* below 2^-14: count multiples of 2^-24; lrintf rounds ties to even */
        return (uint16_t)(sign | (uint32_t)lrintf(v_float_of_bits((int32_t)rest) * 16777216.0f));
    uint32_t odd = rest >> 13 & 1;
    return (uint16_t)(sign | ((rest - 0x38000000 + 0xfff + odd) >> 13));
}

#include "lanes.inc"

/* Levels of output o (0..15) in one group as signed values (unsigned levels for affine kinds). */
static void portable_levels(int kind, const uint8_t *p, int o, int8_t level[QT_GROUP]) {
    const int bits = qt_kind_bits(kind), middle = qt_kind_is_affine(kind) ? 0 : 1 << (bits - 1);
    for (int k = 0; k < QT_GROUP; k++) {
        const int j = k / 4, lane = 4 * o + k % 4;
        int v;
        if (bits == 8) {
            v = p[64 * j + lane];
        } else {
            v = p[64 * (j % 4) + lane] >> (j / 4 * 4) & 15;
            if (bits == 5)
                v |= (p[256 + lane] >> j & 1) << 4;
            if (bits == 6)
                v |= (p[256 + 64 * (j / 4) + lane] >> (j % 4 * 2) & 3) << 4;
        }
        level[k] = (int8_t)(v - middle);
    }
}

/* Levels of output o (0..31) in one group of a block, its scale, and its second or 0. */
static void portable_output(int kind, const uint8_t *group, int o, int8_t level[QT_GROUP], float *scale,
                            float *second) {
    const uint16_t *scales = qt_scales(kind, group);
    portable_levels(kind, group + o / 16 * QT_LEVEL_BYTES(qt_kind_bits(kind)), o % 16, level);
    *scale = qt_from_half(scales[o]);
    *second = qt_kind_has_second(kind) ? qt_from_half(scales[QT_BLOCK + o]) : 0.0f;
}

static void portable_product(int kind, const uint8_t *block, int groups, const qt_group *acts, size_t stride,
                             int rows, float *out) {
    memset(out, 0, (size_t)rows * QT_BLOCK * sizeof *out);
    for (int g = 0; g < groups; g++)
        for (int o = 0; o < QT_BLOCK; o++) {
            int8_t level[QT_GROUP];
            float scale, second;
            portable_output(kind, block + g * qt_group_bytes(kind), o, level, &scale, &second);
            for (int r = 0; r < rows; r++) {
                const qt_group *a = acts + g * stride + r;
                int low = 0, high = 0;
                for (int k = 0; k < 16; k++)
                    low += level[k] * a->q[k], high += level[k + 16] * a->q[k + 16];
                float *sum = out + (size_t)r * QT_BLOCK + o;
                if (kind == QT_Q6)
                    *sum += ((float)low * scale + (float)high * second) * a->scale;
                else
                    *sum += (float)(low + high) * (scale * a->scale);
                if (qt_kind_is_affine(kind))
                    *sum -= second * a->weighted_sum;
            }
        }
}

void qt_decode_row(const qt_matrix *matrix, int row, float *out) {
    const int kind = matrix->kind, groups = matrix->inputs / QT_GROUP;
    const uint8_t *block = matrix->data + (size_t)(row / QT_BLOCK) * qt_block_bytes(kind, groups);
    for (int g = 0; g < groups; g++) {
        int8_t level[QT_GROUP];
        float scale, second;
        portable_output(kind, block + g * qt_group_bytes(kind), row % QT_BLOCK, level, &scale, &second);
        for (int k = 0; k < QT_GROUP; k++) {
            const float use = kind == QT_Q6 && k >= 16 ? second : scale;
            out[g * QT_GROUP + k] = (float)level[k] * use - (qt_kind_is_affine(kind) ? second : 0.0f);
        }
    }
}

#define PRODUCT(kind)                                                                                        \
    static void portable_##kind(const uint8_t *block, int groups, const qt_group *acts, size_t stride,       \
                                int rows, float *out) {                                                      \
        portable_product(kind, block, groups, acts, stride, rows, out);                                      \
    }
PRODUCT(QT_Q8)
PRODUCT(QT_Q6)
PRODUCT(QT_Q5)
PRODUCT(QT_Q5M)
PRODUCT(QT_Q4)
PRODUCT(QT_Q4M)

static int always(void) { return 1; }

const qt_kernels qt_portable = {
    "portable",
    always,
    {portable_QT_Q8, portable_QT_Q6, portable_QT_Q5, portable_QT_Q5M, portable_QT_Q4, portable_QT_Q4M},
    QT_ROW_OPERATIONS,
};
