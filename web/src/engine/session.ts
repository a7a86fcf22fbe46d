/**
 * A model with the text that it has read: what was read before is not computed again, as long as the
 * beginning of the text and the changes to the pass are the same.
 *
 * Here the reader's edits become hooks of the pass.
 */

import { EngineError, type Edit } from "./api";
import { CHUNK, type Hooks, type LowRank, type Model, type Placed } from "./model";

/** An edit's effect: what hooks do, which adapters are on, and a name for both together. */
interface Change { name: string; hooks: Hooks; adapters: LowRank[] }
type Patch = Extract<Edit, { kind: "patch" }>;

export class Session {
  readonly adapters = new Map<string, Placed>();
  private read: number[] = [];
  private under = "";
  /** Where patches come from: the stream of one other text, (L+1) arrays of T · D. */
  private source: { name: string; stream: Float32Array[] } = { name: "", stream: [] };

  constructor(readonly model: Model) {}

  /**
   * Read `ids`, so that afterwards `scores` can score what follows the last `keep` of them. With
   * `watch` every token is computed, and its hooks see it; the edits' hooks come first.
   */
  advance(ids: readonly number[], edits: readonly Edit[] = [], keep = 1, watch?: Hooks): void {
    this.check(ids);
    const change = this.change(edits);
    const { model } = this;
    let known = 0;
    if (!watch && this.under === change.name) {
      const most = Math.min(this.read.length, ids.length - keep);
      while (known < most && this.read[known] === ids[known]) known++;
      known = this.lasting(known, ids.length);
    }
    this.read = ids.slice(0, known);
    this.under = change.name;
    model.length = known;
    model.use(change.adapters);
    const hooks = watch ? both(change.hooks, watch) : change.hooks;
    while (known < ids.length) {
      const left = ids.length - known;
      const n = left <= keep || left <= CHUNK ? left : Math.min(CHUNK, left - keep);
      model.forward(ids.slice(known, known + n), hooks, ids.length);
      known += n;
      this.last = n;
      this.read = ids.slice(0, known);
    }
  }
  private last = 0;

  /** Scores (keep, V) of what follows the last `keep` tokens; a view that the next pass overwrites. */
  scores(keep = 1): Float32Array {
    return this.model.logits(this.last - keep, keep);
  }

  /** Take an adapter out, and what it held. */
  drop(id: string): void {
    const gone = this.adapters.get(id);
    if (!gone) return;
    this.adapters.delete(id);
    this.model.give(gone, this.adapters.values());
    this.forget();
  }

  /** Forget what was read: what the model holds has changed. */
  forget(): void {
    this.read = [];
    this.source = { name: "", stream: [] };
    this.model.length = 0;
  }

  /**
   * How many of the known tokens serve a text of this length. With dynamic scaling every length turns
   * all keys anew, and deeper layers saw the old turns: past the trained length what is known serves
   * the one token that follows it, as in the package's cache, and any other text is read from the start.
   */
  private lasting(known: number, length: number): number {
    const { type, original } = this.model.config.rope;
    const { length: read } = this.read;
    const stretched = type === "dynamic" && Math.max(read, length) > original;
    return stretched && (known !== read || length !== known + 1) ? 0 : known;
  }

