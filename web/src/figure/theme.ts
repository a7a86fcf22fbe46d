/**
 * From a figure's meaning to its colours. A trace says its role (`meta.role`); the page's CSS says
 * what colour that role has in the palette of the moment. Pure: the palette is passed in.
 */

import { annotate, labelRoom, panels } from "./labels";
import type { Panel } from "./labels";

export type Json = Record<string, unknown>;
export interface Spec { data: Json[]; layout: Json }
export interface Palette {
  role(name: string): string;
  ink: string; muted: string; grid: string; edge: string; card: string; font: string;
}

/** "#rrggbb" or "rgb(…)" with the given opacity. */
export function fade(color: string, alpha: number): string {
  const hex = /^#([0-9a-f]{6})$/i.exec(color.trim());
  if (hex?.[1]) {
    const n = Number.parseInt(hex[1], 16);
    return `rgba(${n >> 16}, ${(n >> 8) & 255}, ${n & 255}, ${alpha})`;
  }
  const rgb = /^rgba?\(([^)]+)\)$/.exec(color.trim());
  if (rgb?.[1]) return `rgba(${rgb[1].split(/[,\s/]+/).slice(0, 3).join(", ")}, ${alpha})`;
  return color;
}

const dict = (x: unknown): Json => (typeof x === "object" && x !== null ? (x as Json) : {});

function trace(source: Json, palette: Palette): Json {
  const meta = dict(source.meta);
  const role = typeof meta.role === "string" ? meta.role : "a";
  const color = palette.role(role);
  const out: Json = { ...source };
  if (meta.kind === "band" || source.fill) {
    out.fillcolor = fade(color, 0.16);
    out.line = { ...dict(source.line), color: "rgba(0,0,0,0)", width: 0 };
    return out;
  }
  if (source.type === "bar") {
    out.marker = { ...dict(source.marker), color: fade(color, 0.85), line: { width: 0 } };
    if (source.error_y) out.error_y = { ...dict(source.error_y), color: palette.ink, thickness: 1.2, width: 4 };
    return out;
  }
  if (source.type === "heatmap" && !source.colorscale) {
    out.colorscale = [[0, palette.card], [1, color]];
    return out;
  }
  out.line = { ...dict(source.line), color };
  if (source.marker || String(source.mode ?? "").includes("markers")) {
    out.marker = { ...dict(source.marker), color };
  }
  return out;
}

/** How many legend rows this width needs, by the length of the names. */
export function legendRows(data: Json[], width: number): number {
  const names = data.filter((t) => t.showlegend !== false && t.name).map((t) => String(t.name));
  const room = Math.max(width - 80, 120);
  let rows = names.length ? 1 : 0;
  let used = 0;
  for (const name of names) {
    const need = 52 + name.length * 6.6;
    if (used > 0 && used + need > room) {
      rows += 1;
      used = 0;
    }
    used += need;
  }
  return rows;
}

