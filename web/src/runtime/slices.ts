/**
 * What a long job asks between two slices of its work: has the page said something? While paused it
 * waits here, and the worker's event loop is free. Pure but for a timer.
 */

import type { Control } from "./protocol";

export class Slices {
  private said: Control[] = [];
  private wake: (() => void) | null = null;
  paused = false;

  /** A message from the page, in order. */
  say(control: Control): void {
    this.said.push(control);
    this.wake?.();
  }

  /** The next thing the page wants, or null: do a slice of work. Lets messages arrive first. */
  async next(): Promise<Control | null> {
    await new Promise((go) => setTimeout(go, 0));
    for (;;) {
      const control = this.said.shift();
      if (control?.control === "pause") this.paused = true;
      else if (control?.control === "continue") this.paused = false;
      else if (control) return control;
      else if (!this.paused) return null;
      else await new Promise<void>((go) => (this.wake = go));
      this.wake = null;
    }
  }
}
