/** What the page and the Python worker say to each other. */

export type Knobs = Record<string, string | number | boolean>;
export type Job =
  | { kind: "lab"; code: string; knobs: Knobs }
  /** `data`: files below assets/build/data/ that the check reads. */
  | { kind: "exercise"; code: string; check: string; data: string[] }
  | { kind: "train"; code: string; knobs: Knobs };
/** What the page may say to a training between two of its steps. */
export type Control =
  | { control: "pause" }
  | { control: "continue" }
  | { control: "finish" }
  | { control: "save" }
  | { control: "knobs"; knobs: Knobs };
/** What a training yields; `seconds` are those of computing, pauses left out. */
export interface TrainEvent {
  step: number; seconds: number;
  loss?: number; bits?: number; held_out?: number; sample?: string;
}
export interface Check { name: string; passed: boolean; message: string }

export type Message =
  | { id: number; type: "status"; text: string }
  | { id: number; type: "stdout"; text: string }
  | { id: number; type: "begun"; parameters: number; floor: number; bigram: number }
  | { id: number; type: "progress"; events: TrainEvent[] }
  | { id: number; type: "saved"; data: Uint8Array }
  | { id: number; type: "trained" }
  | { id: number; type: "result"; figure: unknown; table: unknown; text: string; ms: number }
  | { id: number; type: "checks"; results: Check[]; ms: number }
  | { id: number; type: "error"; message: string; traceback: string };

type OnTheWay = "status" | "stdout" | "begun" | "progress" | "saved";
export type Outcome = Exclude<Message, { type: OnTheWay }>;
export interface Listener {
  status?(text: string): void;
  stdout?(text: string): void;
  begun?(about: { parameters: number; floor: number; bigram: number }): void;
  progress?(events: TrainEvent[]): void;
  saved?(data: Uint8Array): void;
}

/** The last line of a Python traceback is what went wrong; the rest is where. */
export function splitTraceback(text: string): { message: string; traceback: string } {
  const trimmed = text.trimEnd();
  const lines = trimmed.split("\n");
  // Our own frames tell a reader nothing: keep from the reader's code on.
  const start = lines.findIndex((line) => /File "<(lab|exercise|exec)>"/.test(line));
  const kept = start > 0 ? ["Traceback (most recent call last):", ...lines.slice(start)] : lines;
  return { message: lines.at(-1)?.trim() || "Python stopped without a message.", traceback: kept.join("\n") };
}
