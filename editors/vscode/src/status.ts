// The status bar item: one of missing, starting, loading, ready, thinking, paused, error. Only shows what it is told.

import * as vscode from "vscode";
import type { ServerStatus } from "./protocol";
import { sentence } from "./reasons";
import { paused } from "./settings";

const THINKING_AFTER_MS = 150;

/** What the client knows of the server process. */
export type Process =
  | { state: "missing" }
  | { state: "idle" }
  | { state: "starting" }
  | { state: "running" }
  | { state: "failed"; problem: string };

interface Shown {
  text: string;
  tooltip: string;
  background?: string;
}

export class StatusBar implements vscode.Disposable {
  private readonly item = vscode.window.createStatusBarItem("quatrain.status", vscode.StatusBarAlignment.Right, 100);
  private readonly followers: vscode.Disposable[];
  private process: Process = { state: "idle" };
  private server: ServerStatus | undefined;
  private remark = "";
  private pending = 0;
  private thinking = false;
  private timer: NodeJS.Timeout | undefined;

  constructor() {
    this.item.name = "Quatrain";
    this.item.command = "quatrain.menu";
    this.followers = [
      vscode.window.onDidChangeActiveTextEditor(() => this.render()),
      vscode.workspace.onDidChangeConfiguration((event) => event.affectsConfiguration("quatrain") && this.render()),
    ];
    this.render();
    this.item.show();
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.followers.forEach((follower) => follower.dispose());
    this.item.dispose();
  }

  /** The server process started, ended or failed. */
  setProcess(process: Process): void {
    this.process = process;
    if (process.state !== "running") this.server = undefined;
    void vscode.commands.executeCommand("setContext", "quatrain.running", process.state === "running");
    this.render();
  }

  /** The server said how it is. */
  setServer(status: ServerStatus): void {
    this.server = status;
    this.render();
  }

  /** A line for the tooltip, such as that the server had to be started again. */
  setRemark(remark: string): void {
    this.remark = remark;
    this.render();
  }

  /** Show “thinking” while `work` is under way, if it takes long enough to be worth a change. */
  async during<T>(work: Thenable<T>): Promise<T> {
    this.pending += 1;
    this.timer ??= setTimeout(() => this.setThinking(true), THINKING_AFTER_MS);
    try {
      return await work;
    } finally {
      this.pending -= 1;
      if (this.pending === 0) {
        clearTimeout(this.timer);
        this.timer = undefined;
        this.setThinking(false);
      }
    }
  }

  private setThinking(thinking: boolean): void {
    if (this.thinking === thinking) return;
    this.thinking = thinking;
    this.render();
  }

  private render(): void {
    const { text, tooltip, background } = this.shown();
    const lines = [`**Quatrain**: ${tooltip}`, this.remark].filter(Boolean);
    this.item.text = text;
    this.item.tooltip = new vscode.MarkdownString(lines.join("\n\n"));
    this.item.backgroundColor = background ? new vscode.ThemeColor(background) : undefined;
    this.item.accessibilityInformation = { label: `Quatrain: ${tooltip}`, role: "button" };
  }

  private shown(): Shown {
    if (this.process.state === "failed") return problem(this.process.problem);
    if (this.server?.state === "error") return problem(this.server.message);
    const why = paused(vscode.window.activeTextEditor?.document);
    if (why) return { text: "$(debug-pause) Quatrain", tooltip: `paused: ${sentence(why)}` };
    if (this.process.state === "missing") {
      return { text: "$(cloud-download) Quatrain", tooltip: "the server is not installed", background: "statusBarItem.warningBackground" };
    }
    if (this.process.state !== "running" || !this.server || this.server.state !== "ready") return starting(this.server);
    if (this.server.kind === "Warning") {
      return { text: "$(warning) Quatrain", tooltip: this.server.message, background: "statusBarItem.warningBackground" };
    }
    if (this.thinking) return { text: "$(loading~spin) Quatrain", tooltip: "thinking" };
    return { text: "$(quote) Quatrain", tooltip: this.server.message || "ready" };
  }
}

function problem(reason: string): Shown {
  return { text: "$(error) Quatrain", tooltip: `error: ${reason}`, background: "statusBarItem.errorBackground" };
}

function starting(server: ServerStatus | undefined): Shown {
  const percentage = server?.percentage ?? null;
  const text = percentage === null ? "$(sync~spin) Quatrain" : `$(sync~spin) Quatrain ${percentage} %`;
  return { text, tooltip: server?.message || "starting" };
}
