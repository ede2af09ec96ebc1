// The commands a user can run. Each is a few lines over the modules that do the work.

import * as vscode from "vscode";
import type { Client } from "./client";
import { installServer } from "./install";
import { acceptNode } from "./node-accept";
import type { Refusal, Report } from "./protocol";
import { sentence } from "./reasons";
import { paused, toggleGlobally, toggleLanguage, toggleWorkspace } from "./settings";

const PASSING = new Set(["superseded", "cancelled"]);

export function registerCommands(context: vscode.ExtensionContext, client: Client, log: vscode.LogOutputChannel): void {
  const commands: Record<string, () => unknown> = {
    "quatrain.toggle": toggleGlobally,
    "quatrain.toggleLanguage": toggleLanguage,
    "quatrain.toggleWorkspace": toggleWorkspace,
    "quatrain.acceptNode": () => acceptNode(client),
    "quatrain.why": () => why(client),
    "quatrain.statistics": () => statistics(client),
    "quatrain.showLog": () => log.show(),
    "quatrain.restart": () => client.start(),
    "quatrain.install": () => install(context, client, log),
    "quatrain.menu": menu,
  };
  for (const [name, run] of Object.entries(commands)) {
    context.subscriptions.push(vscode.commands.registerCommand(name, run));
  }
}

/** Install the server and start it; a failure is told with a way to the log. */
export async function install(context: vscode.ExtensionContext, client: Client, log: vscode.LogOutputChannel): Promise<void> {
  try {
    await client.stop();
    await installServer(context, log);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    log.error(`installing the server: ${reason}`);
    const answer = await vscode.window.showErrorMessage(`Quatrain could not install its server: ${reason}`, "Show Log");
    if (answer) log.show();
  }
  await client.start();
}

/** Say why the active document got no suggestion, most recent reason first. */
async function why(client: Client): Promise<void> {
  const document = vscode.window.activeTextEditor?.document;
  const off = paused(document);
  const report = off ? undefined : await client.report();
  let text: string;
  if (off) text = `${sentence(off)}.`;
  else if (!report) text = "the server is not running.";
  else if (report.state !== "ready") text = `the model is not ready: ${report.message || report.state}.`;
  else text = explain(report, document?.uri.fsPath);
  const answer = await vscode.window.showInformationMessage(`No suggestion: ${text}`, "Show Log", "Open Settings");
  if (answer === "Show Log") await vscode.commands.executeCommand("quatrain.showLog");
  if (answer === "Open Settings") await vscode.commands.executeCommand("workbench.action.openSettings", "quatrain");
}

function explain(report: Report, path: string | undefined): string {
  const newest = [...report.recent].reverse();
  const here = newest.filter((refusal) => refusal.path === path);
  const pick = (list: Refusal[]): Refusal | undefined => list.find((refusal) => !PASSING.has(refusal.reason)) ?? list[0];
  const refusal = pick(here);
  if (!refusal) return "nothing was refused in this file lately.";
  return `${sentence(refusal.reason)} (${refusal.reason}, at ${refusal.time}).`;
}

async function statistics(client: Client): Promise<void> {
  const report = await client.report();
  if (!report) {
    void vscode.window.showInformationMessage("Quatrain: the server is not running.");
    return;
  }
  const ms = (value: number | null): string => (value === null ? "–" : `${Math.round(value)} ms`);
  const engine = Object.entries(report.engine).map(([name, value]) => `${name} ${value}`);
  const reasons = Object.entries(report.reasons)
    .sort(([, a], [, b]) => b - a)
    .map(([reason, count]) => `${count} × ${sentence(reason)}`);
  const detail = [
    `Offered ${report.offered}, accepted ${report.accepted}, partly accepted ${report.partlyAccepted}`,
    `Time to an answer: median ${ms(report.medianMs)}, 95th percentile ${ms(report.p95Ms)}`,
    ...(engine.length ? ["", ...engine] : []),
    ...(reasons.length ? ["", "Nothing offered:", ...reasons] : []),
  ];
  await vscode.window.showInformationMessage("Quatrain in this session", { modal: true, detail: detail.join("\n") });
}

/** What a click on the status bar offers. */
async function menu(): Promise<void> {
  const document = vscode.window.activeTextEditor?.document;
  const off = paused(document);
  const entries = [
    { label: off === "disabled" ? "$(play) Turn completions on" : "$(debug-pause) Turn completions off", run: "quatrain.toggle" },
    ...(document ? [{ label: `$(code) On or off for ${document.languageId}`, run: "quatrain.toggleLanguage" }] : []),
    ...(vscode.workspace.workspaceFolders ? [{ label: "$(folder) On or off in this workspace", run: "quatrain.toggleWorkspace" }] : []),
    { label: "$(question) Why was there no suggestion?", run: "quatrain.why" },
    { label: "$(graph) Statistics", run: "quatrain.statistics" },
    { label: "$(output) Log", run: "quatrain.showLog" },
    { label: "$(debug-restart) Restart the server", run: "quatrain.restart" },
    { label: "$(cloud-download) Install or update the server", run: "quatrain.install" },
    { label: "$(gear) Settings", run: "workbench.action.openSettings", argument: "@ext:quatrain.quatrain" },
  ];
  const chosen = await vscode.window.showQuickPick(entries, { title: "Quatrain" });
  if (chosen) await vscode.commands.executeCommand(chosen.run, ...("argument" in chosen ? [chosen.argument] : []));
}
