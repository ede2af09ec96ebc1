/* One forward pass: the threads walk through all layers and share out the items of each step.
 *
 *   embed
 *   per layer: norm | q,k,v | rotate, store | attend | output product | norm | gate, up | down
 *   final norm of the asked rows | logits | best
 */
#include "trunk.h"

#include <string.h>

/* Meets the other threads and books the time since the last meeting under `phase`. */
static void meet(const qt_hand *hand, int phase, double *since) {
    qt_meet(hand->seat);
    if (hand->seat->thread == 0 && hand->trunk->call->seconds) {
        const double now = qt_now();
        hand->trunk->call->seconds[phase] += now - *since;
        *since = now;
    }
}

static void embed(const qt_hand *hand) {
    const qt_trunk *trunk = hand->trunk;
    const int rows = trunk->call->count;
    for (int first, last; qt_take(hand->seat, rows, &first, &last); qt_finish(hand->seat, rows, last - first))
        for (int r = first; r < last; r++)
            qt_decode_row(&trunk->model->embedding, trunk->call->ids[r],
                          trunk->x + (size_t)r * trunk->model->width);
}

/* Copies one row of the residual stream for whoever asked for the state after `layers` layers. */
static void tap(const qt_trunk *trunk, int layers, int row) {
    const qt_call *call = trunk->call;
    const size_t width = (size_t)trunk->model->width;
    for (int t = 0; t < call->tapped; t++)
        if (call->tap_layers[t] == layers)
            memcpy(call->taps + ((size_t)row * call->tapped + t) * width, trunk->x + row * width,
                   width * sizeof(float));
}

/* Norms every row into `inner`; `tapped` is the layer count whose state may be asked for here, or -1. */
static void norm_rows(const qt_hand *hand, const float *weight, int tapped) {
    const qt_trunk *trunk = hand->trunk;
    const qt_model *m = trunk->model;
    const int rows = trunk->call->count;
    for (int first, last; qt_take(hand->seat, rows, &first, &last); qt_finish(hand->seat, rows, last - first))
        for (int r = first; r < last; r++) {
            if (tapped >= 0)
                tap(trunk, tapped, r);
            trunk->kernels->norm(trunk->x + (size_t)r * m->width, weight, m->rms_eps, m->width,
                                 qt_row_at(trunk, trunk->inner, m->width, r), (size_t)trunk->tile, NULL);
        }
}

static void layer_pass(const qt_hand *hand, int index, double *since) {
    const qt_trunk *trunk = hand->trunk;
    const qt_layer *layer = &trunk->model->layer[index];
    norm_rows(hand, layer->attn_norm, index);
    meet(hand, QT_PREPARE, since);
    qt_project_heads(hand, layer);
    meet(hand, QT_QKV, since);
    qt_place_heads(hand, index);
    meet(hand, QT_ATTENTION, since);
    qt_attend(hand, index);
    meet(hand, QT_ATTENTION, since);
    qt_add_product(hand, &layer->o, trunk->mixed);
    meet(hand, QT_OUT, since);
    norm_rows(hand, layer->ffn_norm, -1);
    meet(hand, QT_PREPARE, since);
    qt_feed_up(hand, layer);
    meet(hand, QT_FFN_UP, since);
    qt_add_product(hand, &layer->down, trunk->wide);
    meet(hand, QT_FFN_DOWN, since);
}

/* The final norm of one row into the taps that want it. */
static void finish_tap(const qt_trunk *trunk, int row) {
    const qt_call *call = trunk->call;
    const qt_model *m = trunk->model;
    for (int t = 0; t < call->tapped; t++)
        if (call->tap_layers[t] == m->layers)
            trunk->kernels->norm(trunk->x + (size_t)row * m->width, m->final_norm, m->rms_eps, m->width,
                                 qt_row_at(trunk, trunk->mixed, m->width, row), (size_t)trunk->tile,
                                 call->taps + ((size_t)row * call->tapped + t) * m->width);
}

/* The final norm: items are all rows (for the taps), then the asked rows (into `inner`). */
static void finish_rows(const qt_hand *hand) {
    const qt_trunk *trunk = hand->trunk;
    const qt_call *call = trunk->call;
    const qt_model *m = trunk->model;
    const int rows = call->tapped ? call->count : 0, total = rows + call->asked;
    for (int first, last; qt_take(hand->seat, total, &first, &last); qt_finish(hand->seat, total, last - first))
        for (int i = first; i < last; i++) {
            if (i < rows)
                finish_tap(trunk, i);
            else
                trunk->kernels->norm(trunk->x + (size_t)call->rows[i - rows] * m->width, m->final_norm, m->rms_eps,
                                     m->width, qt_row_at(trunk, trunk->inner, m->width, i - rows),
                                     (size_t)trunk->tile, NULL);
        }
}

static void forward_thread(void *context, qt_seat *seat) {
    const qt_hand hand = {context, seat};
    double since = qt_now();
    embed(&hand);
    meet(&hand, QT_PREPARE, &since);
    for (int i = 0; i < hand.trunk->model->layers; i++)
        layer_pass(&hand, i, &since);
    finish_rows(&hand);
    meet(&hand, QT_PREPARE, &since);
    if (hand.trunk->call->asked == 0)
        return;
    qt_write_logits(&hand);
    meet(&hand, QT_LOGITS, &since);
    qt_choose(&hand);
    qt_meet(seat);
}

int qt_forward(qt_trunk *trunk, const qt_call *call) {
    if (!qt_make_room(trunk, call))
        return 0;
    trunk->call = call;
    trunk->tile = call->count < QT_TILE ? call->count : QT_TILE;
    return qt_pool_run(trunk->pool, forward_thread, trunk);
}
