/** What a model reads of a talk: all of it through its template, or the texts one under the other. */

import type { Message } from "../engine/api";
import type { Session } from "./session";

/** The ids of the talk, with room for `len` more; the oldest turns are left out where the context is full. */
export async function readTalk(session: Session, model: string, talk: Message[], len: number): Promise<{ ids: number[]; left: number }> {
  const { engine } = session;
  const room = Math.max(1, (session.info(model)?.context ?? 512) - len);
  for (let left = 0; ; left += 2) {
    const kept = talk.slice(left);
    const read = session.chats(model) ? await engine.chat(model, kept) : await engine.encode(model, kept.map((message) => message.content).join("\n"));
    if (read.ids.length <= room || left + 2 >= talk.length) return { ids: read.ids.slice(-room), left };
  }
}

/** Texts in turn, the reader's first, as messages. */
export function messages(texts: string[]): Message[] {
  return texts.map((content, i) => ({ role: i % 2 ? "assistant" : "user", content }));
}
