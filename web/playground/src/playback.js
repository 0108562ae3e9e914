// The typing suite, keystroke by keystroke: the same rules as evaluation/typist.py. No DOM.

/** For each character, whether it has to be typed: not indentation, and not a line end. */
function counted(characters) {
  let inIndentation = true;
  return characters.map((character) => {
    if (character === "\n") inIndentation = true;
    else if (character.trim()) inIndentation = false;
    return !inIndentation;
  });
}

/**
 * What was on the screen after each keystroke.
 *
 * `text` is the part of a file that was typed, from its index `begin`; positions count code points
 * of the file. A frame has the number of characters `at` the cursor, what is `shown` after it,
 * the `verdict` on it (`right`, `wrong` or none), the counts so far, and what was `accepted`.
 */
export function frames({ text, begin, events }) {
  const characters = Array.from(text);
  const isTyped = counted(characters);
  const shownAt = new Map(events.map((event) => [event.position - begin, event]));
  const found = [];
  const counts = { keystrokes: 0, saved: 0, numShown: 0, numWrong: 0 };
  let at = 0;
  let shown = [];
  let verdict = "";
  const accepted = [];
  const add = () => found.push({ at, shown: shown.join(""), verdict, accepted: [...accepted], ...counts });
  while (at < characters.length) {
    const before = at;
    while (at < characters.length && !isTyped[at]) at += 1;
    if (at >= characters.length) break;
    if (at > before || at === 0) [shown, verdict] = [[], ""];
    const event = shown.length ? undefined : shownAt.get(at);
    if (event) {
      shown = Array.from(event.shown);
      verdict = event.accepted ? "right" : "wrong";
      counts.numShown += 1;
      counts.numWrong += event.accepted ? 0 : 1;
    }
    if (event || !found.length) add();
    counts.keystrokes += 1;
    if (event?.accepted) {
      accepted.push([at, at + event.accepted]);
      counts.saved += event.saved;
      at += event.accepted;
      [shown, verdict] = [[], ""];
    } else {
      shown = shown[0] === characters[at] ? shown.slice(1) : [];
      if (!shown.length) verdict = "";
      at += 1;
    }
    add();
  }
  return found;
}
