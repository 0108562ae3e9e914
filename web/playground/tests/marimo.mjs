// Drives Chromium through a notebook in marimo: node tests/marimo.mjs OPTIONS, a JSON object with `url`,
// `chromium` and `pictures`. The notebook is nb.py of the proof.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const options = JSON.parse(process.argv[2]);
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: options.chromium, args: flags });
const page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
const statuses = [];
page.on("response", (response) => response.url().includes("/ai/inline_completion") && statuses.push(response.status()));
const cells = page.locator(".marimo-cell .cm-content");
const ghost = page.locator(".cm-inline-suggestion");

/** Type at the end of a cell, accept the ghost text that begins with `expected`, and return the last line. */
async function complete(index, text, expected) {
  await cells.nth(index).click();
  await page.keyboard.press("Control+End");
  await page.keyboard.type(text, { delay: 30 });
  const began = Date.now();
  await ghost.filter({ hasText: expected }).waitFor({ timeout: 20_000 }).catch(async (error) => {
    await page.screenshot({ path: `${options.pictures}/failed.png` });
    throw new Error(`${error.message}; shown: ${await ghost.allTextContents()}; answers: ${statuses}`);
  });
  console.error(`ghost text after ${Date.now() - began} ms`);
  await page.screenshot({ path: `${options.pictures}/cell-${index}.png` });
  const suggested = await ghost.textContent();
  await page.keyboard.press("Tab");
  await ghost.waitFor({ state: "detached" });
  const line = await cells.nth(index).locator(".cm-line").last().textContent();
  assert.ok(line.startsWith(text.trim() + suggested.split("\n")[0]), `${line} has ${suggested}`);
}

await page.goto(`${options.url}/`);
await cells.nth(1).waitFor({ timeout: 60_000 });
await complete(0, "\nvalue = compute_to", /^tal/);
await complete(1, "other = compute", /^_total\(11, 22\)/);
assert.ok(statuses.includes(200));
await browser.close();
console.log("done");
