/* What a decoder computes in a step, in float32, for a CPU: products, norms, gates, attention.
 *
 * torch's own calls do the same one after the other, and copy the blocks of all texts side by side
 * before they attend. Here attention reads the blocks where they lie, which is what PagedAttention
 * means (Kwon et al. 2023, arXiv:2309.06180), and a product fetches its next weights from memory
 * while it computes with these. Called by `decoder.py`, built by `build.py`. It needs no library but
 * torch's own pool of threads, by two functions that both GNU's and LLVM's OpenMP have.
 *
 * T rows of a step, D hidden, I inputs and O outputs of a product, H query heads, K key-value heads,
 * G = H / K, E head_dim, Z tokens of a block, N blocks of the longest text.
 */
#include <stdint.h>

extern void GOMP_parallel(void (*task)(void *), void *data, unsigned threads, unsigned flags);
extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);

/* 2^x. Where x is no number, neither is the result: an engine must see what broke. */
static inline float power_of_two(float x) {
    x = x < -126.0f ? -126.0f : x;
    x = x > 126.0f ? 126.0f : x;
    int whole = (int)(x + (x < 0 ? -0.5f : 0.5f));
    float rest = x - (float)whole; /* between -1/2 and 1/2: terms of exp(rest ln 2) */
    float sum = 1.5403530e-4f;
    sum = sum * rest + 1.3333558e-3f;
    sum = sum * rest + 9.6181291e-3f;
    sum = sum * rest + 5.5504109e-2f;
    sum = sum * rest + 2.4022651e-1f;
    sum = sum * rest + 6.9314718e-1f;
    sum = sum * rest + 1.0f;
    union { int32_t bits; float number; } power = { (whole + 127) << 23 };
    return sum * power.number;
}

#define LOG2_E 1.44269504f

/* One over the root mean square. */
static float scale_of(const float *x, int64_t size, float eps) {
    float sum = 0;
    for (int64_t i = 0; i < size; i++) sum += x[i] * x[i];
    return 1.0f / __builtin_sqrtf(sum / (float)size + eps);
}

/* ---- products -------------------------------------------------------------------------------
 * x Wᵀ, with W cut into panels of 32 outputs in which an input's 32 weights lie side by side. Rows
 * are taken 8 at a time, so that 16 vectors of sums stay in registers; meanwhile the next panel
 * comes from memory. Weights of 16 bits become float32 on their way into a register. */

#define WIDE 16              /* floats of a vector; compilers cut it to what the processor has */
#define PANEL (2 * WIDE)     /* outputs of a panel */

typedef float Vector __attribute__((vector_size(4 * WIDE), aligned(4), may_alias));
typedef _Float16 Half __attribute__((vector_size(2 * WIDE), aligned(2), may_alias));

typedef struct {
    const float *x;              /* (T, I) */
    const void *panels;          /* (O / 32 rounded up, I, 32) */
    float *out;                  /* (T, O) */
    int64_t rows, inputs, outputs;
    int halves;                  /* whether the weights are of 16 bits */
    int64_t next;                /* the first panel that no thread has taken */
} Product;

/* `rows` rows of x times one panel. A constant `rows` and `halves` make a loop without a branch. At
 * each input `step` bytes more of the next panel are asked for. */
static inline __attribute__((always_inline)) void tile(const Product *p, const char *panel,
        const char *ahead, int64_t step, int64_t row, int64_t first, const int rows,
        const int halves) {
    const int bytes = halves ? 2 : 4;
    const float *x = p->x + row * p->inputs;
    Vector sum[8][2];
    for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = (Vector){0};
    for (int64_t i = 0; i < p->inputs; i++, panel += PANEL * bytes, ahead += step) {
        __builtin_prefetch(ahead, 0, 2);
        if (!halves) __builtin_prefetch(ahead + 64, 0, 2);
        Vector left, right;
        if (halves) {
            left = __builtin_convertvector(*(const Half *)panel, Vector);
            right = __builtin_convertvector(*((const Half *)panel + 1), Vector);
        } else {
            left = *(const Vector *)panel;
            right = *((const Vector *)panel + 1);
        }
        for (int r = 0; r < rows; r++) {
            float value = x[r * p->inputs + i];
            sum[r][0] += value * left;
            sum[r][1] += value * right;
        }
    }
    float *out = p->out + row * p->outputs + first;
    int64_t columns = p->outputs - first;
    for (int r = 0; r < rows; r++, out += p->outputs) {
        if (columns >= PANEL) {
            *(Vector *)out = sum[r][0];
            *((Vector *)out + 1) = sum[r][1];
        } else
            for (int c = 0; c < columns; c++) out[c] = sum[r][c / WIDE][c % WIDE];
    }
}

