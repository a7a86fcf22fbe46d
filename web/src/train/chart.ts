/** The live loss curve: SVG drawn by hand, so that nothing is downloaded to watch a training. */

import { smooth } from "./run";
import type { Point, Run } from "./run";

const NS = "http://www.w3.org/2000/svg";
const TICKS = [0.25, 0.5, 1, 2, 4];
export interface Levels { floor: number; bigram: number }

function s(tag: string, props: Record<string, string | number>, text = ""): SVGElement {
  const element = document.createElementNS(NS, tag);
  for (const [key, value] of Object.entries(props)) element.setAttribute(key, String(value));
  if (text) element.textContent = text;
  return element;
}

/** Steps of the time axis, at most `most` of them: 1, 2 or 5 times a power of ten, or whole half minutes. */
export function timeTicks(seconds: number, most: number): number[] {
  const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600].find((n) => seconds / n <= most) ?? 7200;
  return Array.from({ length: Math.floor(seconds / step) + 1 }, (_, i) => i * step);
}

/** Both axes: seconds to x, bits per byte to y (logarithmic: each line is half of the one above). */
export function scales(width: number, height: number, seconds: number): { x(t: number): number; y(bits: number): number; right: number; bottom: number } {
  const [left, right, top, bottom] = [34, width - (width < 420 ? 58 : 92), 30, height - 34];
  const [low, high] = [Math.log2(0.25), Math.log2(4)];
  return {
    right, bottom,
    x: (t) => left + (t / seconds) * (right - left),
    y: (bits) => bottom - ((Math.min(high, Math.max(low, Math.log2(bits))) - low) / (high - low)) * (bottom - top),
  };
}

const path = (points: Point[], x: (t: number) => number, y: (b: number) => number): string =>
  points.map((p, i) => `${i ? "L" : "M"}${x(p.seconds).toFixed(1)} ${y(p.bits).toFixed(1)}`).join("");

/** Draw the run into `svg`; `ghost` is the recorded run, for comparison. */
export function draw(svg: SVGSVGElement, run: Run, ghost: Point[], levels: Levels, size: { width: number; height: number }): void {
  const { width, height } = size;
  const until = Math.max(120, run.seconds * 1.04);
  const { x, y, right, bottom } = scales(width, height, until);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", String(width));
  svg.setAttribute("height", String(height));
  const parts: SVGElement[] = [];
  for (const tick of TICKS) {
    parts.push(s("line", { x1: x(0), x2: right, y1: y(tick), y2: y(tick), class: "mm-chart__grid" }));
    parts.push(s("text", { x: x(0) - 6, y: y(tick) + 4, "text-anchor": "end", class: "mm-chart__tick" }, String(tick)));
  }
  for (const tick of timeTicks(until, width < 420 ? 4 : 8)) {
    parts.push(s("line", { x1: x(tick), x2: x(tick), y1: bottom, y2: bottom + 4, class: "mm-chart__edge" }));
    parts.push(s("text", { x: x(tick), y: bottom + 16, "text-anchor": "middle", class: "mm-chart__tick" }, String(tick)));
  }
  parts.push(s("line", { x1: x(0), x2: right, y1: bottom, y2: bottom, class: "mm-chart__edge" }));
  parts.push(s("text", { x: 0, y: 12, class: "mm-chart__tick" }, "bits per byte"));
  parts.push(s("text", { x: right, y: height - 4, "text-anchor": "end", class: "mm-chart__tick" }, "seconds of computing"));
  for (const [name, bits] of [["pairs of tokens", levels.bigram], ["floor", levels.floor]] as const) {
    parts.push(s("line", { x1: x(0), x2: right, y1: y(bits), y2: y(bits), class: "mm-chart__level" }));
    const words = width < 420 ? name.split(/ (?=tokens)/) : [name];
    words.forEach((word, i) => parts.push(s("text", { x: right + 5, y: y(bits) + 4 + i * 12, class: "mm-chart__name" }, word)));
  }
  run.turns.slice(1).forEach((turn) => {
    parts.push(s("line", { x1: x(turn.seconds), x2: x(turn.seconds), y1: 30, y2: bottom, class: "mm-chart__turn" }));
    parts.push(s("text", { x: x(turn.seconds) + 3, y: 40, class: "mm-chart__tick" }, `rate ${turn.rate}`));
  });
  const seen = ghost.filter((p) => p.seconds <= until);
  parts.push(s("path", { d: path(seen, x, y), class: "mm-chart__ghost" }));
  parts.push(s("path", { d: path(smooth(run.loss, until / 120), x, y), class: "mm-chart__loss" }));
  parts.push(s("path", { d: path(run.held, x, y), class: "mm-chart__held" }));
  for (const p of run.held) parts.push(s("circle", { cx: x(p.seconds), cy: y(p.bits), r: 3, class: "mm-chart__dot" }));
  const [end, last] = [seen.at(-1), run.held.at(-1)];
  const apart = end && last ? Math.abs(y(end.bits) - y(last.bits)) : 99;
  if (last) parts.push(s("text", { x: x(last.seconds) + 6, y: y(last.bits) - 8, class: "mm-chart__name mm-chart__name--held" }, last.bits.toFixed(2)));
  if (end && apart > 14) parts.push(s("text", { x: right + 5, y: y(end.bits) + 4, class: "mm-chart__name" }, "recorded"));
  svg.replaceChildren(...parts);
}