  private check(ids: readonly number[]): void {
    const { vocabulary, context } = this.model.config;
    if (!ids.length) throw new EngineError("There is no token to read; give at least one.", "input");
    if (ids.length > context) throw new EngineError(`The text has ${ids.length} tokens, and this model reads at most ${context}; shorten it.`, "input");
    // By place: what a broken tokenizer gives may be undefined, which find could not tell from nothing.
    const strange = ids.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary);
    if (strange >= 0) throw new EngineError(`${ids[strange]} is no token of this model; they go from 0 to ${vocabulary - 1}.`, "input");
  }

  private change(edits: readonly Edit[]): Change {
    const scales = new Map<string, number>();
    const heads: [number, number][] = [];
    const cut = new Set<string>();
    const refused = new Map<number, Set<number>>();
    const patches: Patch[] = [];
    const { config } = this.model;
    for (const edit of edits) {
      if (edit.kind === "adapter") {
        if (!this.adapters.has(edit.id)) throw new EngineError(`This model has no adapter “${edit.id}” loaded; load it first.`, "input");
        scales.set(edit.id, edit.scale);
        continue;
      }
      within("layer", edit.layer, edit.kind === "patch" ? -1 : 0, config.layers);
      if (edit.kind === "head") heads.push([edit.layer, within("head", edit.head, 0, config.heads)]);
      else if (edit.kind === "expert") {
        within("expert", edit.expert, 0, config.sparse[edit.layer] ? config.experts : 0);
        refused.set(edit.layer, (refused.get(edit.layer) ?? new Set()).add(edit.expert));
      } else if (edit.kind === "patch") patches.push(edit);
      else for (const part of ["attention", "mlp"]) if (edit.part === part || edit.part === "both") cut.add(`${edit.layer} ${part}`);
    }
    const on = [...scales].filter(([, scale]) => scale !== 0);
    const adapters = on.map(([id, scale]): LowRank => {
      const adapter = this.adapters.get(id)!;
      return { layers: adapter.layers, scale: adapter.scale * scale };
    });
    const sources = patches.map((patch) => this.takeFrom(patch, adapters, JSON.stringify(on)));
    const { headSize, hidden } = config;
    const inner = config.heads * headSize;
    const hooks: Hooks = {
      heads: (layer, _start, n, out) => {
        for (const [at, head] of heads) {
          for (let t = 0; at === layer && t < n; t++) out.fill(0, t * inner + head * headSize, t * inner + (head + 1) * headSize);
        }
      },
      branch: (layer, part, _start, _n, added) => {
        if (cut.has(`${layer} ${part}`)) added.fill(0);
      },
      stream: (layer, start, n, x) => {
        for (const [i, { layer: at, position }] of patches.entries()) {
          if (at === layer && position >= start && position < start + n) x.set(sources[i]!, (position - start) * hidden);
        }
      },
      refused: (layer) => refused.get(layer),
    };
    return { name: JSON.stringify([on, heads, [...cut], [...refused].map(([layer, set]) => [layer, ...set]), patches]), hooks, adapters };
  }

  /** The stream of a pass over the patch's own ids, with the adapters and no other edit. */
  private takeFrom({ layer, fromIds, fromPosition }: Patch, adapters: LowRank[], on: string): Float32Array {
    this.check(fromIds);
    within("fromPosition", fromPosition, 0, fromIds.length);
    const { hidden, layers } = this.model.config;
    const name = JSON.stringify([fromIds, on]);
    if (this.source.name !== name) {
      const stream = Array.from({ length: layers + 1 }, () => new Float32Array(fromIds.length * hidden));
      this.forget();
      this.model.use(adapters);
      for (let at = 0; at < fromIds.length; at += CHUNK) {
        const keep: Hooks = { stream: (where, start, _n, x) => stream[where + 1]!.set(x, start * hidden) };
        this.model.forward(fromIds.slice(at, at + CHUNK), keep, fromIds.length);
      }
      this.source = { name, stream };
    }
    return this.source.stream[layer + 1]!.slice(fromPosition * hidden, (fromPosition + 1) * hidden);
  }
}

function within(what: string, value: number, low: number, end: number): number {
  if (!Number.isInteger(value) || value < low || value >= end) throw new EngineError(`There is no ${what} ${value} in this model; they go from ${low} to ${end - 1}.`, "input");
  return value;
}

/** Two hooks of each kind as one, the first one first. */
function both(first: Hooks, second: Hooks): Hooks {
  return {
    stream: (...given) => (first.stream?.(...given), second.stream?.(...given)),
    heads: (...given) => (first.heads?.(...given), second.heads?.(...given)),
    branch: (...given) => (first.branch?.(...given), second.branch?.(...given)),
    ...(second.attention ? { attention: second.attention } : {}),
    ...(second.neurons ? { neurons: second.neurons } : {}),
    ...(second.experts ? { experts: second.experts } : {}),
    ...(first.refused ? { refused: first.refused } : {}),
  };
}
