/**
 * Names beside the lines they name, as in the recorded pictures, instead of a legend to look up; and
 * the y axis's title above it, lying down. Pure: pixels in, Plotly annotations out.
 */

import type { Json, Palette } from "./theme";

export interface Frame { width: number; height: number; l: number; r: number; t: number; b: number; size: number }
interface Trace { name: string; kind: string; role: string; x: unknown[]; y: number[]; yaxis: string }
export interface Panel {
  axis: string; domain: [number, number]; log: boolean; xlog: boolean; category: boolean; range: [number, number]; title: string; traces: Trace[];
  legend: "direct" | "top" | "none";
}

const dict = (x: unknown): Json => (typeof x === "object" && x !== null ? (x as Json) : {});
const numbers = (x: unknown): number[] =>
  (Array.isArray(x) ? x : []).map((v) => (v === null ? Number.NaN : Number(v)));

/** Both ends in axis units (log10 on a log axis), with a little room. */
export function extent(values: number[], log: boolean, fromZero = false): [number, number] {
  const seen = values.filter((v) => Number.isFinite(v) && (!log || v > 0)).map((v) => (log ? Math.log10(v) : v));
  if (seen.length === 0) return log ? [-1, 1] : [0, 1];
  let low = Math.min(...seen);
  let high = Math.max(...seen);
  if (fromZero && !log) {
    low = Math.min(0, low);
    high = Math.max(0, high);
  }
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return [fromZero && low === 0 ? 0 : low - room, high + room];
}

/** The panels of a figure: one for each y axis. */
export function panels(data: Json[], layout: Json): Panel[] {
  const traces: Trace[] = data.map((t) => ({
    name: String(t.name ?? ""), kind: String(dict(t.meta).kind ?? t.type ?? "line"),
    role: String(dict(t.meta).role ?? "a"), x: Array.isArray(t.x) ? t.x : [], y: numbers(t.y), yaxis: String(t.yaxis ?? "y"),
  }));
  const asked = dict(layout.meta).legends;
  return Object.keys(layout)
    .filter((key) => /^yaxis\d*$/.test(key))
    .map((key, index) => {
      const axis = dict(layout[key]);
      const mine = traces.filter((t) => t.yaxis === key.replace("axis", ""));
      const log = axis.type === "log";
      const bars = mine.some((t) => t.kind === "bar");
      const range = Array.isArray(axis.range)
        ? ([Number(axis.range[0]), Number(axis.range[1])] as [number, number])
        : extent(mine.flatMap((t) => t.y), log, bars);
      const names = new Set(mine.filter((t) => t.kind !== "band" && t.kind !== "level").map((t) => t.name).filter(Boolean));
      const title = axis.title;
      const wish = Array.isArray(asked) ? String(asked[index]) : "";
      const legend = wish === "top" || wish === "none" || wish === "direct"
        ? wish
        : names.size < 2 ? "none" : bars || names.size > 7 ? "top" : "direct";
      return {
        axis: key, domain: (Array.isArray(axis.domain) ? axis.domain : [0, 1]) as [number, number], log,
        xlog: dict(layout[key.replace("y", "x")]).type === "log", category: axis.type === "category", range,
        title: typeof title === "string" ? title : String(dict(title).text ?? ""), traces: mine, legend,
      };
    });
}

/** Push labels apart to `gap` pixels, moving each as little as possible, within [0, height]. */
export function spread(wanted: number[], gap: number, height: number): number[] {
  const order = wanted.map((y, i) => ({ y, i })).sort((a, b) => a.y - b.y);
  const groups: { from: number; items: number[] }[] = [];
  for (const { y } of order) {
    groups.push({ from: y, items: [y] });
    // Merge while the last two overlap; a group stands centred on its members' wishes.
    for (;;) {
      const last = groups.at(-1);
      const before = groups.at(-2);
      if (!last || !before || before.from + before.items.length * gap <= last.from) break;
      const items = [...before.items, ...last.items];
      const centre = items.reduce((sum, v, k) => sum + v - k * gap, 0) / items.length;
      groups.splice(-2, 2, { from: centre, items });
    }
  }
  const out = new Array<number>(wanted.length).fill(0);
  let k = 0;
  for (const group of groups) {
    const room = Math.max(0, height - (group.items.length - 1) * gap);
    const from = Math.min(Math.max(group.from, 0), room);
    group.items.forEach((_, j) => {
      out[order[k]?.i ?? 0] = from + j * gap;
      k += 1;
    });
  }
  return out;
}

/** The right margin that the longest direct label needs. */
export function labelRoom(all: Panel[], size: number): number {
  const names = all.filter((p) => p.legend === "direct").flatMap((p) => p.traces.filter((t) => t.kind === "line").map((t) => t.name));
  return names.length ? Math.max(...names.map((n) => n.length)) * size * 0.56 + 14 : 0;
}

