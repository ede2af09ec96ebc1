/* Matrix products of the layers: which blocks a thread computes, and where the sums go.
 *
 * Threads take runs of output blocks. Rows are taken in tiles small enough for their activations to stay
 * in the second-level cache while the thread's weights stream past.
 */
#include "trunk.h"

#include <math.h>

/* A run of blocks of one matrix for one tile of rows. */
typedef struct {
    float *out;        /* [row][stride] */
    size_t stride;
    const float *bias; /* or NULL */
    int add;           /* add to what is there (the residual stream) */
} qt_sink;

static const uint8_t *block_at(const qt_matrix *m, int block) {
    return m->data + (size_t)block * qt_block_bytes(m->kind, m->inputs / QT_GROUP);
}

/* out[row][32] of one block, for the tile of `rows` rows that begins at `row`. */
static void multiply(const qt_hand *hand, const qt_matrix *m, int block, qt_group *acts, int row, int rows,
                     float *out) {
    const qt_trunk *trunk = hand->trunk;
    trunk->kernels->product[m->kind](block_at(m, block), m->inputs / QT_GROUP,
                                     qt_row_at(trunk, acts, m->inputs, row), (size_t)trunk->tile, rows, out);
}

static void pour(const qt_sink *sink, int first_row, int rows, int block, const float *sums) {
    const float *bias = sink->bias ? sink->bias + block * QT_BLOCK : NULL;
    for (int r = 0; r < rows; r++) {
        float *to = sink->out + (size_t)(first_row + r) * sink->stride + block * QT_BLOCK;
        for (int o = 0; o < QT_BLOCK; o++) {
            float value = sums[r * QT_BLOCK + o];
            if (bias)
                value += bias[o];
            to[o] = sink->add ? to[o] + value : value;
        }
    }
}

static void product_span(const qt_hand *hand, const qt_matrix *m, qt_group *acts, int first, int last,
                         const qt_sink *sink) {
    const int rows = hand->trunk->call->count, tile = hand->trunk->tile;
    _Alignas(64) float sums[QT_TILE * QT_BLOCK];
    for (int row = 0; row < rows; row += tile) {
        const int n = rows - row < tile ? rows - row : tile;
        for (int block = first; block < last; block++) {
            multiply(hand, m, block, acts, row, n, sums);
            pour(sink, row, n, block, sums);
        }
    }
}

/* Blocks [first, last) of queries, keys and values seen as one run of blocks. */
static void project_span(const qt_hand *hand, const qt_layer *layer, int first, int last, size_t stride) {
    const qt_trunk *trunk = hand->trunk;
    const qt_matrix *parts[3] = {&layer->q, &layer->k, &layer->v};
    const float *biases[3] = {layer->q_bias, layer->k_bias, layer->v_bias};
    for (int i = 0, before = 0; i < 3; i++) {
        const int blocks = parts[i]->outputs / QT_BLOCK;
        const int from = first > before ? first - before : 0;
        const int to = last - before < blocks ? last - before : blocks;
        qt_sink sink = {trunk->heads + before * QT_BLOCK, stride, biases[i], 0};
        if (from < to)
            product_span(hand, parts[i], trunk->inner, from, to, &sink);
        before += blocks;
    }
}

void qt_project_heads(const qt_hand *hand, const qt_layer *layer) {
    const int outputs = layer->q.outputs + layer->k.outputs + layer->v.outputs, total = outputs / QT_BLOCK;
    for (int first, last; qt_take(hand->seat, total, &first, &last); qt_finish(hand->seat, total, last - first))
        project_span(hand, layer, first, last, (size_t)outputs);
}

void qt_add_product(const qt_hand *hand, const qt_matrix *matrix, qt_group *acts) {
    qt_sink sink = {hand->trunk->x, (size_t)hand->trunk->model->width, NULL, 1};
    const int total = matrix->outputs / QT_BLOCK;
    for (int first, last; qt_take(hand->seat, total, &first, &last); qt_finish(hand->seat, total, last - first))
        product_span(hand, matrix, acts, first, last, &sink);
}

/* Gate and up for the same 32 outputs, SwiGLU, and straight into one activation group: the wide floats are
 * never stored. */
