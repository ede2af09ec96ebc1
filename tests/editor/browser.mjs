// Drives a headless browser for the VS Code tests: one JSON request a line on standard input, one answer a line on
// standard output. Knows the browser, nothing of editors.
//
//   node browser.mjs PLAYWRIGHT_FOLDER CHROMIUM PROFILE_FOLDER [PIXELS_PER_POINT]

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [playwrightFolder, executablePath, profile, scale = "1"] = process.argv.slice(2);
const { chromium } = createRequire(`${playwrightFolder}/`)("playwright-core");
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--force-color-profile=srgb",
];

// In the page: every change of the ghost text and of the status bar item, and every key, with the browser's clock.
function watch() {
  const log = (globalThis.quatrainLog = { ghosts: [], states: [], keys: [] });
  const plain = (text) => text.replaceAll("\u00a0", " ").replaceAll("\u200c", "").replaceAll("\u200b", "");
  globalThis.quatrainGhost = () => {
    const inline = [...document.querySelectorAll(".view-lines [class*='ghost-text-decoration']")];
    const below = [...document.querySelectorAll(".suggest-preview-text .view-line")];
    return plain(inline.map((span) => span.textContent).join("") + below.map((line) => `\n${line.textContent}`).join(""));
  };
  globalThis.quatrainState = () => {
    const item = document.getElementById("quatrain.quatrain.quatrain.status");
    return item ? `${item.textContent.trim()} | ${item.getAttribute("aria-label")}` : "";
  };
  const note = (list, text) => text !== (list.at(-1)?.text ?? "") && list.push({ time: performance.now(), text });
  const look = () => {
    note(log.ghosts, quatrainGhost());
    note(log.states, quatrainState());
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
  addEventListener("keydown", (event) => log.keys.push({ time: performance.now(), key: event.key }), true);
}

const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  args: FLAGS,
  viewport: { width: 1200, height: 760 },
  deviceScaleFactor: Number(scale),
});
context.setDefaultTimeout(30_000);
await context.addInitScript(watch);
let page = context.pages()[0] ?? (await context.newPage());
page.on("dialog", (dialog) => dialog.accept().catch(() => undefined));

const operations = {
  goto: ({ url }) => page.goto(url, { waitUntil: "domcontentloaded" }).then(() => null),
  evaluate: ({ script }) => page.evaluate(script),
  wait: ({ script, timeout }) => page.waitForFunction(script, undefined, { timeout, polling: 50 }).then((value) => value.jsonValue()),
  press: ({ key }) => page.keyboard.press(key).then(() => null),
  type: ({ text, delay }) => page.keyboard.type(text, { delay }).then(() => null),
  click: ({ selector }) => page.click(selector).then(() => null),
  hover: ({ selector }) => page.hover(selector).then(() => null),
  screenshot: ({ path, size }) => shoot(path, size),
};

async function shoot(path, size) {
  if (size) await page.setViewportSize({ width: size[0], height: size[1] });
  await page.screenshot({ path });
  return null;
}

process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const { operation, ...parameters } = JSON.parse(line);
  try {
    const result = await operations[operation](parameters);
    process.stdout.write(`${JSON.stringify({ result: result ?? null })}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ error: String(error?.message ?? error) })}\n`);
  }
}
await context.close();
