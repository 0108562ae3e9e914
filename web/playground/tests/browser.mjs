// Drives Chromium through the page: node tests/browser.mjs OPTIONS, a JSON object with `url`, `token`,
// `chromium`, `pictures` (a folder), `passage` (a text that the training data contains) and `name`,
// the part to run.
// The proof in tests/serving/playground/test_in_chromium.py starts it and the server.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const options = JSON.parse(process.argv[2]);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: options.chromium, args: flags });
const address = `${options.url}/#token=${options.token}`;
const done = [];

/** Run `steps` on a new page; everything that the page asks for or complains of is judged. */
async function onPage(name, settings, steps, isAllowed = () => false) {
  if (name !== options.name) return;
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...settings });
  const page = await context.newPage();
  const complaints = [];
  const listen = (each) => {
    each.on("request", (request) => {
      if (!request.url().startsWith(options.url) && !request.url().startsWith("data:")) complaints.push(`asks ${request.url()}`);
    });
    each.on("pageerror", (error) => complaints.push(error.message));
    each.on("dialog", (dialog) => (complaints.push(`dialog ${dialog.message()}`), dialog.dismiss()));
    each.on("console", (message) => {
      if (message.type() === "error" && !isAllowed(message.text())) complaints.push(message.text());
    });
  };
  listen(page);
  context.on("page", listen);
  await page.goto(address);
  try {
    await steps(page, context);
  } catch (error) {
    await page.screenshot({ path: `${options.pictures}/failed-${name}.png`, fullPage: true });
    throw error;
  }
  assert.deepEqual(complaints, [], name);
  await context.close();
  done.push(name);
}

const editor = (page) => page.locator("#editor .cm-content");
const text = (page) => page.evaluate(() => [...document.querySelectorAll("#editor .cm-line")].map((line) => [...line.childNodes].filter((node) => !node.matches?.(".ghost, .cm-widgetBuffer")).map((node) => node.textContent).join("")).join("\n"));
const ghost = (page) => page.locator("#editor .ghost");
const clear = async (page) => {
  await editor(page).click();
  await page.keyboard.press("Control+a");
  await page.keyboard.press("Delete");
};

/** Type lines of which the last repeats the first, so that the memory of the file knows what follows. */
async function typeKnown(page) {
  await clear(page);
  await page.keyboard.insertText("total = compute_total(first, second, third)\nprint(total)\n\n");
  await page.keyboard.type("total = compute_total(fi", { delay: 25 });
  await ghost(page).waitFor();
}

async function serious(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  return found.violations
    .filter((each) => ["serious", "critical"].includes(each.impact))
    .map((each) => `${each.id}: ${each.nodes.map((node) => node.html).join(" ").slice(0, 300)}`);
}

await onPage("writing", {}, async (page) => {
  await editor(page).waitFor();
  const usable = await page.evaluate(() => performance.getEntriesByName("usable")[0].startTime);
  assert.ok(usable < 1000, `usable after ${usable} ms`);
  console.error(`usable after ${usable.toFixed(0)} ms`);
  assert.equal(await page.evaluate(() => location.hash), "");

  await typeKnown(page);
  const whole = await ghost(page).textContent();
  const before = await text(page);
  await page.keyboard.type(whole[0]);
  assert.equal(await ghost(page).textContent(), whole.slice(1), "what is typed stays shown");
  await page.keyboard.press("Control+ArrowRight");
  const rest = await ghost(page).textContent();
  assert.ok(rest.length < whole.length - 1, "a word is accepted");
  await page.keyboard.press("Tab");
  assert.equal(await text(page), before + whole);
  assert.match(await page.locator("#saved").textContent(), /^[1-9]\d* % of \d+ characters saved$/);
  assert.match(await page.locator("#latency").textContent(), /^\d+ ms/);

  await typeKnown(page);
  await page.keyboard.press("Escape");
  assert.equal(await ghost(page).count(), 0);
  await page.keyboard.press("Alt+\\");
  await ghost(page).waitFor();
  await page.keyboard.press("Alt+]");
  await page.getByText(/alternative 2 of \d/).waitFor();
  const second = await ghost(page).textContent();
  await page.keyboard.press("Alt+[");
  await page.getByText(/alternative 1 of \d/).waitFor();
  assert.notEqual(await ghost(page).textContent(), second);

  const tokens = page.locator("#suggestion .token:visible");
  assert.ok((await tokens.count()) > 2);
  await tokens.nth(1).focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await tokens.nth(2).getAttribute("aria-pressed"), "true");
  assert.equal(await page.locator("#token-details tbody tr").count(), 5);
  assert.match(await page.locator("#token-details p").first().textContent(), /comes from .*(this file|the model)/);
  assert.match(await page.locator("#suggestion").textContent(), /this file/);
  await page.screenshot({ path: `${options.pictures}/writing-light.png`, fullPage: true });
  assert.deepEqual(await serious(page), []);

  await editor(page).click();
  await page.keyboard.press("Escape");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.closest("#editor")), null, "Esc, Tab leaves the editor");
});

