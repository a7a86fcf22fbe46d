/** CodeMirror with Python colours from the page's CSS variables. A chunk of its own, loaded on demand. */

import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { python } from "@codemirror/lang-python";
import { HighlightStyle, bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { EditorState } from "@codemirror/state";
import { EditorView, drawSelection, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import type { EditorOptions, Surface } from "./editor";

const colors = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.controlKeyword, tags.definitionKeyword, tags.moduleKeyword], color: "var(--mm-code-keyword)" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--mm-code-string)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--mm-code-number)" },
  { tag: [tags.comment], color: "var(--mm-code-comment)", fontStyle: "italic" },
  { tag: [tags.function(tags.definition(tags.variableName)), tags.definition(tags.className)], color: "var(--mm-code-name)" },
  { tag: [tags.meta], color: "var(--mm-code-comment)" },
]);

const theme = EditorView.theme({
  "&": { fontSize: "var(--mm-code-size)", backgroundColor: "transparent", color: "var(--mm-ink)" },
  "&.cm-focused": { outline: "2px solid var(--mm-focus)", outlineOffset: "1px" },
  ".cm-content": { fontFamily: "var(--mm-mono)", lineHeight: "1.55", fontVariantLigatures: "none", padding: "0.7em 0", caretColor: "var(--mm-ink)" },
  ".cm-gutters": { backgroundColor: "transparent", border: "none", color: "var(--mm-muted)", fontFamily: "var(--mm-mono)" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--mm-active-line)" },
  ".cm-cursor": { borderLeftColor: "var(--mm-ink)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--mm-selection)" },
  ".cm-matchingBracket": { backgroundColor: "var(--mm-selection)", outline: "none" },
  ".cm-scroller": { maxHeight: "34rem", overflow: "auto" },
});

export function codeMirror(
  parent: HTMLElement,
  options: EditorOptions,
  described: string,
  leaving: (on: boolean) => void,
): Surface {
  const run = (): boolean => {
    options.run?.();
    return true;
  };
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: options.value,
      extensions: [
        lineNumbers(), history(), drawSelection(), indentOnInput(), bracketMatching(), highlightActiveLine(),
        indentUnit.of("    "), python(), syntaxHighlighting(colors), theme,
        keymap.of([{ key: "Mod-Enter", run, preventDefault: true }, ...defaultKeymap, ...historyKeymap, indentWithTab]),
        EditorView.contentAttributes.of({ "aria-label": options.label, "aria-describedby": described, tabindex: "0" }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) options.changed?.();
        }),
        EditorView.domEventHandlers({
          keydown: (event) => {
            // CodeMirror itself lets Tab leave for two seconds after Esc; here it is only said aloud.
            leaving(event.key === "Escape");
            return false;
          },
          blur: () => leaving(false),
        }),
      ],
    }),
  });
  return {
    value: () => view.state.doc.toString(),
    set: (text) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }),
    focus: () => view.focus(),
    destroy: () => view.destroy(),
  };
}
