/** What the engine needs of the world around it; tests and the worker give it each in their way. */

import type { Progress } from "./api";
import type { Opened } from "./open";

export interface Site {
  /** Address of the folder with models.json, with a slash at its end. */
  folder: string;
  fetchBundle(
    url: string, expected: { bytes: number; sha256?: string }, progress?: (p: Progress) => void, signal?: AbortSignal,
  ): Promise<ArrayBuffer>;
  /** The content of models.json; EngineError "missing" where there is none. */
  list(url: string): Promise<unknown>;
  openFiles(files: { name: string; blob: Blob }[], progress?: (p: Progress) => void, signal?: AbortSignal): Promise<Opened>;
  /** Let messages in. */
  pause(): Promise<void>;
}