/** Where along a level its name is farthest from every line: left, middle or right, above or below. */
export function freePlace(
  panel: Panel, level: number, wide: number, size: number, pixel: (v: number) => number,
): { at: number; above: boolean } {
  const lines = panel.traces.filter((t) => t.kind === "line");
  const xs = lines.flatMap((t) => numbers(t.x)).filter((v) => Number.isFinite(v));
  const across = (v: number): number => (panel.xlog ? Math.log10(v) : v);
  const [low, high] = [across(Math.min(...xs)), across(Math.max(...xs))];
  const clearance = (at: number, above: boolean): number => {
    const [from, to] = [at * (1 - wide), at * (1 - wide) + wide];
    const centre = level + (above ? -1 : 1) * size * 0.7;
    let least = Number.POSITIVE_INFINITY;
    for (const line of lines) {
      const places = numbers(line.x).map((v) => (across(v) - low) / (high - low || 1));
      line.y.forEach((v, i) => {
        const next = line.y[i + 1];
        if (!Number.isFinite(v) || next === undefined || !Number.isFinite(next)) return;
        // Each piece of the line in ten steps: a name may cover its middle and none of its ends.
        for (let k = 0; k <= 10; k += 1) {
          const place = (places[i] ?? 0) + (((places[i + 1] ?? 0) - (places[i] ?? 0)) * k) / 10;
          const height = pixel(v) + ((pixel(next) - pixel(v)) * k) / 10;
          if (place >= from && place <= to) least = Math.min(least, Math.abs(height - centre));
        }
      });
    }
    return Math.min(least, 3 * size); // farther than three lines of text is all the same
  };
  const places = [0, 0.5, 1].flatMap((at) => [true, false].map((above) => ({ at, above })));
  return places.reduce((best, p) => (clearance(p.at, p.above) > clearance(best.at, best.above) ? p : best));
}

/** Names at the line ends and on the levels, and the title above the axis. */
export function annotate(panel: Panel, frame: Frame, palette: Palette, heading: string): Json[] {
  const inner = (frame.height - frame.t - frame.b) * (panel.domain[1] - panel.domain[0]);
  const [low, high] = panel.range;
  const unit = (v: number): number => (panel.log ? Math.log10(v) : v);
  const pixel = (v: number): number => ((high - unit(v)) / (high - low || 1)) * inner;
  const value = (px: number): number => high - (px / inner) * (high - low);
  const base = { showarrow: false, font: { family: palette.font, size: frame.size, color: palette.ink } };
  const y = panel.axis.replace("axis", "");
  const x = `x${y.slice(1)}`;
  const out: Json[] = [];

  if (panel.legend === "direct") {
    const lines = panel.traces.filter((t) => t.kind === "line" && t.name);
    const ends = lines.flatMap((t) => {
      const last = t.y.findLast((v) => Number.isFinite(v) && (!panel.log || v > 0));
      return last === undefined ? [] : [{ t, px: Math.min(Math.max(pixel(last), 0), inner) }];
    });
    const places = spread(ends.map((e) => e.px), frame.size * 1.22, inner);
    ends.forEach(({ t }, i) => {
      out.push({
        ...base, text: `<b>${t.name}</b>`, xref: `${x} domain`, x: 1, xshift: 7, xanchor: "left", align: "left",
        yref: y, y: value(places[i] ?? 0), yanchor: "middle", font: { ...base.font, color: palette.role(t.role), weight: 600 },
      });
    });
  }
  for (const level of panel.traces.filter((t) => t.kind === "level" && t.name)) {
    const height = pixel(level.y[0] ?? 0);
    const wide = (level.name.length * frame.size * 0.6) / (frame.width - frame.l - frame.r);
    const { at, above } = freePlace(panel, height, wide, frame.size, pixel);
    out.push({
      ...base, text: level.name, xref: `${x} domain`, x: at, xshift: [4, 0, -4][at * 2] ?? 0,
      xanchor: ["left", "center", "right"][at * 2], yref: y, y: unit(level.y[0] ?? 0),
      yanchor: above ? "bottom" : "top", font: { ...base.font, color: palette.muted },
    });
  }
  const title = [heading ? `<b>${heading}</b>` : "", panel.title].filter(Boolean).join("<br>");
  if (title) {
    out.push({
      ...base, text: title, align: "left", xref: "paper", x: 0, xshift: -frame.l + 2, xanchor: "left",
      yref: "paper", y: panel.domain[1], yshift: 5, yanchor: "bottom", font: { ...base.font, color: palette.muted },
    });
  }
  return out;
}
