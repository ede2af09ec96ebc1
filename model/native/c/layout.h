/* Layout of packed weights and quantised activations. `layouts.py` writes what these numbers describe.
 *
 * A weight matrix (outputs x inputs) is cut into blocks of 32 outputs; outputs are padded to a multiple of
 * 32 with zeros. A block is read from front to back: for each group of 32 inputs in turn
 *
 *   levels of outputs 0..15 | levels of outputs 16..31 | 32 scales (half) | 32 seconds (half), in some kinds
 *
 * The levels of 16 outputs are eight vectors of 64 bytes: byte 4*o+t of vector j belongs to output o and input
 * 4*j+t of the group. A dot-product instruction that adds four neighbouring bytes to each 32-bit lane
 * therefore leaves one sum per output and needs no horizontal step. Levels are stored without a sign
 * (level + 2^(bits-1)), except in affine kinds where they count up from the minimum:
 *
 *   8 bits  the eight vectors themselves
 *   4 bits  four vectors; the low nibbles are vector i, the high nibbles vector i+4
 *   5 bits  as 4 bits, then one vector whose bit j is bit 4 of vector j
 *   6 bits  as 4 bits, then two vectors; bit pair i of plane p is bits 4..5 of vector 4*p+i
 *
 * A second is the minimum to subtract (affine kinds), or the scale of inputs 16..31 (kind 6, whose first
 * scale covers inputs 0..15 only). Every part is a multiple of 64 bytes.
 *
 * Activations are int8 with one scale per row and group, in records of 48 bytes, [group][row].
 */
#ifndef QT_LAYOUT_H
#define QT_LAYOUT_H

#include "portability.h"

enum { QT_GROUP = 32, QT_BLOCK = 32, QT_VECTORS = 8 };

/* Kinds of weights. The order is shared with layouts.py. */
enum { QT_Q8, QT_Q6, QT_Q5, QT_Q5M, QT_Q4, QT_Q4M, QT_KINDS };

#define QT_LEVEL_BYTES(bits) (64 * (bits))

typedef struct {
    int8_t q[QT_GROUP];  /* -127..127 */
    float scale;         /* value = q * scale */
    int32_t offset;      /* -128 * sum(q): undoes the 128 that is added to signed weights */
    int32_t offset_low;  /* the same over q[0..15] */
    float weighted_sum;  /* scale * sum(q), for the minimum of affine kinds */
} qt_group;

typedef struct {
    const uint8_t *data;
    int32_t kind;
    int32_t outputs; /* real outputs; blocks are ceil(outputs / 32) */
    int32_t inputs;  /* a multiple of 32 */
} qt_matrix;

QT_INLINE int qt_kind_bits(int kind) {
    static const int bits[QT_KINDS] = {8, 6, 5, 5, 4, 4};
    return bits[kind];
}

QT_INLINE int qt_kind_has_second(int kind) { return kind == QT_Q6 || kind == QT_Q5M || kind == QT_Q4M; }

QT_INLINE int qt_kind_is_affine(int kind) { return kind == QT_Q5M || kind == QT_Q4M; }

/* Bytes of one group of a block, and of the block. */
QT_INLINE size_t qt_group_bytes(int kind) {
    return 2 * QT_LEVEL_BYTES(qt_kind_bits(kind)) + (qt_kind_has_second(kind) ? 128 : 64);
}

QT_INLINE size_t qt_block_bytes(int kind, int groups) { return (size_t)groups * qt_group_bytes(kind); }

/* The scales of a group of a block; the seconds follow them. */
QT_INLINE const uint16_t *qt_scales(int kind, const uint8_t *group) {
    return (const uint16_t *)(group + 2 * QT_LEVEL_BYTES(qt_kind_bits(kind)));
}

#endif
