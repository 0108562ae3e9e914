import assert from "node:assert/strict";
import { test } from "node:test";
import { frames } from "../src/playback.js";
import { Sitting, distinct, proposerOf, requestAt, tokensFrom } from "../src/suggestion.js";
import { lineLength, tokenLabel, visible, wellFormed, wordLength } from "../src/text.js";

test("a playback ends with the whole text and the suite's counts", () => {
  const text = "import os\n\n\ndef f(path):\n    return os.stat(path)\n";
  const events = [
    { position: 2, shown: "print", accepted: 0, saved: 0 },
    { position: 33 - 4, shown: "return os.stat(path)", accepted: 20, saved: 18 },
  ];
  const found = frames({ text, begin: 0, events });
  const last = found.at(-1);
  assert.equal(last.at, text.length - 1);
  assert.deepEqual([last.saved, last.numShown, last.numWrong], [18, 2, 1]);
  assert.deepEqual(last.accepted, [[29, 49]]);
  for (const [before, after] of found.slice(1).map((frame, i) => [found[i], frame])) {
    assert.ok(after.at >= before.at && after.keystrokes >= before.keystrokes);
  }
});

test("what is shown stays while it is typed, and counts code points", () => {
  const events = [{ position: 11, shown: "b🐍cd", accepted: 0, saved: 0 }];
  const found = frames({ text: "ab🐍x", begin: 10, events });
  assert.deepEqual(found.map((frame) => [frame.at, frame.shown, frame.verdict]), [
    [0, "", ""], [1, "", ""], [1, "b🐍cd", "wrong"], [2, "🐍cd", "wrong"], [3, "cd", "wrong"], [4, "", ""],
  ]);
});

test("the rest of a suggestion keeps the index of each token", () => {
  const choice = { text: "self.items", tokens: [{ text: "self" }, { text: "" }, { text: ".items" }] };
  assert.deepEqual(tokensFrom(choice, 0).map((each) => each.text), ["self", ".items"]);
  assert.deepEqual(tokensFrom(choice, 6).map((each) => [each.index, each.text]), [[2, "tems"]]);
  assert.deepEqual(tokensFrom({ text: "word", tokens: [] }, 1).map((each) => each.text), ["ord"]);
});

test("alternatives are distinct, and empty ones are none", () => {
  assert.deepEqual(distinct([{ text: "a" }, { text: "" }, { text: "a" }, { text: "b" }]).map((c) => c.text), ["a", "b"]);
});

test("a request takes the text around the cursor, of a text of any length", () => {
  const text = "x".repeat(5_000_000);
  const body = requestAt((from, to) => text.slice(from, to), 2_500_000, text.length);
  assert.deepEqual([body.prefix.length, body.suffix.length], [100_000, 20_000]);
});

test("the source of a token is the one with the largest share", () => {
  assert.equal(proposerOf({ shares: { model: 0.3, document: 0.7 } }), "document");
  assert.equal(proposerOf({}), "words");
});

test("a sitting counts what was saved, less the keystrokes that accepted it", () => {
  const sitting = new Sitting();
  assert.equal(sitting.share, 0);
  sitting.type("return ");
  sitting.accept("self.items");
  assert.equal(sitting.share, 9 / 16);
});

test("invisible characters can be seen", () => {
  assert.equal(visible("a\u202eb\u0000\n"), "a‹U+202E›b␀\n");
  assert.equal(tokenLabel("  x\n"), "␣␣x↵");
  assert.equal(wellFormed("a\ud800"), "a\ufffd");
});

test("words and lines are taken from the beginning", () => {
  assert.equal(wordLength("  größe_1 = 2"), 9);
  assert.equal(wordLength("(x)"), 1);
  assert.equal(lineLength("\n    return 1\nx"), 13);
  assert.equal(lineLength("a"), 1);
});
