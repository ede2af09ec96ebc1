/* Attention over the cache: rotate and store the new heads, then let every row look at its own past.
 *
 * Each (row, head) is computed by itself, over positions 0 .. its own, in one order: neither the other rows
 * of the call nor the number of threads can change it.
 */
#include "trunk.h"

#include <math.h>

static size_t cache_at(const qt_trunk *trunk, int layer, int kv_head) {
    const qt_model *m = trunk->model;
    return ((size_t)layer * m->kv_heads + kv_head) * trunk->call->capacity * m->head_dim;
}

static void place_head(const qt_trunk *trunk, int layer, int row, int head) {
    const qt_model *m = trunk->model;
    const qt_call *call = trunk->call;
    const int dim = m->head_dim, position = call->start + row, all = m->heads + 2 * m->kv_heads;
    float *from = trunk->heads + ((size_t)row * all + head) * dim;
    const float *table = call->turns + (size_t)position * dim;
    if (head < m->heads) {
        trunk->kernels->rotate(from, table, dim, 1.0f / sqrtf((float)dim));
    } else if (head < m->heads + m->kv_heads) {
        uint16_t *keys = call->keys + cache_at(trunk, layer, head - m->heads);
        keys += (size_t)(position / QT_POSITIONS) * dim * QT_POSITIONS + position % QT_POSITIONS;
        trunk->kernels->rotate(from, table, dim, 1.0f);
        trunk->kernels->store(from, dim, keys, QT_POSITIONS);
    } else {
        uint16_t *values = call->values + cache_at(trunk, layer, head - m->heads - m->kv_heads);
        trunk->kernels->store(from, dim, values + (size_t)position * dim, 1);
    }
}

void qt_place_heads(const qt_hand *hand, int layer) {
    const qt_model *m = hand->trunk->model;
    const int all = m->heads + 2 * m->kv_heads;
    const int total = hand->trunk->call->count * all;
    for (int first, last; qt_take(hand->seat, total, &first, &last); qt_finish(hand->seat, total, last - first))
        for (int i = first; i < last; i++)
            place_head(hand->trunk, layer, i / all, i % all);
}

static void attend_part(const qt_hand *hand, int layer, int row, int kv_head, int first, int heads) {
    const qt_trunk *trunk = hand->trunk;
    const qt_model *m = trunk->model;
    const int dim = m->head_dim, all = m->heads + 2 * m->kv_heads;
    const int head = kv_head * (m->heads / m->kv_heads) + first;
    const size_t cache = cache_at(trunk, layer, kv_head);
    const qt_past past = {trunk->call->keys + cache, trunk->call->values + cache, dim,
                          trunk->call->start + row + 1};
    float out[QT_MAX_HEADS * 128];
    trunk->kernels->attend(&past, trunk->heads + ((size_t)row * all + head) * dim, heads,
                           trunk->scores + (size_t)hand->seat->thread * trunk->scores_room, out);
    qt_group *mixed = qt_row_at(trunk, trunk->mixed, m->heads * dim, row);
    trunk->kernels->quantise(out, heads * dim / QT_GROUP, mixed + (size_t)(head * dim / QT_GROUP) * trunk->tile,
                             (size_t)trunk->tile);
}

/* Items are (row, key/value head, part of its query heads). */
void qt_attend(const qt_hand *hand, int layer) {
    const qt_model *m = hand->trunk->model;
    const int rows = hand->trunk->call->count, shared = m->heads / m->kv_heads, threads = hand->seat->threads;
    int parts = (shared + QT_MAX_HEADS - 1) / QT_MAX_HEADS;
    while (parts < shared && rows * m->kv_heads * parts < threads)
        parts++;
    const int total = rows * m->kv_heads * parts;
    for (int first, last; qt_take(hand->seat, total, &first, &last); qt_finish(hand->seat, total, last - first))
        for (int job = first; job < last; job++) {
            int from, to;
            qt_share(shared, job / m->kv_heads % parts, parts, &from, &to);
            attend_part(hand, layer, job / m->kv_heads / parts, job % m->kv_heads, from, to - from);
        }
}
