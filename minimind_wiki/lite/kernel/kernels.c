/* What costs time when a transformer trains in the page, in float32 with WebAssembly SIMD.
 *
 * numpy in WebAssembly comes without a BLAS: its matmul is a plain triple loop, and exp is one value
 * at a time. This file is the smallest thing that helps. One thread, freestanding: no libc, no
 * allocation. Built by web/python/build_kernel.py.
 */
#include <wasm_simd128.h>

#define EXPORT __attribute__((visibility("default")))
#define ROWS 4     /* of C at a time: 4 x 8 sums live in 8 vector registers */
#define COLUMNS 8  /* of C at a time: two vectors of four floats */
#define DEPTH 256  /* of the sum at a time: a strip of A is 4 KB, a panel of B 8 KB */
#define WIDTH 512  /* columns of B packed at a time: 512 KB */

/* ---- the matrix product --------------------------------------------------------------------
 * Both factors are first copied into the order in which the inner loop reads them. So it does not
 * matter how they lay in memory, and a transposed factor costs no copy of its own. (Goto & van de
 * Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008.) */

/* `count` vectors of `wide` values each: value i of vector q is from[q * step + i * apart].
 * Only `real` values exist; the others become 0. */
static void pack(float *to, const float *from, int count, int wide, int real, long step, long apart) {
    if (real == wide && apart == 1) {
        for (int q = 0; q < count; q++, to += wide, from += step)
            for (int i = 0; i < wide; i += 4) wasm_v128_store(to + i, wasm_v128_load(from + i));
    } else {
        for (int i = 0; i < wide; i++) {
            const float *x = from + i * apart;
            if (i < real)
                for (int q = 0; q < count; q++) to[q * wide + i] = x[q * step];
            else
                for (int q = 0; q < count; q++) to[q * wide + i] = 0.0f;
        }
    }
}

/* A block of 4 x 8 sums; the first rows x columns of it are stored, or added to what stands there. */
static void block(const float *a, const float *b, float *c, int depth, long n, int rows, int columns,
                  int first) {
    v128_t s[ROWS][2];
    for (int i = 0; i < ROWS; i++) s[i][0] = s[i][1] = wasm_f32x4_splat(0);
    for (int q = 0; q < depth; q++, a += ROWS, b += COLUMNS) {
        v128_t left = wasm_v128_load(b), right = wasm_v128_load(b + 4);
#pragma clang loop unroll(full)
        for (int i = 0; i < ROWS; i++) {
            v128_t x = wasm_v128_load32_splat(a + i);
            s[i][0] = wasm_f32x4_add(s[i][0], wasm_f32x4_mul(x, left));
            s[i][1] = wasm_f32x4_add(s[i][1], wasm_f32x4_mul(x, right));
        }
    }
    for (int i = 0; i < rows; i++, c += n) {
        if (columns == COLUMNS) {
            if (!first) {
                s[i][0] = wasm_f32x4_add(s[i][0], wasm_v128_load(c));
                s[i][1] = wasm_f32x4_add(s[i][1], wasm_v128_load(c + 4));
            }
            wasm_v128_store(c, s[i][0]);
            wasm_v128_store(c + 4, s[i][1]);
        } else {
            float row[COLUMNS];
            wasm_v128_store(row, s[i][0]);
            wasm_v128_store(row + 4, s[i][1]);
            for (int j = 0; j < columns; j++) c[j] = first ? row[j] : c[j] + row[j];
        }
    }
}

static int least(int a, int b) { return a < b ? a : b; }

/* C[m,n] = A[m,k] B[k,n], `batch` times. A and B have any strides (in values): from one matrix to the
 * next, from row to row, from column to column. C is row-major and overlaps neither. `scratch` holds
 * DEPTH * WIDTH values. */
EXPORT void matmul(const float *a, const float *b, float *c, float *scratch, int batch, int m, int n,
                   int k, int a_batch, int a_row, int a_column, int b_batch, int b_row, int b_column) {
    float strip[ROWS * DEPTH];
    for (int t = 0; t < batch; t++, a += a_batch, b += b_batch, c += (long)m * n)
        for (int k0 = 0; k0 < k; k0 += DEPTH) {
            int depth = least(DEPTH, k - k0);
            for (int n0 = 0; n0 < n; n0 += WIDTH) {
                int width = least(WIDTH, n - n0);
                const float *from = b + (long)k0 * b_row + (long)n0 * b_column;
                for (int j = 0; j < width; j += COLUMNS)
                    pack(scratch + j * depth, from + (long)j * b_column, depth, COLUMNS,
                         least(COLUMNS, width - j), b_row, b_column);
                for (int i = 0; i < m; i += ROWS) {
                    int rows = least(ROWS, m - i);
                    pack(strip, a + (long)i * a_row + (long)k0 * a_column, depth, ROWS, rows,
                         a_column, a_row);
                    for (int j = 0; j < width; j += COLUMNS)
                        block(strip, scratch + j * depth, c + (long)i * n + n0 + j, depth, n, rows,
                              least(COLUMNS, width - j), k0 == 0);
                }
            }
        }
}