/** The figure as Plotly draws it in this palette and at this size. */
export function paint(spec: Spec, palette: Palette, size: { width: number; height: number }): Spec {
  const narrow = size.width < 520;
  const font = { family: palette.font, size: narrow ? 11 : 13, color: palette.ink };
  const layout: Json = { ...spec.layout };
  const found = panels(spec.data, layout);
  const legend = found.some((panel) => panel.legend === "top");
  const titles = Array.isArray(layout.annotations) ? layout.annotations.map(dict) : [];
  // A panel's own title is an annotation at its top edge.
  const heading = (panel: Panel): string =>
    String(titles.find((a) => a.yref === "paper" && a.y === panel.domain[1])?.text ?? "");
  const rows = legend ? legendRows(spec.data, size.width) : 0;
  const lines = Math.max(...found.map((p) => (p.title ? 1 : 0) + (heading(p) ? 1 : 0)), 0);
  const frame = {
    ...size, size: font.size, l: narrow ? 44 : 56, b: narrow ? 40 : 46,
    r: Math.max(labelRoom(found, font.size), 12), t: 12 + lines * font.size * 1.35 + rows * 21,
  };
  Object.assign(layout, {
    font,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    autosize: false,
    width: size.width,
    height: size.height,
    hovermode: "closest",
    hoverlabel: { bgcolor: palette.card, bordercolor: palette.grid, font: { ...font, size: 13 } },
    margin: { l: frame.l, r: frame.r, t: frame.t, b: frame.b, pad: 0 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: palette.muted, activecolor: palette.ink },
    dragmode: false,
    showlegend: legend,
    annotations: [
      ...titles.filter((a) => !found.some((p) => a.yref === "paper" && a.y === p.domain[1])).map((a) => ({ ...a, font })),
      ...found.flatMap((panel) => annotate(panel, frame, palette, heading(panel))),
    ],
    legend: {
      orientation: "h", x: 0, xanchor: "left", xref: "container", y: 1, yanchor: "top", yref: "container",
      font: { ...font, size: narrow ? 11 : 12.5 }, bgcolor: "rgba(0,0,0,0)",
    },
  });
  for (const [key, value] of Object.entries(layout)) {
    if (!/^[xy]axis\d*$/.test(key)) continue;
    const axis = dict(value);
    const up = key.startsWith("y");
    const panel = found.find((p) => p.axis === key);
    const title = typeof axis.title === "string" ? { text: axis.title } : dict(axis.title);
    layout[key] = {
      ...axis,
      automargin: !up || panel?.category === true,
      title: up ? { text: "" } : { standoff: narrow ? 4 : 8, ...title, font: { ...font, color: palette.muted } },
      // Names have no range: Plotly lays them out, in the order and direction that the figure asks for.
      ...(panel && !panel.category ? { range: panel.range, autorange: false } : {}),
      gridcolor: palette.grid,
      showgrid: up !== found.some((p) => p.category),
      linecolor: palette.edge,
      showline: true,
      ticks: "outside",
      ticklen: 4,
      tickcolor: palette.edge,
      tickfont: { ...font, size: narrow ? 10.5 : 12, color: palette.muted },
      ...(!up && axis.type === "log" && !axis.tickvals ? { ...acrossDecades(axis, narrow), tickangle: 0 } : {}),
      ...(panel?.category ? { dtick: 1 } : {}),
      ...(panel?.log ? decades(panel) : narrow && !axis.tickvals ? { nticks: 6 } : {}),
    };
  }
  return { data: spec.data.map((t) => trace(t, palette)), layout };
}

/** Whole powers of ten along x, as many as the width has room for. */
function acrossDecades(axis: Json, narrow: boolean): Json {
  const ends = Array.isArray(axis.range) ? axis.range.map(Number) : [0, 1];
  const span = Math.abs((ends[1] ?? 1) - (ends[0] ?? 0));
  return { tick0: 0, dtick: Math.max(1, Math.ceil(span / (narrow ? 4 : 9))) };
}

/** Whole powers of ten only, at most seven of them. */
function decades(panel: Panel): Json {
  const step = Math.max(1, Math.ceil((panel.range[1] - panel.range[0]) / 7));
  return { tick0: 0, dtick: step, exponentformat: "power" };
}

/** The palette of the page as it is now. */
export function pagePalette(): Palette {
  const style = getComputedStyle(document.body);
  const read = (name: string, fallback: string): string => style.getPropertyValue(name).trim() || fallback;
  return {
    role: (name) => read(`--mm-role-${name}`, read("--mm-role-a", "#555555")),
    ink: read("--mm-ink", "#222222"),
    muted: read("--mm-muted", "#666666"),
    grid: read("--mm-rule", "#dddddd"),
    edge: read("--mm-edge", "#bbbbbb"),
    card: read("--mm-card", "#ffffff"),
    font: read("--mm-sans", "sans-serif"),
  };
}

/** Call `listener` when the reader switches between light and dark; returns how to stop. */
export function onPalette(listener: () => void): () => void {
  const observer = new MutationObserver(listener);
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-md-color-scheme"] });
  return () => observer.disconnect();
}
