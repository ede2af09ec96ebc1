/* One forward pass: every thread walks through all layers, meeting the others after each step.
 *
 *   embed
 *   per layer: norm | q,k,v | rotate, store | attend | output product | norm | gate, up | down
 *   final norm of the asked rows | logits | best
 */
#include "trunk.h"

#include <string.h>

/* Meets the other threads and books the time since the last meeting under `phase`. */
static void meet(const qt_hand *hand, int phase, double *since) {
    qt_pool_meet(hand->trunk->pool);
    if (hand->thread == 0 && hand->trunk->call->seconds) {
        const double now = qt_now();
        hand->trunk->call->seconds[phase] += now - *since;
        *since = now;
    }
}

static void embed(const qt_hand *hand) {
    const qt_trunk *trunk = hand->trunk;
    int first, last;
    qt_share(trunk->call->count, hand->thread, hand->threads, &first, &last);
    for (int r = first; r < last; r++)
        qt_decode_row(&trunk->model->embedding, trunk->call->ids[r], trunk->x + (size_t)r * trunk->model->width);
}

static void norm_rows(const qt_hand *hand, const float *weight) {
    const qt_trunk *trunk = hand->trunk;
    const qt_model *m = trunk->model;
    int first, last;
    qt_share(trunk->call->count, hand->thread, hand->threads, &first, &last);
    for (int r = first; r < last; r++)
        trunk->kernels->norm(trunk->x + (size_t)r * m->width, weight, m->rms_eps, m->width,
                             qt_row_at(trunk, trunk->inner, m->width, r), (size_t)trunk->tile, NULL);
}

/* Copies the residual stream of this thread's rows for whoever asked for the state after `layers` layers. */
static void tap(const qt_hand *hand, int layers) {
    const qt_trunk *trunk = hand->trunk;
    const qt_call *call = trunk->call;
    const size_t width = (size_t)trunk->model->width;
    int first, last;
    qt_share(call->count, hand->thread, hand->threads, &first, &last);
    for (int t = 0; t < call->tapped; t++)
        if (call->tap_layers[t] == layers)
            for (int r = first; r < last; r++)
                memcpy(call->taps + ((size_t)r * call->tapped + t) * width, trunk->x + r * width,
                       width * sizeof(float));
}

static void layer_pass(const qt_hand *hand, int index, double *since) {
    const qt_trunk *trunk = hand->trunk;
    const qt_layer *layer = &trunk->model->layer[index];
    tap(hand, index);
    norm_rows(hand, layer->attn_norm);
    meet(hand, QT_PREPARE, since);
    qt_project_heads(hand, layer);
    meet(hand, QT_QKV, since);
    qt_place_heads(hand, index);
    meet(hand, QT_ATTENTION, since);
    qt_attend(hand, index);
    meet(hand, QT_ATTENTION, since);
    qt_add_product(hand, &layer->o, trunk->mixed);
    meet(hand, QT_OUT, since);
    norm_rows(hand, layer->ffn_norm);
    meet(hand, QT_PREPARE, since);
    qt_feed_up(hand, layer);
    meet(hand, QT_FFN_UP, since);
    qt_add_product(hand, &layer->down, trunk->wide);
    meet(hand, QT_FFN_DOWN, since);
}

/* The final norm, for all rows into the taps that want it and for the asked rows into `inner`. */
static void finish_rows(const qt_hand *hand) {
    const qt_trunk *trunk = hand->trunk;
    const qt_call *call = trunk->call;
    const qt_model *m = trunk->model;
    int first, last;
    for (int t = 0; t < call->tapped; t++)
        if (call->tap_layers[t] == m->layers) {
            qt_share(call->count, hand->thread, hand->threads, &first, &last);
            for (int r = first; r < last; r++)
                trunk->kernels->norm(trunk->x + (size_t)r * m->width, m->final_norm, m->rms_eps, m->width,
                                     qt_row_at(trunk, trunk->mixed, m->width, r), (size_t)trunk->tile,
                                     call->taps + ((size_t)r * call->tapped + t) * m->width);
        }
    qt_share(call->asked, hand->thread, hand->threads, &first, &last);
    for (int i = first; i < last; i++)
        trunk->kernels->norm(trunk->x + (size_t)call->rows[i] * m->width, m->final_norm, m->rms_eps, m->width,
                             qt_row_at(trunk, trunk->inner, m->width, i), (size_t)trunk->tile, NULL);
}

static void forward_thread(void *context, int thread, int threads) {
    const qt_hand hand = {context, thread, threads};
    double since = qt_now();
    embed(&hand);
    qt_pool_meet(hand.trunk->pool);
    for (int i = 0; i < hand.trunk->model->layers; i++)
        layer_pass(&hand, i, &since);
    finish_rows(&hand);
    meet(&hand, QT_PREPARE, &since);
    if (hand.trunk->call->asked == 0)
        return;
    qt_write_logits(&hand);
    meet(&hand, QT_LOGITS, &since);
    qt_choose(&hand);
}

int qt_forward(qt_trunk *trunk, const qt_call *call) {
    if (!qt_make_room(trunk, call))
        return 0;
    trunk->call = call;
    trunk->tile = call->count < QT_TILE ? call->count : QT_TILE;
    return qt_pool_run(trunk->pool, forward_thread, trunk);
}
