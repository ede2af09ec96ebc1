/* The transformer: what Python hands over (model and call) and what a forward pass keeps (trunk).
 * `door.py` mirrors qt_model, qt_layer, qt_matrix and qt_call field by field. */
#ifndef QT_TRUNK_H
#define QT_TRUNK_H

#include "kernels.h"
#include "pool.h"

enum { QT_CHUNK = 256, QT_TILE = 64, QT_SEGMENT = 256 };

typedef struct {
    qt_matrix q, k, v, o, gate, up, down;
    const float *attn_norm, *ffn_norm;        /* [width] */
    const float *q_bias, *k_bias, *v_bias;    /* NULL where the model has none */
} qt_layer;

typedef struct {
    int32_t layers, width, heads, kv_heads, head_dim, ffn, vocab;
    float rms_eps;
    const qt_layer *layer;
    qt_matrix embedding, output; /* the same data when tied */
    const float *final_norm;     /* [width] */
} qt_model;

enum { QT_PREPARE, QT_QKV, QT_ATTENTION, QT_OUT, QT_FFN_UP, QT_FFN_DOWN, QT_LOGITS, QT_PHASES };

typedef struct {
    const int32_t *ids; /* [count], each in 0 .. vocab-1 */
    int32_t count;      /* 1 .. QT_CHUNK */
    int32_t start;      /* position of ids[0]; start + count <= capacity */
    int32_t capacity;   /* positions of the storage, a multiple of 16 */
    uint16_t *keys;     /* [layers][kv_heads][capacity / 16][head_dim][16] */
    uint16_t *values;   /* [layers][kv_heads][capacity][head_dim] */
    const float *turns; /* [capacity][cos, sin][head_dim / 2] */
    const int32_t *rows; /* [asked] indices into ids */
    int32_t asked;
    float *logits;    /* [asked][vocab] */
    int32_t *best;    /* [asked] */
    float *logprob;   /* [asked] */
    const int32_t *tap_layers; /* [tapped]: after that many layers; `layers` = after the final norm */
    int32_t tapped;
    float *taps;      /* [count][tapped][width] */
    double *seconds;  /* [QT_PHASES], added to; or NULL */
} qt_call;

/* Scratch of one trunk. All of it is written before it is read in every call. */
typedef struct {
    const qt_model *model;
    const qt_kernels *kernels;
    qt_pool *pool;
    int threads, room; /* room: rows the scratch has space for */
    size_t scores_room;
    float *x;           /* [room][width]: the residual stream */
    float *heads;       /* [room][(heads + 2 kv_heads) * head_dim] */
    int tile;           /* rows per tile in this call */
    qt_group *inner;    /* [tiles][width groups][tile]: what products of width inputs read */
    qt_group *mixed;    /* [tiles][head groups][tile]: attention output */
    qt_group *wide;     /* [tiles][ffn groups][tile] */
    float *scores;      /* [threads][scores_room] */
    float *survey;      /* [segments][rows][greatest, sum] */
    int32_t *survey_at; /* [segments][rows] */
    size_t survey_room;
    const qt_call *call;
} qt_trunk;

/* One thread at work on one call. */
typedef struct {
    qt_trunk *trunk;
    qt_seat *seat;
} qt_hand;

/* Where one row's records begin in an array of activations with `inputs` inputs; its groups are `tile` apart.
 * A tile lies in one piece, so that a product walks through memory from front to back. */
QT_INLINE qt_group *qt_row_at(const qt_trunk *trunk, qt_group *acts, int inputs, int row) {
    const int tile = trunk->tile;
    return acts + (size_t)(row / tile) * (inputs / QT_GROUP) * tile + row % tile;
}

/* attention.c */
void qt_place_heads(const qt_hand *hand, int layer);
void qt_attend(const qt_hand *hand, int layer);
/* products.c */
void qt_project_heads(const qt_hand *hand, const qt_layer *layer);
void qt_add_product(const qt_hand *hand, const qt_matrix *matrix, qt_group *acts);
void qt_feed_up(const qt_hand *hand, const qt_layer *layer);
void qt_write_logits(const qt_hand *hand);
void qt_choose(const qt_hand *hand);
/* scratch.c */
int qt_make_room(qt_trunk *trunk, const qt_call *call);
void qt_free_room(qt_trunk *trunk);

#endif