static inline __attribute__((always_inline)) void panel_of(const Product *p, int64_t number,
                                                           int64_t following, const int halves) {
    int64_t wide = PANEL * (halves ? 2 : 4), bytes = p->inputs * wide, row = 0;
    int64_t tiles = p->rows / 8 + (p->rows >> 2 & 1) + (p->rows >> 1 & 1) + (p->rows & 1);
    int64_t step = wide / tiles;
    const char *panel = (const char *)p->panels + number * bytes;
    const char *ahead = (const char *)p->panels + following * bytes;
#define TILES(size) \
    for (; p->rows - row >= size; row += size, ahead += step * p->inputs) \
        tile(p, panel, ahead, step, row, number * PANEL, size, halves);
    TILES(8) TILES(4) TILES(2) TILES(1)
#undef TILES
}

static void product_task(void *data) {
    Product *p = data;
    int64_t count = (p->outputs + PANEL - 1) / PANEL;
    int64_t number = __atomic_fetch_add(&p->next, 1, __ATOMIC_RELAXED);
    while (number < count) {
        int64_t following = __atomic_fetch_add(&p->next, 1, __ATOMIC_RELAXED);
        int64_t ahead = following < count ? following : number;
        if (p->halves)
            panel_of(p, number, ahead, 1);
        else
            panel_of(p, number, ahead, 0);
        number = following;
    }
}

void product(const float *x, const void *panels, float *out, int64_t rows, int64_t inputs,
             int64_t outputs, int halves, int threads) {
    Product p = { x, panels, out, rows, inputs, outputs, halves, 0 };
    GOMP_parallel(product_task, &p, (unsigned)threads, 0);
}

/* ---- x += y, then RMSNorm(x) ---------------------------------------------------------------- */

typedef struct {
    float *x;             /* (T, D), changed */
    const float *y;       /* (T, D), or none */
    const float *gain;    /* (D) */
    float *out;           /* (T, D) */
    int64_t rows, size;   /* T, D */
    float eps;
} Norm;

static void norm_task(void *data) {
    const Norm *n = data;
    for (int64_t t = omp_get_thread_num(); t < n->rows; t += omp_get_num_threads()) {
        float *x = n->x + t * n->size, *out = n->out + t * n->size;
        if (n->y) {
            const float *y = n->y + t * n->size;
            for (int64_t i = 0; i < n->size; i++) x[i] += y[i];
        }
        float scale = scale_of(x, n->size, n->eps);
        for (int64_t i = 0; i < n->size; i++) out[i] = x[i] * scale * n->gain[i];
    }
}

void norm(float *x, const float *y, const float *gain, float *out, int64_t rows, int64_t size,
          float eps, int threads) {
    Norm n = { x, y, gain, out, rows, size, eps };
    GOMP_parallel(norm_task, &n, (unsigned)threads, 0);
}

/* ---- silu(gate) * up ------------------------------------------------------------------------ */

typedef struct {
    const float *both;   /* (T, 2 I): gate and up side by side */
    float *out;          /* (T, I) */
    int64_t rows, inner;
} Gate;

static void gate_task(void *data) {
    const Gate *g = data;
    for (int64_t t = omp_get_thread_num(); t < g->rows; t += omp_get_num_threads()) {
        const float *gate = g->both + 2 * t * g->inner, *up = gate + g->inner;
        float *out = g->out + t * g->inner;
        for (int64_t i = 0; i < g->inner; i++)
            out[i] = gate[i] / (1.0f + power_of_two(-LOG2_E * gate[i])) * up[i];
    }
}

void gated(const float *both, float *out, int64_t rows, int64_t inner, int threads) {
    Gate g = { both, out, rows, inner };
    GOMP_parallel(gate_task, &g, (unsigned)threads, 0);
}

/* ---- attention ------------------------------------------------------------------------------ */

typedef struct {
    float *qkv;                   /* (T, H + 2 K, E) */
    const float *q_gain, *k_gain; /* (E) of the norms of queries and keys, or none */
    const float *cos, *sin;       /* (T, E) of both halves, the first half's sine with a minus, or none */
    float *keys, *values;         /* all blocks of a layer, (blocks, Z, K, E) */
    const int64_t *slot;          /* (T): where a row's key goes, counted in tokens */
    int64_t rows, heads, shared, dim;
    float eps;
} Store;

/* Norm and turn a head's vector where it stands. */
static void turn(float *x, const Store *s, const float *gain, int64_t row) {
    int64_t half = s->dim / 2;
    if (gain) {
        float scale = scale_of(x, s->dim, s->eps);
        for (int64_t i = 0; i < s->dim; i++) x[i] *= scale * gain[i];
    }
    if (!s->cos) return;
    const float *cos = s->cos + row * s->dim, *sin = s->sin + row * s->dim;
    for (int64_t i = 0; i < half; i++) {
        float left = x[i], right = x[i + half];
        x[i] = left * cos[i] + right * sin[i];
        x[i + half] = right * cos[i + half] + left * sin[i + half];
    }
}

