/** What the page and the Python worker say to each other. */

export type Knobs = Record<string, string | number | boolean>;
export type Job =
  | { kind: "lab"; code: string; knobs: Knobs }
  | { kind: "exercise"; code: string; check: string };
export interface Check { name: string; passed: boolean; message: string }

export type Message =
  | { id: number; type: "status"; text: string }
  | { id: number; type: "stdout"; text: string }
  | { id: number; type: "result"; figure: unknown; table: unknown; text: string; ms: number }
  | { id: number; type: "checks"; results: Check[]; ms: number }
  | { id: number; type: "error"; message: string; traceback: string };

export type Outcome = Exclude<Message, { type: "status" } | { type: "stdout" }>;
export interface Listener { status?(text: string): void; stdout?(text: string): void }

/** The last line of a Python traceback is what went wrong; the rest is where. */
export function splitTraceback(text: string): { message: string; traceback: string } {
  const trimmed = text.trimEnd();
  const lines = trimmed.split("\n");
  // Our own frames tell a reader nothing: keep from the reader's code on.
  const start = lines.findIndex((line) => /File "<(lab|exercise|exec)>"/.test(line));
  const kept = start > 0 ? ["Traceback (most recent call last):", ...lines.slice(start)] : lines;
  return { message: lines.at(-1)?.trim() || "Python stopped without a message.", traceback: kept.join("\n") };
}
