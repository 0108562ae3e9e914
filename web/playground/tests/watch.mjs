// Opens the page of codeling watch and answers, for each line on standard input, what it shows:
// node tests/watch.mjs OPTIONS, a JSON object with `url`, `token`, `chromium` and `pictures`.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const options = JSON.parse(process.argv[2]);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: options.chromium, args: flags });
const page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
const complaints = [];
page.on("request", (request) => {
  if (!request.url().startsWith(options.url) && !request.url().startsWith("data:")) complaints.push(`asks ${request.url()}`);
});
page.on("pageerror", (error) => complaints.push(error.message));
page.on("dialog", (dialog) => {
  complaints.push(`dialog ${dialog.message()}`);
  dialog.dismiss();
});
page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
await page.goto(`${options.url}/#token=${options.token}`);

/** The step in the first tile, and the curve of each step as the x of its points. */
const shown = () =>
  page.evaluate(() => {
    const path = document.querySelector("#plots .curve.faint")?.getAttribute("d") ?? "";
    return {
      step: Number(document.querySelector("#tiles dd")?.firstChild.textContent.replaceAll(",", "") ?? 0),
      state: document.querySelector("#state").textContent,
      pieces: (path.match(/M/g) ?? []).length,
      xs: [...path.matchAll(/[ML]([\d.]+)/g)].map((found) => Number(found[1])),
      sample: document.querySelector("#sample").textContent,
      rows: [...document.querySelectorAll("#rows pre")].map((row) => row.textContent),
      name: document.querySelector("#name").textContent,
      special: [...document.querySelectorAll("#rows .special")].map((each) => each.textContent),
      tags: [...new Set([...document.querySelectorAll("h1 *, #sample *, #rows *")].map((each) => each.localName))].sort(),
      left: document.querySelectorAll("#tiles dd")[4]?.firstChild.textContent ?? "",
    };
  });

async function serious() {
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  return found.violations.filter((each) => ["serious", "critical"].includes(each.impact)).map((each) => each.id);
}

for await (const name of createInterface({ input: process.stdin })) {
  if (name === "afterwards") complaints.push(...(await serious()));
  await page.screenshot({ path: `${options.pictures}/${name}.png`, fullPage: true });
  console.log(JSON.stringify({ ...(await shown()), complaints }));
}
await browser.close();
