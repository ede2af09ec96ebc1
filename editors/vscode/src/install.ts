// Makes the extension's own virtual environment and installs the server into it, with visible progress.

import { spawn } from "node:child_process";
import * as fs from "node:fs/promises";
import * as vscode from "vscode";
import { ownEnvironment, programIn } from "./server";

const PYTHONS: [string, string[]][] =
  process.platform === "win32"
    ? [["py", ["-3"]], ["python", []], ["python3", []]]
    : [["python3", []], ["python3.14", []], ["python3.13", []], ["python3.12", []], ["python3.11", []], ["python", []]];
const PROBE = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";

/** Whether the user wants the server to be installed. */
export async function offerInstall(): Promise<boolean> {
  const install = "Install";
  const choose = "I Have It Already…";
  const answer = await vscode.window.showInformationMessage(
    "Quatrain’s language server is not installed. Install it into an environment of its own? " +
      "This downloads about 250 MB from the Python package index; the model (about 490 MB) follows at the first start.",
    install,
    choose,
  );
  if (answer === choose) await vscode.commands.executeCommand("workbench.action.openSettings", "quatrain.server.path");
  return answer === install;
}

/** Install or update. Throws with a sentence when it fails. */
export async function installServer(context: vscode.ExtensionContext, log: vscode.LogOutputChannel): Promise<string | undefined> {
  const options = { location: vscode.ProgressLocation.Notification, title: "Quatrain", cancellable: true };
  return vscode.window.withProgress(options, async (progress, token) => {
    const folder = ownEnvironment(context);
    const show = (line: string): void => {
      log.info(line);
      progress.report({ message: shorten(line) });
    };
    try {
      show("looking for Python 3.11 or newer");
      const [python, before] = await findPython(token);
      show("making a virtual environment");
      await fs.mkdir(context.globalStorageUri.fsPath, { recursive: true });
      await run(python, [...before, "-m", "venv", folder], log.info.bind(log), token);
      const what = vscode.workspace.getConfiguration("quatrain.server").inspect<string>("package");
      const wanted = what?.globalValue || what?.defaultValue || "quatrain";
      const pip = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--upgrade", wanted];
      await run(programIn(folder, "python"), pip, show, token);
    } catch (error) {
      if (token.isCancellationRequested) return undefined;
      throw error;
    }
    return programIn(folder, "quatrain");
  });
}

async function findPython(token: vscode.CancellationToken): Promise<[string, string[]]> {
  for (const [program, before] of PYTHONS) {
    const works = await run(program, [...before, "-c", PROBE], () => undefined, token).then(
      () => true,
      () => false,
    );
    if (works) return [program, before];
  }
  throw new Error("no Python 3.11 or newer with the venv module was found on PATH");
}

/** Run a program to its end, giving its output line by line. Throws with its last line if it fails. */
function run(program: string, args: string[], each: (line: string) => void, token: vscode.CancellationToken): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], windowsHide: true });
    const cancelled = token.onCancellationRequested(() => child.kill());
    let last = "";
    const take = (chunk: Buffer): void => {
      for (const line of chunk.toString().split(/[\r\n]+/)) {
        if (!line.trim()) continue;
        last = line.trim();
        each(last);
      }
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.on("error", (error) => {
      cancelled.dispose();
      reject(error);
    });
    child.on("close", (code) => {
      cancelled.dispose();
      if (code === 0) resolve();
      else reject(new Error(last || `${program} ended with status ${code}`));
    });
  });
}

function shorten(line: string): string {
  return line.length > 80 ? `${line.slice(0, 79)}…` : line;
}
