/**
 * The SIMD kernel (web/native/engine.c) and the memory that it computes in.
 *
 * Each model has a memory of its own: weights first, working space behind them, the cache of keys and
 * values last, since it alone grows. Dropping the model drops it all.
 */

import { EngineError } from "./api";
import wasm from "../../native/engine.wasm";

/** Addresses are bytes from the memory's start, counts are numbers. See engine.c for the shapes. */
export interface Kernel {
  memory: WebAssembly.Memory;
  widen(to: number, weight: number, scale: number, inputs: number): void;
  linear(y: number, x: number, weight: number, scale: number, n: number, inputs: number, outputs: number, parts: number, units: number): void;
  linear_f32(y: number, x: number, weight: number, n: number, inputs: number, outputs: number): void;
  add_scaled(to: number, from: number, factor: number, count: number): void;
  rms_norm(y: number, x: number, gain: number, n: number, size: number, eps: number): void;
  layer_norm(y: number, x: number, gain: number, bias: number, n: number, size: number, eps: number): void;
  rope(x: number, cos: number, sin: number, n: number, heads: number, size: number): void;
  swiglu(gate: number, up: number, count: number): void;
  gelu(x: number, count: number): void;
  attend(
    out: number, q: number, keys: number, values: number, weights: number, room: number, n: number,
    start: number, heads: number, shared: number, size: number, window: number, sinks: number,
    slopes: number,
  ): void;
}

const PAGE = 65536;
const ALIGN = 64;
let compiled: Promise<WebAssembly.Module> | undefined;

/** A fresh kernel with its memory. Throws where the browser has no WebAssembly SIMD. */
export async function openKernel(): Promise<Arena> {
  try {
    compiled ??= WebAssembly.compile(wasm as BufferSource);
    const instance = await WebAssembly.instantiate(await compiled, {});
    const { __heap_base: base, ...functions } = instance.exports;
    return new Arena(functions as unknown as Kernel, (base as WebAssembly.Global).value as number);
  } catch {
    compiled = undefined;
    throw new EngineError(
      "This browser cannot run the model: it has no WebAssembly with SIMD, or the page may not use it. " +
        "Browsers from 2023 on have it.",
      "unsupported",
    );
  }
}

/** Hands out pieces of the kernel's memory, one behind the other. */
export class Arena {
  constructor(
    readonly kernel: Kernel,
    private end: number,
  ) {}

  /** Address of so many fresh bytes, at a multiple of 64. */
  take(bytes: number): number {
    const at = Math.ceil(this.end / ALIGN) * ALIGN;
    this.end = at + bytes;
    const memory = this.kernel.memory;
    const missing = this.end - memory.buffer.byteLength;
    if (missing > 0) {
      try {
        memory.grow(Math.ceil(missing / PAGE));
      } catch {
        throw new EngineError(
          `The model needs ${Math.ceil(this.end / 1e6)} MB of memory, and the browser does not give it; ` +
            "close other tabs, or take a smaller model.",
          "memory",
        );
      }
    }
    return at;
  }

  /** Give back everything from this address on. */
  cut(at: number): void {
    this.end = at;
  }

  /** Copy bytes from one address to another; they may overlap. */
  move(from: number, to: number, bytes: number): void {
    new Uint8Array(this.kernel.memory.buffer).copyWithin(to, from, from + bytes);
  }

  get size(): number {
    return this.end;
  }

  /** A view of the memory; it is void once the memory grows. */
  floats(at: number, count: number): Float32Array {
    return new Float32Array(this.kernel.memory.buffer, at, count);
  }

  bytes(at: number, count: number): Int8Array {
    return new Int8Array(this.kernel.memory.buffer, at, count);
  }
}
