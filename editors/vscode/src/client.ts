// One language server for the window: starts it, stops it, starts it again when it dies, and passes messages.

import * as vscode from "vscode";
import {
  CloseAction,
  ErrorAction,
  LanguageClient,
  type ErrorHandler,
  type InlineCompletionParams,
  type LanguageClientOptions,
  type Middleware,
} from "vscode-languageclient/node";
import { Offers, type Piece } from "./offer";
import { DID_CHANGE_STATUS, DID_PARTIALLY_ACCEPT, DID_SHOW, INLINE_COMPLETION, STATUS, type Report, type ServerStatus } from "./protocol";
import { findServer } from "./server";
import { passOn } from "./server-log";
import { paused, serverSettings } from "./settings";
import type { StatusBar } from "./status";

const SCHEMES = ["file", "untitled", "vscode-notebook-cell", "vscode-vfs", "vscode-userdata"];
const LAST_WORDS_MS = 2000;
const DEATHS = 4;
const DEATHS_MS = 3 * 60_000;

export class Client implements vscode.Disposable {
  private client: LanguageClient | undefined;
  private readonly offers = new Offers();
  private deaths: number[] = [];
  private queue: Promise<void> = Promise.resolve();
  private lastLine = "";
  private saidAll: Promise<void> = Promise.resolve();
  private spoke = false;

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly log: vscode.LogOutputChannel,
    private readonly status: StatusBar,
  ) {}

  dispose(): Promise<void> {
    return this.stop();
  }

  get running(): boolean {
    return this.client?.isRunning() ?? false;
  }

  /** Start the server, in place of one that runs. Problems go to the status bar; false if no server is installed. */
  async start(): Promise<boolean> {
    let installed = true;
    await this.inTurn(async () => {
      await this.end();
      const found = await findServer(this.context);
      installed = found !== undefined;
      if (!found) return this.status.setProcess({ state: "missing" });
      if ("problem" in found) return this.fail(found.problem);
      this.log.info(`starting ${found.command} (from ${found.from})`);
      this.status.setProcess({ state: "starting" });
      this.deaths = [];
      await this.launch(found.command);
    });
    return installed;
  }

  stop(): Promise<void> {
    return this.inTurn(() => this.end());
  }

  /** Everything the server counts, or undefined if it does not run. */
  async report(): Promise<Report | undefined> {
    return this.running ? this.client?.sendRequest<Report>(STATUS, {}) : undefined;
  }

  /** Tell the server about changed settings. */
  sendSettings(): void {
    if (this.running) {
      void this.client?.sendNotification("workspace/didChangeConfiguration", { settings: { quatrain: serverSettings() } });
    }
  }

  /** See `Offers.nextPiece`. */
  nextPiece(document: vscode.TextDocument, cursor: vscode.Position): Piece | undefined {
    const uri = this.client?.code2ProtocolConverter.asUri(document.uri);
    return uri === undefined ? undefined : this.offers.nextPiece(document, uri, cursor);
  }

  partlyAccepted(): void {
    if (this.running) void this.client?.sendNotification(DID_PARTIALLY_ACCEPT, {});
  }

  /** Starts and stops follow one another, however fast they are asked for. */
  private inTurn(work: () => Promise<void> | void): Promise<void> {
    this.queue = this.queue.then(work, work);
    return this.queue;
  }

  private async end(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    this.status.setRemark("");
    this.status.setProcess({ state: "idle" });
    await client?.dispose(2000).catch((error: unknown) => this.log.warn(`stopping the server: ${String(error)}`));
  }

  private async launch(command: string): Promise<void> {
    this.lastLine = "";
    this.spoke = false;
    await vscode.workspace.fs.createDirectory(this.context.globalStorageUri);
    const cwd = this.context.globalStorageUri.fsPath;
    const client = new LanguageClient("quatrain", "Quatrain", { command, args: ["serve"], options: { cwd } }, this.options());
    this.client = client;
    client.onNotification(DID_CHANGE_STATUS, (status: ServerStatus) => {
      if (this.client !== client) return;
      this.spoke = true;
      this.status.setProcess({ state: "running" });
      this.status.setServer(status);
    });
    try {
      await client.start();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      await this.lastWords();
      this.fail(`the server did not start: ${this.lastLine || reason}`);
    }
  }

  /** Until a server that ended has been heard out: a failed write to it is noticed before the line that says why. */
  private async lastWords(): Promise<void> {
    await Promise.race([this.saidAll, new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS))]);
  }

  private fail(problem: string): void {
    this.log.error(problem);
    this.status.setProcess({ state: "failed", problem });
  }

  private options(): LanguageClientOptions {
    return {
      documentSelector: SCHEMES.map((scheme) => ({ scheme })),
      outputChannel: this.log,
      stdioOptions: {
        stdout: (input, log) => void passOn(input, log, () => undefined),
        stderr: (input, log) => {
          this.saidAll = passOn(input, log, (line) => (this.lastLine = line));
        },
      },
      initializationOptions: serverSettings,
      initializationFailedHandler: () => false,
      errorHandler: this.errorHandler(),
      middleware: this.middleware(),
    };
  }

  private middleware(): Middleware {
    return {
      provideInlineCompletionItems: (document, position, context, token, next) => {
        if (paused(document)) return undefined;
        return this.status.during(Promise.resolve(next(document, position, context, token)));
      },
      sendRequest: async (type, params, token, next) => {
        const answer = await next(type, params, token);
        const method = typeof type === "string" ? type : type.method;
        if (method === INLINE_COMPLETION && !token?.isCancellationRequested) this.offered(params as InlineCompletionParams, answer);
        return answer;
      },
    };
  }

  /** The editor gets an answer; one that has text is about to be shown. */
  private offered(params: InlineCompletionParams, answer: unknown): void {
    this.offers.remember(params, answer);
    const item: unknown = Array.isArray(answer) ? answer[0] : undefined;
    if (item) void this.client?.sendNotification(DID_SHOW, { item });
  }

  /** A server that dies is started again, unless it died before it said anything or has just died several times. */
  private errorHandler(): ErrorHandler {
    const giveUp = (problem: string): { action: CloseAction; handled: boolean } => {
      this.fail(this.lastLine ? `${problem}: ${this.lastLine}` : problem);
      return { action: CloseAction.DoNotRestart, handled: true };
    };
    return {
      error: () => ({ action: ErrorAction.Continue, handled: true }),
      closed: async () => {
        await this.lastWords();
        if (!this.spoke) return giveUp("the server did not start");
        const now = Date.now();
        this.deaths = [...this.deaths.filter((time) => now - time < DEATHS_MS), now];
        if (this.deaths.length > DEATHS) return giveUp(`the server ended ${this.deaths.length} times within three minutes`);
        this.log.warn("the server ended unexpectedly; starting it again");
        this.spoke = false;
        this.status.setProcess({ state: "starting" });
        this.status.setRemark(`The server ended unexpectedly and was started again at ${new Date(now).toLocaleTimeString()}.`);
        return { action: CloseAction.Restart, handled: true };
      },
    };
  }
}
