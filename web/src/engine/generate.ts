/** Token after token: read, score, shape, draw. With a draft model, several at a time. */

import { EngineError, type Drawn, type Edit, type Finished, type GenerateRequest } from "./api";
import { softmax } from "./odds";
import { chances } from "./random";
import { drawFrom, settings, shape } from "./sampling";
import type { Session } from "./session";
import { speculate } from "./speculative";
import { TextStream, type Tokenizer } from "./tokenizer";
import { placed, told } from "./trace";

/** Who writes: a model with what it has read, its tokenizer, and the edits that always hold. */
export interface Writer { session: Session; tokenizer: Tokenizer; edits: Edit[] }
/** One drawn token and the model's own distribution (V) before it. */
export interface Choice { id: number; probabilities: Float64Array; drafted?: boolean }

/** Lets others have their turn; `stopped` tells whether to end. */
export interface Turn { rest(): Promise<void>; stopped(): boolean }

export async function generate(
  writer: Writer, request: GenerateRequest, tell: (token: Drawn) => void, turn: Turn, draft?: Writer,
): Promise<Finished> {
  const { config } = writer.session.model;
  const sampling = settings(request.sampling);
  const room = config.context - request.ids.length;
  const most = Math.min(request.maxTokens, room);
  if (!(most >= 1)) throw new EngineError(`There is no room for another token: the text has ${request.ids.length} of ${config.context} tokens.`, "input");
  const chance = chances(sampling.seed);
  const text = new TextStream(writer.tokenizer);
  const top = Math.max(0, request.alternatives ?? 5);
  const ids = request.ids.slice();
  const finished: Finished = { reason: "length", tokens: 0, seconds: 0, tokensPerSecond: 0 };
  if (draft) Object.assign(finished, { accepted: 0, drafted: 0 });
  while (finished.tokens < most) {
    const began = performance.now();
    if (turn.stopped()) {
      finished.reason = "aborted";
      break;
    }
    const left = most - finished.tokens;
    const history = { ids, given: request.ids.length };
    let choices: Choice[];
    if (draft && request.draft && left > 1) {
      const step = speculate(writer, draft, history, sampling, Math.min(request.draft.tokens, left - 1), chance);
      finished.drafted! += step.guessed;
      finished.accepted! += step.choices.filter((choice) => choice.drafted).length;
      choices = step.choices;
    } else choices = [plain(writer, history, sampling, chance)];
    for (const { id, probabilities, drafted } of choices) {
      ids.push(id);
      finished.tokens++;
      const stop = config.stops.includes(id);
      if (stop) finished.reason = "stop";
      const { probability, rank } = placed(probabilities, id, writer.tokenizer);
      const whole = text.push(id) + (stop || finished.tokens === most ? text.finish() : "");
      tell({ id, text: whole, probability, rank, top: told(probabilities, top, writer.tokenizer), ...(drafted ? { drafted } : {}) });
      if (stop) break;
    }
    finished.seconds += (performance.now() - began) / 1000; // of computing: a tab that sleeps meanwhile makes no model slow
    if (finished.reason === "stop") break;
    await turn.rest();
  }
  finished.tokensPerSecond = finished.tokens / Math.max(finished.seconds, 1e-6);
  return finished;
}

function plain(writer: Writer, history: { ids: number[]; given: number }, sampling: ReturnType<typeof settings>, chance: () => number): Choice {
  const { session, edits } = writer;
  session.advance(history.ids, edits);
  const scores = session.scores();
  if (!scores.every(Number.isFinite)) throw new EngineError("The model's scores are not finite, so no token can be drawn; its weights are broken.", "damaged");
  return { id: drawFrom(shape(scores, sampling, history), chance), probabilities: softmax(scores) };
}
