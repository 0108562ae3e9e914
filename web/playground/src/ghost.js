// Ghost text in CodeMirror: a widget after the cursor, which stays while it is typed.

import { StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, WidgetType } from "@codemirror/view";
import { proposerOf, tokensFrom } from "./suggestion.js";
import { element, visible } from "./text.js";

export const showGhost = StateEffect.define();
/** Marks a transaction that inserts a part of the suggestion. */
export const acceptGhost = StateEffect.define();

class GhostWidget extends WidgetType {
  constructor(ghost) {
    super();
    this.ghost = ghost;
  }

  eq(other) {
    return other.ghost.choice === this.ghost.choice && other.ghost.start === this.ghost.start;
  }

  toDOM() {
    const parts = tokensFrom(this.ghost.choice, this.ghost.start).map(({ index, token, text }) =>
      element("span", { class: `by-${proposerOf(token)}`, "data-token": String(index) }, visible(text)),
    );
    return element("span", { class: "ghost", "aria-hidden": "true" }, ...parts);
  }

  ignoreEvent() {
    return false;
  }
}

/** The suggestion that is shown: `choice`, its `position`, and the `start` of what is left of it. */
export const ghostField = StateField.define({
  create: () => null,
  update(ghost, transaction) {
    for (const effect of transaction.effects) {
      if (effect.is(showGhost)) return effect.value;
    }
    if (!ghost || (!transaction.docChanged && !transaction.selection)) return ghost;
    return remaining(ghost, transaction);
  },
  provide: (field) =>
    EditorView.decorations.from(field, (ghost) =>
      ghost
        ? Decoration.set(Decoration.widget({ widget: new GhostWidget(ghost), side: 1 }).range(ghost.position))
        : Decoration.none,
    ),
});

/** What is left of `ghost` after a transaction; null if the transaction is not its beginning. */
function remaining(ghost, transaction) {
  const { main } = transaction.state.selection;
  const left = ghost.choice.text.slice(ghost.start);
  const typed = transaction.docChanged ? main.head - ghost.position : 0;
  if (!main.empty || typed < 0 || typed >= left.length) return null;
  if (transaction.docChanged) {
    let changes = 0;
    transaction.changes.iterChanges((from, to, _, __, inserted) => {
      const fits = from === ghost.position && to === from && left.startsWith(inserted.toString());
      changes += fits ? 1 : 2;
    });
    if (changes !== 1) return null;
  } else if (main.head !== ghost.position) return null;
  return { ...ghost, position: ghost.position + typed, start: ghost.start + typed };
}

/** The text that is shown now, empty if there is none. */
export function ghostText(state) {
  const ghost = state.field(ghostField);
  return ghost ? ghost.choice.text.slice(ghost.start) : "";
}

/** A command that inserts the beginning of the suggestion whose length `lengthOf` tells. */
export const accept = (lengthOf) => (view) => {
  const text = ghostText(view.state);
  if (!text) return false;
  const part = text.slice(0, lengthOf(text));
  const from = view.state.field(ghostField).position;
  view.dispatch({
    changes: { from, insert: part },
    selection: { anchor: from + part.length },
    effects: acceptGhost.of(part),
    userEvent: "input.complete",
    scrollIntoView: true,
  });
  return true;
};

export function dismiss(view) {
  if (!view.state.field(ghostField)) return false;
  view.dispatch({ effects: showGhost.of(null) });
  return true;
}
