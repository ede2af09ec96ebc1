// The user's settings: what the server is told, and which documents are paused. Two of them, `enabled` and
// `disabledLanguages`, may differ between folders and languages; the client decides those and asks the server nothing.

import * as vscode from "vscode";
import { SERVER_SETTINGS } from "./generated/server-settings";

const DECIDED_HERE = new Set(["enabled", "disabledLanguages"]);

export type Paused = "disabled" | "language_disabled";

/** What the server gets, at start and whenever a setting changes. */
export function serverSettings(): Record<string, unknown> {
  const config = vscode.workspace.getConfiguration("quatrain");
  return Object.fromEntries(SERVER_SETTINGS.filter((name) => !DECIDED_HERE.has(name)).map((name) => [name, config.get(name)]));
}

/** Why completions are off in a document, if they are. */
export function paused(document: vscode.TextDocument | undefined): Paused | undefined {
  const scope = document ? { uri: document.uri, languageId: document.languageId } : undefined;
  const config = vscode.workspace.getConfiguration("quatrain", scope);
  if (!config.get("enabled", true)) return "disabled";
  const languages = config.get<string[]>("disabledLanguages", []);
  return document && languages.includes(document.languageId) ? "language_disabled" : undefined;
}

/** Turn completions on or off for the user. A workspace that says otherwise is mentioned. */
export async function toggleGlobally(): Promise<void> {
  const config = vscode.workspace.getConfiguration("quatrain");
  const on = !(config.inspect<boolean>("enabled")?.globalValue ?? true);
  await config.update("enabled", on ? undefined : false, vscode.ConfigurationTarget.Global);
  const document = vscode.window.activeTextEditor?.document;
  if ((paused(document) === "disabled") === on) {
    void vscode.window.showInformationMessage("Quatrain: this workspace or language has a setting of its own, which still holds.");
  }
}

/** Turn completions on or off in the workspace, or, with several folders, in the active document's folder. */
export async function toggleWorkspace(): Promise<void> {
  const folders = vscode.workspace.workspaceFolders;
  if (!folders?.length) {
    void vscode.window.showInformationMessage("Quatrain: no folder is open, so there is no workspace to remember this for.");
    return;
  }
  const uri = vscode.window.activeTextEditor?.document.uri;
  const folder = uri && folders.length > 1 ? vscode.workspace.getWorkspaceFolder(uri) : undefined;
  const config = vscode.workspace.getConfiguration("quatrain", folder?.uri ?? null);
  const on = !config.get("enabled", true);
  const theUsers = config.inspect<boolean>("enabled")?.globalValue ?? true;
  const target = folder ? vscode.ConfigurationTarget.WorkspaceFolder : vscode.ConfigurationTarget.Workspace;
  await config.update("enabled", on === theUsers ? undefined : on, target);
}

/** Add the active document's language to `disabledLanguages`, or take it out. */
export async function toggleLanguage(): Promise<void> {
  const language = vscode.window.activeTextEditor?.document.languageId;
  if (!language) return;
  const config = vscode.workspace.getConfiguration("quatrain");
  const before = config.inspect<string[]>("disabledLanguages")?.globalValue ?? [];
  const after = before.includes(language) ? before.filter((id) => id !== language) : [...before, language].sort();
  await config.update("disabledLanguages", after.length ? after : undefined, vscode.ConfigurationTarget.Global);
}