static void feed_group(const qt_hand *hand, const qt_layer *layer, int group, int row, int rows) {
    const qt_trunk *trunk = hand->trunk;
    _Alignas(64) float gate[QT_TILE * QT_BLOCK], up[QT_TILE * QT_BLOCK];
    qt_group *wide = qt_row_at(trunk, trunk->wide, trunk->model->ffn, row);
    multiply(hand, &layer->gate, group, trunk->inner, row, rows, gate);
    multiply(hand, &layer->up, group, trunk->inner, row, rows, up);
    trunk->kernels->swiglu(gate, up, rows * QT_BLOCK);
    for (int r = 0; r < rows; r++)
        trunk->kernels->quantise(gate + r * QT_BLOCK, 1, wide + (size_t)group * trunk->tile + r, 0);
}

void qt_feed_up(const qt_hand *hand, const qt_layer *layer) {
    const int rows = hand->trunk->call->count, tile = hand->trunk->tile;
    const int total = layer->gate.outputs / QT_GROUP;
    for (int first, last; qt_take(hand->seat, total, &first, &last); qt_finish(hand->seat, total, last - first))
        for (int row = 0; row < rows; row += tile) {
            const int n = rows - row < tile ? rows - row : tile;
            for (int group = first; group < last; group++)
                feed_group(hand, layer, group, row, n);
        }
}

/* One segment of the vocabulary for one tile of asked rows: logits, and their survey while they are warm. */
static void write_segment(const qt_hand *hand, int segment, int row, int rows) {
    const qt_trunk *trunk = hand->trunk;
    const qt_call *call = trunk->call;
    const int vocab = trunk->model->vocab, from = segment * QT_SEGMENT;
    const int to = from + QT_SEGMENT < vocab ? from + QT_SEGMENT : vocab;
    _Alignas(64) float sums[QT_TILE * QT_BLOCK];
    for (int at = from; at < to; at += QT_BLOCK) {
        multiply(hand, &trunk->model->output, at / QT_BLOCK, trunk->inner, row, rows, sums);
        for (int r = 0; r < rows; r++)
            for (int o = 0; o < QT_BLOCK && at + o < to; o++)
                call->logits[(size_t)(row + r) * vocab + at + o] = sums[r * QT_BLOCK + o];
    }
    for (int r = row; r < row + rows; r++) {
        const size_t slot = (size_t)segment * call->asked + r;
        int index;
        trunk->kernels->survey(call->logits + (size_t)r * vocab + from, to - from, &trunk->survey[2 * slot],
                               &index, &trunk->survey[2 * slot + 1]);
        trunk->survey_at[slot] = from + index;
    }
}

void qt_write_logits(const qt_hand *hand) {
    const qt_trunk *trunk = hand->trunk;
    const int asked = trunk->call->asked;
    const int total = (trunk->model->vocab + QT_SEGMENT - 1) / QT_SEGMENT;
    for (int first, last; qt_take(hand->seat, total, &first, &last); qt_finish(hand->seat, total, last - first))
        for (int row = 0; row < asked; row += trunk->tile) {
            const int n = asked - row < trunk->tile ? asked - row : trunk->tile;
            for (int segment = first; segment < last; segment++)
                write_segment(hand, segment, row, n);
        }
}

/* Segments are joined in order, so that the sum does not depend on who computed them. */
static void choose_row(const qt_trunk *trunk, int r) {
    const qt_call *call = trunk->call;
    const int segments = (trunk->model->vocab + QT_SEGMENT - 1) / QT_SEGMENT;
    size_t top = (size_t)r;
    for (int s = 1; s < segments; s++) {
        const size_t slot = (size_t)s * call->asked + r;
        if (trunk->survey[2 * slot] > trunk->survey[2 * top])
            top = slot;
    }
    const double greatest = trunk->survey[2 * top];
    double sum = 0.0;
    for (int s = 0; s < segments; s++) {
        const size_t slot = (size_t)s * call->asked + r;
        sum += trunk->survey[2 * slot + 1] * exp(trunk->survey[2 * slot] - greatest);
    }
    call->best[r] = trunk->survey_at[top];
    const double chosen = call->logits[(size_t)r * trunk->model->vocab + call->best[r]];
    call->logprob[r] = (float)(chosen - greatest - log(sum));
}

void qt_choose(const qt_hand *hand) {
    const int total = hand->trunk->call->asked;
    for (int first, last; qt_take(hand->seat, total, &first, &last); qt_finish(hand->seat, total, last - first))
        for (int r = first; r < last; r++)
            choose_row(hand->trunk, r);
}
