/** One live figure: Plotly in a box, themed, redrawn on palette change, purged when the page is left. */

import { assetUrl } from "../assets";
import { onPalette, pagePalette, paint } from "./theme";
import type { Json, Spec } from "./theme";

interface PlotlyApi {
  react(node: HTMLElement, data: Json[], layout: Json, config: Json): Promise<unknown>;
  purge(node: HTMLElement): void;
}

let loading: Promise<PlotlyApi> | undefined;
/** Plotly's cartesian bundle, fetched once, only when a figure needs it. */
export function plotly(): Promise<PlotlyApi> {
  loading ??= new Promise<PlotlyApi>((resolve, reject) => {
    const script = document.createElement("script");
    script.src = assetUrl("plotly.min.js");
    script.onload = () => {
      keepStyles();
      resolve((window as unknown as { Plotly: PlotlyApi }).Plotly);
    };
    script.onerror = () => {
      loading = undefined;
      reject(new Error("The figure's script could not be loaded."));
    };
    document.head.append(script);
  });
  return loading;
}

/**
 * Plotly writes its rules into a <style> of the head, and instant navigation removes from the head
 * what the next page does not have: keep them where it does not look.
 */
function keepStyles(): void {
  const sheet = new CSSStyleSheet();
  for (const style of document.querySelectorAll<HTMLStyleElement>('style[id^="plotly.js-style"]')) {
    for (const rule of style.sheet?.cssRules ?? []) sheet.insertRule(rule.cssText, sheet.cssRules.length);
  }
  document.adoptedStyleSheets.push(sheet);
}

const CONFIG: Json = {
  responsive: false,
  displaylogo: false,
  displayModeBar: "hover",
  scrollZoom: false,
  modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
};

export class LiveFigure {
  private spec: Spec | null = null;
  private stops: (() => void)[] = [];
  private width = 0;

  constructor(
    readonly node: HTMLElement,
    private height: number | null,
  ) {
    this.stops.push(onPalette(() => void this.draw()));
    const observer = new ResizeObserver(() => {
      if (this.spec && Math.abs(this.node.clientWidth - this.width) > 1) void this.draw();
    });
    observer.observe(node);
    this.stops.push(() => observer.disconnect());
  }

  async show(spec: Spec): Promise<void> {
    this.spec = spec;
    await this.draw();
  }

  private async draw(): Promise<void> {
    const spec = this.spec;
    if (!spec || !this.node.isConnected) return;
    const api = await plotly();
    if (!this.node.isConnected) return;
    this.width = this.node.clientWidth;
    const wanted = Number((spec.layout as { height?: unknown }).height) || 360;
    const height = this.height ?? wanted;
    // Plotly's own layers are out of the flow: the box itself must have the height.
    this.node.style.height = `${height}px`;
    const painted = paint(spec, pagePalette(), { width: this.width, height });
    await api.react(this.node, painted.data, painted.layout, CONFIG);
    label(this.node);
  }

  purge(): void {
    for (const stop of this.stops) stop();
    this.stops = [];
    if (this.spec) void plotly().then((api) => api.purge(this.node));
    this.spec = null;
  }
}

/** Plotly's mode bar is made of nameless links: name them, and keep them out of the tab order. */
function label(node: HTMLElement): void {
  for (const button of node.querySelectorAll<HTMLElement>(".modebar-btn")) {
    button.setAttribute("aria-label", button.dataset.title ?? "figure tool");
    button.setAttribute("role", "button");
    button.tabIndex = -1;
  }
}