/* ---- exp, and what is made of it ----------------------------------------------------------- */

/* exp(x) = 2^n exp(r) with |r| <= ln(2)/2, where seven terms of the series suffice for float32.
 * Below -87 it is 0, above 88 it stays at exp(88). */
static v128_t exp4(v128_t x) {
    v128_t low = wasm_f32x4_splat(-87.0f), alive = wasm_f32x4_gt(x, low);
    v128_t at = wasm_f32x4_max(low, wasm_f32x4_min(wasm_f32x4_splat(88.0f), x));
    v128_t n = wasm_f32x4_nearest(wasm_f32x4_mul(at, wasm_f32x4_splat(1.44269504f)));
    /* ln(2) in two parts, the first with few enough bits that n times it is exact */
    v128_t r = wasm_f32x4_sub(at, wasm_f32x4_mul(n, wasm_f32x4_splat(0.693359375f)));
    r = wasm_f32x4_sub(r, wasm_f32x4_mul(n, wasm_f32x4_splat(-2.12194440e-4f)));
    v128_t y = wasm_f32x4_splat(1 / 5040.0f);
#define TERM(value) y = wasm_f32x4_add(wasm_f32x4_mul(y, r), wasm_f32x4_splat(value))
    TERM(1 / 720.0f), TERM(1 / 120.0f), TERM(1 / 24.0f), TERM(1 / 6.0f), TERM(0.5f), TERM(1), TERM(1);
    v128_t power = wasm_i32x4_shl(wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(n), wasm_i32x4_splat(127)), 23);
    return wasm_v128_and(wasm_f32x4_mul(y, power), wasm_v128_or(alive, wasm_f32x4_ne(x, x)));
}

/* Up to four values; those that are missing become `missing`. */
static v128_t some(const float *x, int count, float missing) {
    if (count >= 4) return wasm_v128_load(x);
    float four[4] = {missing, missing, missing, missing};
    for (int i = 0; i < count; i++) four[i] = x[i];
    return wasm_v128_load(four);
}

static void keep(float *to, v128_t y, int count) {
    if (count >= 4) {
        wasm_v128_store(to, y);
        return;
    }
    float four[4];
    wasm_v128_store(four, y);
    for (int i = 0; i < count; i++) to[i] = four[i];
}

static float total(v128_t x) {
    return (wasm_f32x4_extract_lane(x, 0) + wasm_f32x4_extract_lane(x, 1)) +
           (wasm_f32x4_extract_lane(x, 2) + wasm_f32x4_extract_lane(x, 3));
}

/* y = softmax of each row of x[rows,n]; top and sum are the row's largest value and the sum of
 * exp(x - top). With period > 0 row i sees the first i % period + 1 values and the rest become 0. */
EXPORT void softmax(const float *x, float *y, float *top, float *sum, int rows, int n, int period) {
    for (int i = 0; i < rows; i++, x += n, y += n) {
        int seen = period ? least(n, i % period + 1) : n;
        v128_t most = wasm_f32x4_splat(x[0]), all = wasm_f32x4_splat(0);
        for (int j = 0; j < seen; j += 4) most = wasm_f32x4_max(most, some(x + j, seen - j, x[0]));
        float a = wasm_f32x4_extract_lane(most, 0);
        for (int j = 0; j < 3; j++) {
            most = wasm_i32x4_shuffle(most, most, 1, 2, 3, 0);
            float b = wasm_f32x4_extract_lane(most, 0);
            if (b > a || b != b) a = b;
        }
        v128_t high = wasm_f32x4_splat(a);
        for (int j = 0; j < seen; j += 4) {
            v128_t e = exp4(wasm_f32x4_sub(some(x + j, seen - j, -__builtin_inff()), high));
            all = wasm_f32x4_add(all, e);
            keep(y + j, e, seen - j);
        }
        top[i] = a;
        sum[i] = total(all);
        v128_t part = wasm_f32x4_splat(1.0f / sum[i]);
        for (int j = 0; j < seen; j += 4) keep(y + j, wasm_f32x4_mul(some(y + j, seen - j, 0), part), seen - j);
        for (int j = seen; j < n; j++) y[j] = 0;
    }
}

