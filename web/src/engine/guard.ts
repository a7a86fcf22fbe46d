/**
 * What must be known before a model is loaded: whether this browser can compute with it, and whether
 * its memory will hold it. A page that runs out of memory dies without a word, so the refusal comes
 * first, with the numbers.
 */

import { EngineError } from "./api";

/**
 * The smallest module that uses a vector: one function that splats a zero and counts its bits.
 * Sections: type () → v128, one function, its body. Valid where the browser knows fixed-width SIMD
 * (WebAssembly core specification 2.0).
 */
const VECTOR = [
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,
  0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7b,
  0x03, 0x02, 0x01, 0x00,
  0x0a, 0x0a, 0x01, 0x08, 0x00, 0x41, 0x00, 0xfd, 0x0f, 0xfd, 0x62, 0x0b,
];

type Validate = (bytes: BufferSource) => boolean;

/** True where WebAssembly can multiply four numbers at once, which the kernel needs. */
export function hasSimd(validate: Validate | undefined = globalThis.WebAssembly?.validate): boolean {
  try {
    return validate?.(new Uint8Array(VECTOR)) ?? false;
  } catch {
    return false;
  }
}

/** EngineError where the browser is too old. What was recorded stays on the page. */
export function requireSimd(able = hasSimd()): void {
  if (able) return;
  throw new EngineError(
    "This browser cannot run the model: it has no WebAssembly SIMD (Chrome 91, Firefox 89 and Safari 16.4 have). " +
      "What was recorded stays readable.",
    "unsupported",
  );
}

/** What the browser tells of the machine; both are absent in Firefox and Safari. */
export interface Device {
  /** Bytes of main memory, rounded and capped by the browser. */
  memory?: number;
  /** Bytes that scripts of this page may hold at most. */
  heap?: number;
}

export function device(scope: object = globalThis): Device {
  const { navigator, performance } = scope as {
    navigator?: { deviceMemory?: number };
    performance?: { memory?: { jsHeapSizeLimit?: number } };
  };
  const gigabytes = navigator?.deviceMemory;
  return {
    ...(gigabytes ? { memory: gigabytes * 2 ** 30 } : {}),
    ...(performance?.memory?.jsHeapSizeLimit ? { heap: performance.memory.jsHeapSizeLimit } : {}),
  };
}

/** Where the browser tells nothing, and above which one buffer of WebAssembly is not counted on. */
const UNTOLD = 2 ** 30;
const LARGEST = 2 ** 31;

/** Bytes that a model may take: a quarter of the machine's memory, as other pages live there too. */
export function allowance({ memory, heap }: Device = device()): number {
  return Math.min(memory ? memory / 4 : UNTOLD, heap ?? LARGEST, LARGEST);
}

/** EngineError if `need` bytes are more than a page should take on this machine. */
export function requireMemory(need: number, what: string, on: Device = device()): void {
  const most = allowance(on);
  if (need <= most) return;
  const machine = on.memory
    ? `this device has ${on.memory >= 2 ** 33 ? "at least " : ""}${size(on.memory)}`
    : "this browser does not tell how much there is";
  throw new EngineError(
    `${what} needs ${size(need)} of memory; ${machine}, and a page should take at most ${size(most)}. ` +
      "Take a smaller model, or open it with “minimind chat”.",
    "memory",
  );
}

/** Bytes as a reader says them: "2.2 MB". */
export function size(bytes: number): string {
  const steps: [number, string][] = [[2 ** 30, "GB"], [2 ** 20, "MB"], [2 ** 10, "KB"]];
  const [unit, name] = steps.find(([unit]) => bytes >= unit) ?? [1, "bytes"];
  const value = bytes / unit;
  return `${unit > 1 && value < 100 ? value.toFixed(1) : Math.round(value)} ${name}`;
}
