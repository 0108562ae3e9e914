// Drives Chromium through a notebook in JupyterLab: node tests/jupyter.mjs OPTIONS, a JSON object with
// `url`, `token` (Jupyter's), `pid` (Jupyter's), `chromium`, `pictures` and `secret`, the codeling server's
// token. `serve` is the command that starts that server; without it, Jupyter starts one itself. The
// notebook is nb.ipynb of the proof.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const options = JSON.parse(process.argv[2]);
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: options.chromium, args: flags });
const page = await browser.newPage({ viewport: { width: 1300, height: 900 } });
const sent = [];
const errors = [];
page.on("request", (request) => request.url().includes("codeling/complete") && sent.push(request));
page.on("pageerror", (error) => errors.push(error.message));
const complaints = page.locator(".jp-Dialog, .Toastify__toast--error, .Toastify__toast--warning");
const query = `token=${options.token}`;
const cells = page.locator(".jp-CodeCell .cm-content");
const ghost = page.locator(".jp-GhostText:not(.jp-GhostText-letterSpacer, .jp-GhostText-lineSpacer)");

async function allowKernel(useKernel) {
  const raw = JSON.stringify({ providers: { codeling: { enabled: true, timeout: 5000, debouncerDelay: 0, autoFillInMiddle: false, useKernel } } });
  const address = `${options.url}/lab/api/settings/@jupyterlab/completer-extension:inline-completer?${query}`;
  assert.equal((await page.request.put(address, { data: { raw } })).status(), 204);
}

async function open() {
  await page.goto(`${options.url}/lab/tree/nb.ipynb?${query}`);
  await cells.nth(2).waitFor({ timeout: 60_000 });
  await page.getByText("Python 3 (ipykernel) | Idle").waitFor({ timeout: 60_000 });
}

async function run(index) {
  await cells.nth(index).click();
  await page.keyboard.press("Shift+Enter");
  await page.locator(".jp-CodeCell").nth(index).locator(".jp-InputPrompt", { hasText: /\[\d+\]/ }).waitFor({ timeout: 30_000 });
}

/** Type into the last cell, and wait for ghost text that begins as `expected`; the time since the last key. */
async function type(text, expected) {
  await cells.nth(2).click();
  await page.keyboard.press("Control+a");
  await page.keyboard.press("Delete");
  await page.keyboard.type(text, { delay: 30 });
  const began = Date.now();
  if (expected) {
    await ghost.filter({ hasText: expected }).waitFor({ timeout: 10_000 }).catch(async (error) => {
      await page.screenshot({ path: `${options.pictures}/failed.png` });
      const answer = await sent.at(-1)?.response();
      throw new Error(`${error.message}; shown: ${await ghost.allTextContents()}; answer: ${await answer?.text()}`);
    });
  }
  return Date.now() - began;
}

/** The codeling server, once it answers; that of Jupyter starts with the first request. */
async function serve() {
  if (!options.serve) return;
  const [command, ...args] = options.serve;
  const env = { ...process.env, CODELING_TOKEN: options.secret };
  server = spawn(command, args, { env, stdio: ["ignore", "pipe", "inherit"] });
  await once(createInterface({ input: server.stdout }), "line");
}

function kill(signal) {
  if (server) return server.kill(signal) && once(server, "exit");
  const found = execFileSync("pgrep", ["-P", options.pid, "-f", "codeling serve"], { encoding: "utf8" });
  process.kill(Number(found), signal);
}

/** Type again and again while the server starts. */
async function typeUntilGhost() {
  const end = Date.now() + 60_000;
  for (;;) {
    await page.waitForTimeout(1000);
    await type("result = compute_to");
    if (await ghost.filter({ hasText: /^tal/ }).waitFor({ timeout: 4000 }).then(() => true, () => false)) return;
    assert.ok(Date.now() < end, "ghost text comes");
  }
}

/** End the server while a person types, and start it again: the notebook goes on, and says so. */
async function stop(signal) {
  await type("result = compute_to", /^tal/);
  const typing = type("y = compute_to");
  await page.waitForTimeout(200);
  await kill(signal);
  await typing;
  assert.equal(await cells.nth(2).textContent().then((text) => text.slice(0, 14)), "y = compute_to");
  if (server) {
    await type("z = comp");
    const status = page.getByText("codeling: no suggestions");
    await status.waitFor();
    assert.match(await status.getAttribute("title"), /^no answer from the codeling server/);
    assert.equal(await ghost.count(), 0);
    assert.equal(await cells.nth(2).textContent(), "z = comp");
  }
  assert.equal(await complaints.count(), 0);
  await page.screenshot({ path: `${options.pictures}/stopped-by-${signal}.png` });
  await serve();
  const began = Date.now();
  await typeUntilGhost();
  console.error(`ghost text again ${((Date.now() - began) / 1000).toFixed(1)} s after ${signal}`);
  assert.equal(await complaints.count(), 0);
  await page.screenshot({ path: `${options.pictures}/again-after-${signal}.png` });
}

const kernelIds = async () => (await (await page.request.get(`${options.url}/api/kernels?${query}`)).json()).map((each) => each.id);

let server = null;
process.on("exit", () => server?.kill("SIGKILL"));
await serve();
await allowKernel(false);
await open();
await run(0);
await run(1);
await typeUntilGhost();
const times = [];
for (let n = 0; n < 5; n += 1) times.push(await type("result = compute_to", /^tal/));
times.sort((a, b) => a - b);
console.error(`ghost text after ${times.join(", ")} ms`);
assert.ok(times[2] < 500);
await page.screenshot({ path: `${options.pictures}/jupyterlab.png` });
await page.keyboard.press("Tab");
assert.match(await cells.nth(2).textContent(), /^result = compute_total/);
await page.getByText(/codeling: \d+ ms/).waitFor();

await type("df.qu");
await page.waitForTimeout(1500);
assert.ok(sent.length > 5);
assert.ok(sent.every((request) => !request.postData().includes("quarterly_revenue")), "columns are not sent");
assert.ok(sent.every((request) => !JSON.stringify(request.headers()).includes(options.secret)), "the page has no token");
assert.ok(sent.at(-1).postData().indexOf("# Load the data") < sent.at(-1).postData().indexOf("def compute_total"));

await allowKernel(true);
await open();
await run(0);
await run(1);
await type("df.qu", /^arterly_revenue/);
await page.screenshot({ path: `${options.pictures}/jupyterlab-columns.png` });

const [kernel] = await kernelIds();
assert.ok((await page.request.post(`${options.url}/api/kernels/${kernel}/restart?${query}`)).ok());
await page.waitForTimeout(3000);
await type("result = compute_to", /^tal/);
assert.ok(!sent.at(-1).postData().includes("quarterly_revenue"), "a restarted kernel has no columns");

for (const signal of ["SIGTERM", "SIGKILL"]) await stop(signal);
assert.deepEqual(errors, []);
await browser.close();
server?.kill();
console.log("done");
