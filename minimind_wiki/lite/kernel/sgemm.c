/* Matrix product for the page: C = A B in float32, row-major, one thread, WebAssembly SIMD.
 *
 * numpy in WebAssembly comes without a BLAS: its matmul is a plain triple loop. This file is the
 * smallest thing that helps: a block of 4 rows times 8 columns is kept in 8 vector registers while
 * the sum over k runs, and the 8 columns of B are first copied into one contiguous panel, so that
 * the inner loop reads memory in order. (The idea is Goto's; see Goto & van de Geijn, "Anatomy of
 * High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008.)
 *
 * Freestanding: no libc, no allocation. Built by web/python/build_kernel.py.
 */
#include <wasm_simd128.h>

#define DEPTH 256 /* rows of B in a panel: 256 x 8 floats = 8 KB, a quarter of a usual L1 cache */
#define WIDTH 8   /* columns of B in a panel: two vectors of four floats */

/* Copy rows k0..k0+depth and columns j0..j0+width of B into a panel; missing columns become 0. */
static void pack(float *to, const float *b, int n, int k0, int depth, int j0, int width) {
    for (int k = 0; k < depth; k++, to += WIDTH) {
        const float *from = b + (long)(k0 + k) * n + j0;
        if (width == WIDTH) {
            wasm_v128_store(to, wasm_v128_load(from));
            wasm_v128_store(to + 4, wasm_v128_load(from + 4));
        } else {
            for (int j = 0; j < WIDTH; j++) to[j] = j < width ? from[j] : 0.0f;
        }
    }
}

/* Write one row of eight sums to C: added to what stands there, except in the first panel. */
static void put(float *c, v128_t left, v128_t right, int width, int first) {
    if (width == WIDTH) {
        if (!first) {
            left = wasm_f32x4_add(left, wasm_v128_load(c));
            right = wasm_f32x4_add(right, wasm_v128_load(c + 4));
        }
        wasm_v128_store(c, left);
        wasm_v128_store(c + 4, right);
        return;
    }
    float row[WIDTH];
    wasm_v128_store(row, left);
    wasm_v128_store(row + 4, right);
    for (int j = 0; j < width; j++) c[j] = first ? row[j] : c[j] + row[j];
}

/* C[m,n] = A[m,k] B[k,n]. C must not overlap A or B. */
void sgemm(const float *a, const float *b, float *c, int m, int n, int k) {
    float panel[DEPTH * WIDTH]; /* on the stack: a static one would add 8 KB of zeros to the file */
    for (int k0 = 0; k0 < k; k0 += DEPTH) {
        int depth = k - k0 < DEPTH ? k - k0 : DEPTH;
        int first = k0 == 0;
        for (int j0 = 0; j0 < n; j0 += WIDTH) {
            int width = n - j0 < WIDTH ? n - j0 : WIDTH;
            pack(panel, b, n, k0, depth, j0, width);
            int i = 0;
            for (; i + 4 <= m; i += 4) {
                const float *a0 = a + (long)i * k + k0, *a1 = a0 + k, *a2 = a1 + k, *a3 = a2 + k;
                v128_t c00 = wasm_f32x4_splat(0), c01 = c00, c10 = c00, c11 = c00;
                v128_t c20 = c00, c21 = c00, c30 = c00, c31 = c00;
                const float *p = panel;
                for (int q = 0; q < depth; q++, p += WIDTH) {
                    v128_t left = wasm_v128_load(p), right = wasm_v128_load(p + 4);
                    v128_t x = wasm_v128_load32_splat(a0 + q);
                    c00 = wasm_f32x4_add(c00, wasm_f32x4_mul(x, left));
                    c01 = wasm_f32x4_add(c01, wasm_f32x4_mul(x, right));
                    x = wasm_v128_load32_splat(a1 + q);
                    c10 = wasm_f32x4_add(c10, wasm_f32x4_mul(x, left));
                    c11 = wasm_f32x4_add(c11, wasm_f32x4_mul(x, right));
                    x = wasm_v128_load32_splat(a2 + q);
                    c20 = wasm_f32x4_add(c20, wasm_f32x4_mul(x, left));
                    c21 = wasm_f32x4_add(c21, wasm_f32x4_mul(x, right));
                    x = wasm_v128_load32_splat(a3 + q);
                    c30 = wasm_f32x4_add(c30, wasm_f32x4_mul(x, left));
                    c31 = wasm_f32x4_add(c31, wasm_f32x4_mul(x, right));
                }
                float *to = c + (long)i * n + j0;
                put(to, c00, c01, width, first);
                put(to + n, c10, c11, width, first);
                put(to + 2 * (long)n, c20, c21, width, first);
                put(to + 3 * (long)n, c30, c31, width, first);
            }
            for (; i < m; i++) { /* the last one to three rows, one at a time */
                const float *row = a + (long)i * k + k0;
                v128_t left = wasm_f32x4_splat(0), right = left;
                for (int q = 0; q < depth; q++) {
                    v128_t x = wasm_v128_load32_splat(row + q);
                    left = wasm_f32x4_add(left, wasm_f32x4_mul(x, wasm_v128_load(panel + q * WIDTH)));
                    right =
                        wasm_f32x4_add(right, wasm_f32x4_mul(x, wasm_v128_load(panel + q * WIDTH + 4)));
                }
                put(c + (long)i * n + j0, left, right, width, first);
            }
        }
    }
}
