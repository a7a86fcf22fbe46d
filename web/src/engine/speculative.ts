/**
 * Speculative decoding: a small model guesses a few tokens, the large one checks them all in one pass.
 *
 * A guess x stands with probability min(1, p(x) / q(x)), where q is what the small model drew it from and
 * p what the large one would draw from. At the first that falls, a token is drawn from max(0, p - q).
 * Together x comes with probability p(x), as if the large model had drawn alone (Leviathan et al. 2023,
 * arXiv:2211.17192; Chen et al. 2023, arXiv:2302.01318). Both are shaped by the same sampling filters.
 */

import type { Sampling } from "./api";
import type { Choice, Writer } from "./generate";
import { CHUNK } from "./model";
import { softmax } from "./odds";
import { drawFrom, shape, type History } from "./sampling";

/** From 1 to `ahead` + 1 tokens that follow the history, and how many were guessed. */
export function speculate(
  writer: Writer, draft: Writer, history: History, sampling: Sampling, ahead: number, chance: () => number,
): { choices: Choice[]; guessed: number } {
  const { ids, given } = history;
  const room = draft.session.model.config.context - ids.length;
  const most = Math.max(0, Math.min(ahead, room, CHUNK - 1));
  const text = ids.slice();
  const guessedFrom: Float64Array[] = [];
  while (guessedFrom.length < most) {
    draft.session.advance(text, draft.edits);
    const q = shape(draft.session.scores(), sampling, { ids: text, given });
    guessedFrom.push(q);
    text.push(drawFrom(q, chance));
  }
  const guesses = text.slice(ids.length);
  writer.session.advance(text, writer.edits, guesses.length + 1);
  const scores = writer.session.scores(guesses.length + 1);
  const size = scores.length / (guesses.length + 1);
  const choices: Choice[] = [];
  for (let place = 0; place <= guesses.length; place++) {
    const row = scores.subarray(place * size, (place + 1) * size);
    const p = shape(row, sampling, { ids: text.slice(0, ids.length + place), given });
    const probabilities = softmax(row);
    const id = guesses[place];
    if (id === undefined) {
      choices.push({ id: drawFrom(p, chance), probabilities });
      break;
    }
    const q = guessedFrom[place]!;
    if (chance() * q[id]! < p[id]!) {
      choices.push({ id, probabilities, drafted: true });
      continue;
    }
    const missing = p.map((value, i) => Math.max(0, value - q[i]!));
    choices.push({ id: drawFrom(missing, chance), probabilities });
    break;
  }
  return { choices, guessed: guesses.length };
}