static void store_task(void *data) {
    const Store *s = data;
    int64_t wide = s->shared * s->dim;
    for (int64_t row = omp_get_thread_num(); row < s->rows; row += omp_get_num_threads()) {
        float *q = s->qkv + row * (s->heads + 2 * s->shared) * s->dim, *k = q + s->heads * s->dim;
        for (int64_t h = 0; h < s->heads; h++) turn(q + h * s->dim, s, s->q_gain, row);
        for (int64_t h = 0; h < s->shared; h++) turn(k + h * s->dim, s, s->k_gain, row);
        for (int64_t i = 0; i < wide; i++) {
            s->keys[s->slot[row] * wide + i] = k[i];
            s->values[s->slot[row] * wide + i] = k[wide + i];
        }
    }
}

/* Norm and turn queries and keys, in place, and put keys and values where they belong. */
void store(float *qkv, const float *q_gain, const float *k_gain, const float *cos, const float *sin,
           float *keys, float *values, const int64_t *slot, int64_t rows, int64_t heads,
           int64_t shared, int64_t dim, float eps, int threads) {
    Store s = { qkv, q_gain, k_gain, cos, sin, keys, values, slot, rows, heads, shared, dim, eps };
    GOMP_parallel(store_task, &s, (unsigned)threads, 0);
}

typedef struct {
    const float *qkv;             /* (T, H + 2 K, E) */
    const float *keys, *values;   /* all blocks of a layer, (blocks, Z, K, E) */
    const int64_t *table;         /* (T / time, N): the blocks of each text */
    const int64_t *place;         /* (T): a row's position; it sees itself and all before */
    float *out;                   /* (T, H, E) */
    float *score;                 /* room for (threads, N Z) */
    int64_t rows, time, heads, shared, dim, size, blocks; /* T, rows of a text, H, K, E, Z, N */
} Attention;

/* region attend */
/* One query: scores of all keys, their softmax, and the sum of values. `parts` vectors are a head;
 * as a constant it keeps the query, and later the sum, in registers. */
static inline __attribute__((always_inline)) void attend_query(const Attention *a, int64_t row,
        int64_t head, float *score, const int parts) {
    int64_t shared = head / (a->heads / a->shared), step = a->shared * a->dim;
    int64_t keys = a->place[row] + 1, block = a->size * step;
    const int64_t *table = a->table + row / a->time * a->blocks;
    const float *from = a->qkv + (row * (a->heads + 2 * a->shared) + head) * a->dim;
    float *out = a->out + (row * a->heads + head) * a->dim;
    float scale = LOG2_E / __builtin_sqrtf((float)a->dim), top, sum = 0;
    Vector query[8], seen[8];
    for (int v = 0; v < parts; v++) query[v] = *((const Vector *)from + v) * scale;
    for (int64_t s = 0; s < keys; s += a->size) {
        const float *key = a->keys + table[s / a->size] * block + shared * a->dim;
        for (int64_t z = s; z < keys && z < s + a->size; z++, key += step) {
            Vector both = query[0] * *(const Vector *)key;
            for (int v = 1; v < parts; v++) both += query[v] * *((const Vector *)key + v);
            float all = 0;
            for (int i = 0; i < WIDE; i++) all += both[i];
            score[z] = all;
        }
    }
    top = score[0];
    for (int64_t s = 1; s < keys; s++) top = score[s] > top ? score[s] : top;
    for (int64_t s = 0; s < keys; s++) sum += score[s] = power_of_two(score[s] - top);
    for (int v = 0; v < parts; v++) seen[v] = (Vector){0};
    for (int64_t s = 0; s < keys; s += a->size) {
        const float *value = a->values + table[s / a->size] * block + shared * a->dim;
        for (int64_t z = s; z < keys && z < s + a->size; z++, value += step)
            for (int v = 0; v < parts; v++) seen[v] += score[z] * *((const Vector *)value + v);
    }
    for (int v = 0; v < parts; v++) *((Vector *)out + v) = seen[v] / sum;
}
/* endregion */

static void attend_task(void *data) {
    const Attention *a = data;
    int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num(), tasks = a->rows * a->heads;
    float *score = a->score + thread * a->blocks * a->size;
    for (int64_t task = thread * tasks / threads; task < (thread + 1) * tasks / threads; task++) {
        int64_t row = task / a->heads, head = task % a->heads;
        switch (a->dim / WIDE) {
            case 1: attend_query(a, row, head, score, 1); break;
            case 2: attend_query(a, row, head, score, 2); break;
            case 3: attend_query(a, row, head, score, 3); break;
            case 4: attend_query(a, row, head, score, 4); break;
            case 6: attend_query(a, row, head, score, 6); break;
            case 8: attend_query(a, row, head, score, 8); break;
        }
    }
}

/* Each row's attention on its own text, whose keys are stored already. E is one of the cases. */
void attend(const float *qkv, const float *keys, const float *values, const int64_t *table,
            const int64_t *place, float *out, float *score, int64_t rows, int64_t time,
            int64_t heads, int64_t shared, int64_t dim, int64_t size, int64_t blocks, int threads) {
    Attention a = { qkv, keys, values, table, place, out, score,
                    rows, time, heads, shared, dim, size, blocks };
    GOMP_parallel(attend_task, &a, (unsigned)threads, 0);
}
