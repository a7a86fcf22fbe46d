/** What a training has told so far, as series and as a table. Pure. */

import type { TrainEvent } from "../runtime/protocol";

export interface Point { step: number; seconds: number; bits: number }
export interface Sample { step: number; seconds: number; text: string }
export interface Turn { step: number; seconds: number; rate: number }
export interface Run {
  loss: Point[]; held: Point[]; samples: Sample[]; turns: Turn[];
  step: number; seconds: number;
}

export const emptyRun = (): Run => ({ loss: [], held: [], samples: [], turns: [], step: 0, seconds: 0 });

/** Take in what came. A sample that grows replaces itself: one for each step at which it began. */
export function take(run: Run, events: TrainEvent[]): void {
  for (const { step, seconds, bits, held_out, sample } of events) {
    run.step = step;
    run.seconds = seconds;
    if (bits !== undefined) run.loss.push({ step, seconds, bits });
    if (held_out !== undefined) run.held.push({ step, seconds, bits: held_out });
    if (sample !== undefined) {
      if (run.samples.at(-1)?.step === step) run.samples.pop();
      run.samples.push({ step, seconds, text: sample });
    }
  }
}

/** The reader changed the learning rate. */
export function turn(run: Run, rate: number): void {
  if (run.turns.at(-1)?.rate === rate) return;
  if (run.turns.at(-1)?.step === run.step) run.turns.pop();
  run.turns.push({ step: run.step, seconds: run.seconds, rate });
}

/** The mean of each stretch of `wide` seconds: single batches differ too much to see a line. */
export function smooth(points: Point[], wide: number): Point[] {
  const out: Point[] = [];
  let [from, sum, count] = [0, 0, 0];
  points.forEach((point, i) => {
    sum += point.bits;
    count += 1;
    const next = points[i + 1];
    if (!next || Math.floor(next.seconds / wide) > from) {
      out.push({ ...point, bits: sum / count });
      [from, sum, count] = [Math.floor((next?.seconds ?? 0) / wide), 0, 0];
    }
  });
  return out;
}

/** Mean seconds of a step, over the last twenty; null before there are two. */
export function pace(run: Run): number | null {
  const last = run.loss.slice(-20);
  const [first, end] = [last[0], last.at(-1)];
  if (!first || !end || end.step === first.step) return null;
  // Samples and measurements stand between some steps: the median is the pace of a plain one.
  const gaps = last.slice(1).map((point, i) => point.seconds - (last[i]?.seconds ?? 0)).sort((a, b) => a - b);
  return gaps[gaps.length >> 1] ?? null;
}

/** One row for each measurement on held-out stories. */
export function rows(run: Run): Record<string, string | number>[] {
  return run.held.map(({ step, seconds, bits }) => ({
    step,
    "seconds": Number(seconds.toFixed(1)),
    "held-out bits per byte": Number(bits.toFixed(3)),
    "learning rate": run.turns.filter((t) => t.step <= step).at(-1)?.rate ?? "–",
  }));
}
