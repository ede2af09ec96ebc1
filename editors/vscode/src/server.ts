// Finds the program to run: the user's setting, then PATH, then the extension's own environment. Starts nothing.

import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import * as vscode from "vscode";

export type Found = { command: string; from: "setting" | "path" | "own" };
export type Missing = { problem: string };

const WINDOWS = process.platform === "win32";
const NAMES = WINDOWS ? ["quatrain.exe", "quatrain.cmd", "quatrain.bat"] : ["quatrain"];

/** Where a virtual environment in `folder` keeps its programs. */
export function programIn(folder: string, name: string): string {
  return WINDOWS ? path.join(folder, "Scripts", `${name}.exe`) : path.join(folder, "bin", name);
}

/** The environment that the extension makes for itself. */
export function ownEnvironment(context: vscode.ExtensionContext): string {
  return path.join(context.globalStorageUri.fsPath, "server");
}

/** The server, or a sentence that says why there is none; undefined if nothing is installed and nothing was asked for. */
export async function findServer(context: vscode.ExtensionContext): Promise<Found | Missing | undefined> {
  const wanted = settingValue();
  if (wanted) {
    const command = wanted.replace(/^~(?=[\\/])/, os.homedir());
    if (!path.isAbsolute(command)) return { problem: `quatrain.server.path must be an absolute path, not “${wanted}”` };
    if (!(await isProgram(command))) return { problem: `quatrain.server.path: no program at ${command}` };
    return { command, from: "setting" };
  }
  const onPath = await searchPath();
  if (onPath) return { command: onPath, from: "path" };
  const own = programIn(ownEnvironment(context), "quatrain");
  return (await isProgram(own)) ? { command: own, from: "own" } : undefined;
}

/** `quatrain.server.path`, never from a workspace that is not trusted. */
function settingValue(): string {
  const setting = vscode.workspace.getConfiguration("quatrain.server").inspect<string>("path");
  const chosen = vscode.workspace.isTrusted ? setting?.workspaceValue || setting?.globalValue : setting?.globalValue;
  return (chosen ?? "").trim();
}

/** The first `quatrain` on PATH. Relative entries are skipped: they would be looked up in the workspace. */
async function searchPath(): Promise<string | undefined> {
  for (const folder of (process.env["PATH"] ?? "").split(path.delimiter).filter((entry) => path.isAbsolute(entry))) {
    for (const name of NAMES) {
      const candidate = path.join(folder, name);
      if (await isProgram(candidate)) return candidate;
    }
  }
  return undefined;
}

async function isProgram(file: string): Promise<boolean> {
  try {
    await fs.access(file, WINDOWS ? fs.constants.F_OK : fs.constants.X_OK);
    return (await fs.stat(file)).isFile();
  } catch {
    return false;
  }
}