await onPage("sources", {}, async (page, context) => {
  await clear(page);
  await page.keyboard.insertText(`import os\n\n${options.passage}\n`);
  const entry = page.locator("#sources li").first();
  await entry.waitFor();
  assert.ok((await entry.textContent()).includes("<script>alert(1)</script>‹U+202E›<fim_prefix>"));
  assert.match(await entry.textContent(), /lines 3 to \d+/);
  assert.ok((await page.locator(".source-mark:visible").count()) > 3);
  await entry.locator("button").click();
  assert.match(await page.evaluate(() => getSelection().toString()), /^def /);
  await page.check("#cut");
  await page.locator(".cut-0").first().waitFor();
  await page.screenshot({ path: `${options.pictures}/sources-light.png`, fullPage: true });
  assert.deepEqual(await serious(page), []);
  const [report] = await Promise.all([context.waitForEvent("page"), page.getByRole("link", { name: "Report" }).click()]);
  await report.waitForLoadState();
  assert.equal(await report.textContent("body"), "the report");
});

await onPage("playback", {}, async (page) => {
  await page.getByRole("tab", { name: "Playback" }).click();
  await page.getByRole("button", { name: "Play" }).waitFor();
  assert.ok((await page.locator("#file option").first().textContent()).includes("<script>"));
  await page.locator("#playback input[type=range]").focus();
  await page.keyboard.press("End");
  assert.match(await page.locator(".counts").textContent(), /Saved[1-9]/);
  assert.ok((await page.locator(".taken").count()) > 0);
  await page.keyboard.press("Home");
  for (let key = 0; key < 5; key += 1) await page.getByRole("button", { name: "One keystroke on" }).click();
  assert.equal(await page.locator("#playback .shown-right").first().textContent(), "mean(xs)");
  assert.equal(await page.locator(".verdict").textContent(), "Shown, and taken");
  await page.screenshot({ path: `${options.pictures}/playback-light.png`, fullPage: true });
  await page.selectOption("#speed", "90");
  await page.getByRole("button", { name: "Play" }).click();
  await page.waitForFunction(() => document.querySelector("#playback input").value === document.querySelector("#playback input").max);
  await page.getByRole("button", { name: "Play" }).waitFor();
  assert.deepEqual(await serious(page), []);
});

await onPage("dark", { colorScheme: "dark", reducedMotion: "reduce" }, async (page) => {
  await typeKnown(page);
  await page.screenshot({ path: `${options.pictures}/writing-dark.png`, fullPage: true });
  assert.deepEqual(await serious(page), []);
  await page.getByRole("tab", { name: "Playback" }).click();
  await page.getByRole("button", { name: "One keystroke on" }).click();
  assert.deepEqual(await serious(page), []);
});

await onPage("phone", { viewport: { width: 400, height: 800 }, hasTouch: true }, async (page) => {
  await typeKnown(page);
  await page.screenshot({ path: `${options.pictures}/writing-phone.png`, fullPage: true });
  const [before, whole] = [await text(page), await ghost(page).textContent()];
  await page.getByRole("button", { name: "Word" }).tap();
  await page.getByRole("button", { name: "Accept" }).tap();
  assert.equal(await text(page), before + whole, "a finger accepts too");
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 400);
  assert.deepEqual(await serious(page), []);
  await page.getByRole("tab", { name: "Playback" }).click();
  await page.getByRole("button", { name: "Play" }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 400);
});

await onPage("hostile", {}, async (page) => {
  await clear(page);
  const line = "x = '<script>window.hacked = 1</script><img src=x onerror=hacked=1>' + \"\u202e\u2066\" # <|endoftext|> <fim_suffix>\n";
  await page.evaluate((pasted) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", pasted);
    document.querySelector("#editor .cm-content").dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
  }, line.repeat(Math.ceil(5_000_000 / line.length)));
  const began = Date.now();
  await page.keyboard.type("x = '<scr", { delay: 25 });
  await page.keyboard.press("Alt+\\");
  await page.locator("#latency:not(.failed)", { hasText: /^\d+ ms/ }).waitFor();
  console.error(`5 MB: a few keys and an answer in ${Date.now() - began} ms`);
  await page.check("#cut");
  await page.locator(".cut-0").first().waitFor();
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.locator("#editor script, #editor img:not(.cm-widgetBuffer), aside script").count(), 0);
});

// Served without a memory and without a run folder.
await onPage("bare model", {}, async (page) => {
  await page.locator("#summary", { hasText: "no memory · no provenance index" }).waitFor();
  await clear(page);
  await page.keyboard.type("total_of_values = 1\nprint(total_of", { delay: 25 });
  await ghost(page).waitFor();
  assert.match(await page.locator("#sources").textContent(), /no provenance index/);
  assert.equal(await page.locator("#pages a").count(), 0);
  await page.getByRole("tab", { name: "Playback" }).click();
  await page.getByText("codeling evaluate RUN --suite typing").waitFor();
  assert.deepEqual(await serious(page), []);
}, (message) => message.includes("404"));

await onPage(
  "stopped server",
  {},
  async (page) => {
    await typeKnown(page);
    await page.route("**/playground/complete", (route) => route.abort());
    await page.keyboard.type("zz\nab");
    await page.getByText("is codeling serve still running?").waitFor();
    await page.unroute("**/playground/complete");
    await typeKnown(page);
  },
  (message) => message.includes("ERR_FAILED"),
);

await onPage(
  "wrong token",
  {},
  async (page) => {
    await page.evaluate(() => sessionStorage.setItem("codeling-token", "another"));
    await page.reload();
    await page.getByLabel("Token", { exact: true }).fill(options.token);
    await page.getByRole("button", { name: "Open" }).click();
    await page.locator("#summary", { hasText: "vocabulary" }).waitFor();
  },
  (message) => message.includes("401"),
);

await browser.close();
console.log(JSON.stringify({ done }));
