// The second view: a file of the typing suite, typed again keystroke by keystroke.

import { EditorState, StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, WidgetType } from "@codemirror/view";
import { get } from "./api.js";
import { code } from "./appearance.js";
import { frames } from "./playback.js";
import { element, percent, visible } from "./text.js";

const SPEEDS = [4, 12, 30, 90];
const setFrame = StateEffect.define();
const taken = Decoration.mark({ class: "taken" });

class ShownWidget extends WidgetType {
  constructor(text, verdict) {
    super();
    Object.assign(this, { text, verdict });
  }

  eq(other) {
    return other.text === this.text && other.verdict === this.verdict;
  }

  toDOM() {
    return element("span", { class: `ghost shown-${this.verdict}` }, visible(this.text));
  }
}

class CaretWidget extends WidgetType {
  eq() {
    return true;
  }

  toDOM() {
    return element("span", { class: "caret", "aria-hidden": "true" });
  }
}

const frameField = StateField.define({
  create: () => Decoration.none,
  update: (decorations, transaction) =>
    transaction.effects.find((effect) => effect.is(setFrame))?.value ?? decorations.map(transaction.changes),
  provide: (field) => EditorView.decorations.from(field),
});

/** Show the view in `root`; it loads its data the first time. */
export function createPlayback(root, onError) {
  let isLoaded = false;
  return async () => {
    if (isLoaded) return;
    isLoaded = true;
    root.replaceChildren(element("p", { class: "quiet" }, "Loading …"));
    try {
      const { files, accept } = await get("playground/typing");
      if (files.length) build(root, files, accept);
      else root.replaceChildren(element("p", {}, "The result of the suite has no recorded files; measure it again."));
    } catch (error) {
      isLoaded = false;
      if (error.status === 404) root.replaceChildren(missing());
      else onError(error);
    }
  };
}

function missing() {
  return element(
    "div",
    { class: "card" },
    element("p", {}, "There is no recording yet. The typing suite makes one: it types unseen files again with this model and counts the keystrokes saved."),
    element("pre", {}, "codeling evaluate RUN --suite typing"),
  );
}

function build(root, files, accept) {
  let file = files[0];
  let list = [];
  let at = 0;
  let timer = 0;
  const view = new EditorView({
    extensions: [
      code,
      frameField,
      EditorState.readOnly.of(true),
      EditorView.editable.of(false),
      EditorView.contentAttributes.of({ "aria-label": "Typed file", tabindex: "0" }),
    ],
  });
  const choice = element("select", { id: "file", onchange: () => open(files[choice.selectedIndex]) }, ...files.map((each) => element("option", {}, visible(each.name))));
  const play = element("button", { type: "button", onclick: () => (timer ? pause() : start()) }, "Play");
  const step = (by) => () => (pause(), go(at + by));
  const slider = element("input", { type: "range", min: "0", value: "0", "aria-label": "Keystroke", oninput: () => (pause(), go(Number(slider.value))) });
  const speed = element("select", { id: "speed" }, ...SPEEDS.map((each) => element("option", { value: String(each), selected: each === 12 }, `${each} keys/s`)));
  const counts = element("dl", { class: "counts" });
  const verdict = element("p", { class: "verdict", role: "status" });

  function open(next) {
    pause();
    file = next;
    list = frames(file);
    slider.max = String(list.length - 1);
    go(0);
  }

  function go(to) {
    at = Math.max(0, Math.min(list.length - 1, to));
    const frame = list[at];
    const characters = Array.from(file.text);
    const text = characters.slice(0, frame.at).join("");
    const units = (count) => characters.slice(0, count).join("").length;
    const ranges = frame.accepted.map(([from, to]) => taken.range(units(from), Math.min(units(to), text.length)));
    ranges.push(Decoration.widget({ widget: new CaretWidget(), side: 1 }).range(text.length));
    if (frame.shown) ranges.push(Decoration.widget({ widget: new ShownWidget(frame.shown, frame.verdict), side: 2 }).range(text.length));
    view.dispatch({
      changes: { from: 0, to: view.state.doc.length, insert: text },
      effects: [setFrame.of(Decoration.set(ranges, true)), EditorView.scrollIntoView(text.length, { y: "nearest" })],
    });
    slider.value = String(at);
    slider.setAttribute("aria-valuetext", `keystroke ${frame.keystrokes}`);
    const written = frame.keystrokes + frame.saved;
    counts.replaceChildren(
      count("Keystrokes", frame.keystrokes),
      count("Saved", `${frame.saved} of ${written} (${percent(written ? frame.saved / written : 0)})`),
      count("Shown", frame.numShown),
      count("Wrong", frame.numWrong),
    );
    verdict.className = `verdict ${frame.verdict}`;
    verdict.textContent = { right: "Shown, and taken", wrong: "Shown, and wrong", "": "Typed" }[frame.verdict];
  }

  function start() {
    if (at === list.length - 1) go(0);
    play.textContent = "Pause";
    const next = () => {
      go(at + 1);
      if (at === list.length - 1) return pause();
      // A suggestion stays long enough to be read.
      const hold = list[at].verdict && list[at].verdict !== list[at - 1]?.verdict ? 3 : 1;
      timer = setTimeout(next, (hold * 1000) / Number(speed.value));
    };
    timer = setTimeout(next, 0);
  }

  function pause() {
    clearTimeout(timer);
    timer = 0;
    play.textContent = "Play";
  }

  root.replaceChildren(
    element("p", { class: "quiet" }, `Unseen files, typed again with this model; a suggestion is taken by ${accept}. Indentation and line ends cost nothing.`),
    element(
      "div",
      { class: "card" },
      element(
        "div",
        { class: "controls" },
        element("label", { for: "file" }, "File"),
        choice,
        play,
        element("button", { type: "button", "aria-label": "One keystroke back", onclick: step(-1) }, "◂"),
        element("button", { type: "button", "aria-label": "One keystroke on", onclick: step(1) }, "▸"),
        element("label", { for: "speed" }, "Speed"),
        speed,
        slider,
      ),
      view.dom,
      element("div", { class: "statusline" }, verdict, counts),
      element("p", { class: "key" }, legend("taken", "taken from a suggestion"), legend("shown-right", "shown, right"), legend("shown-wrong", "shown, wrong")),
    ),
  );
  open(file);
}

function count(name, value) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, String(value)));
}

function legend(className, text) {
  return element("span", {}, element("i", { class: className }), text);
}
