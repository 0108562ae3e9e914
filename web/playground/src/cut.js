// The tokenizer's cut as colours, for the lines on the screen.

import { StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, ViewPlugin } from "@codemirror/view";
import { post } from "./api.js";
import { wellFormed } from "./text.js";

const MAX_CHARACTERS = 20_000;
const NUM_COLOURS = 4;
const setCut = StateEffect.define();

const cutField = StateField.define({
  create: () => Decoration.none,
  update(marks, transaction) {
    const found = transaction.effects.find((effect) => effect.is(setCut));
    return found ? found.value : marks.map(transaction.changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});

const marks = Array.from({ length: NUM_COLOURS }, (_, n) => Decoration.mark({ class: `cut cut-${n}` }));

/** An extension, and a function that switches it on and off. */
export function tokenCut(onError) {
  let isOn = false;
  let timer = 0;

  async function refresh(view) {
    if (!isOn) return view.dispatch({ effects: setCut.of(Decoration.none) });
    const { from, to } = view.viewport;
    const begin = view.state.doc.lineAt(from).from;
    const end = Math.min(to, begin + MAX_CHARACTERS);
    const doc = view.state.doc;
    try {
      const { ends } = await post("playground/tokens", { text: wellFormed(doc.sliceString(begin, end)) });
      if (!isOn || view.state.doc !== doc) return;
      let start = 0;
      const ranges = [];
      for (const each of ends) {
        if (each > start) ranges.push(marks[ranges.length % NUM_COLOURS].range(begin + start, begin + each));
        start = each;
      }
      view.dispatch({ effects: setCut.of(Decoration.set(ranges)) });
    } catch (error) {
      onError(error);
    }
  }

  const plugin = ViewPlugin.define(() => ({
    update(update) {
      if (isOn && (update.docChanged || update.viewportChanged)) {
        clearTimeout(timer);
        timer = setTimeout(() => refresh(update.view), 150);
      }
    },
    destroy: () => clearTimeout(timer),
  }));
  return {
    extension: [cutField, plugin],
    toggle(view, value) {
      isOn = value;
      refresh(view);
    },
  };
}