/* out = y (g - sum(g y)) for each row: the gradient of softmax's input. */
EXPORT void softmax_vjp(const float *g, const float *y, float *out, int rows, int n) {
    for (int i = 0; i < rows; i++, g += n, y += n, out += n) {
        v128_t all = wasm_f32x4_splat(0);
        for (int j = 0; j < n; j += 4)
            all = wasm_f32x4_add(all, wasm_f32x4_mul(some(g + j, n - j, 0), some(y + j, n - j, 0)));
        v128_t mean = wasm_f32x4_splat(total(all));
        for (int j = 0; j < n; j += 4) {
            v128_t apart = wasm_f32x4_sub(some(g + j, n - j, 0), mean);
            keep(out + j, wasm_f32x4_mul(some(y + j, n - j, 0), apart), n - j);
        }
    }
}

/* y = x / (1 + exp(-x)); where g is given, the gradient g s (1 + x (1 - s)) instead. */
EXPORT void silu(const float *x, const float *g, float *y, int n) {
    v128_t one = wasm_f32x4_splat(1);
    for (int j = 0; j < n; j += 4) {
        v128_t v = some(x + j, n - j, 0);
        v128_t s = wasm_f32x4_div(one, wasm_f32x4_add(one, exp4(wasm_f32x4_neg(v))));
        v128_t made = wasm_f32x4_mul(v, s);
        if (g) {
            made = wasm_f32x4_add(one, wasm_f32x4_mul(v, wasm_f32x4_sub(one, s)));
            made = wasm_f32x4_mul(wasm_f32x4_mul(some(g + j, n - j, 0), s), made);
        }
        keep(y + j, made, n - j);
    }
}

/* ---- RMSNorm --------------------------------------------------------------------------------- */

/* 1 / sqrt(mean(x²) + eps) of n values, in all four lanes. */
static v128_t rms_scale(const float *x, int n, float eps) {
    v128_t all = wasm_f32x4_splat(0);
    for (int j = 0; j < n; j += 4) {
        v128_t v = some(x + j, n - j, 0);
        all = wasm_f32x4_add(all, wasm_f32x4_mul(v, v));
    }
    return wasm_f32x4_div(wasm_f32x4_splat(1), wasm_f32x4_sqrt(wasm_f32x4_splat(total(all) / n + eps)));
}

/* y = x * scale * w for each row of x[rows,n]; w has n values. */
EXPORT void rms_norm(const float *x, const float *w, float *y, int rows, int n, float eps) {
    for (int i = 0; i < rows; i++, x += n, y += n) {
        v128_t scale = rms_scale(x, n, eps);
        for (int j = 0; j < n; j += 4) {
            v128_t v = wasm_f32x4_mul(some(x + j, n - j, 0), scale);
            keep(y + j, wasm_f32x4_mul(v, some(w + j, n - j, 0)), n - j);
        }
    }
}

/* out = the gradient of x: scale (g w - y mean(g w y)), where y = x * scale. */
EXPORT void rms_norm_vjp(const float *g, const float *x, const float *w, float *out, int rows, int n, float eps) {
    for (int i = 0; i < rows; i++, g += n, x += n, out += n) {
        v128_t scale = rms_scale(x, n, eps), all = wasm_f32x4_splat(0);
        for (int j = 0; j < n; j += 4) {
            v128_t h = wasm_f32x4_mul(some(g + j, n - j, 0), some(w + j, n - j, 0));
            all = wasm_f32x4_add(all, wasm_f32x4_mul(h, wasm_f32x4_mul(some(x + j, n - j, 0), scale)));
        }
        v128_t mean = wasm_f32x4_splat(total(all) / n);
        for (int j = 0; j < n; j += 4) {
            v128_t h = wasm_f32x4_mul(some(g + j, n - j, 0), some(w + j, n - j, 0));
            v128_t y = wasm_f32x4_mul(some(x + j, n - j, 0), scale);
            keep(out + j, wasm_f32x4_mul(scale, wasm_f32x4_sub(h, wasm_f32x4_mul(y, mean))), n - j);
        }
    }
}

/* out, which begins at zero: the gradient of w, the sum of g * x * scale over the rows. */
EXPORT void rms_norm_weight_vjp(const float *g, const float *x, float *out, int rows, int n, float eps) {
    for (int i = 0; i < rows; i++, g += n, x += n) {
        v128_t scale = rms_scale(x, n, eps);
        for (int j = 0; j < n; j += 4) {
            v128_t part = wasm_f32x4_mul(some(g + j, n - j, 0), wasm_f32x4_mul(some(x + j, n - j, 0), scale));
            keep(out + j, wasm_f32x4_add(some(out + j, n - j, 0), part), n - j);
        }
    }
}
