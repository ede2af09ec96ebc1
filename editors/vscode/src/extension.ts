// Wires the parts: log, status bar, client, commands. Decides when the server is started.

import * as vscode from "vscode";
import { Client } from "./client";
import { install, registerCommands } from "./commands";
import { offerInstall } from "./install";
import { paused } from "./settings";
import { StatusBar } from "./status";

export async function activate(context: vscode.ExtensionContext): Promise<void> {
  const log = vscode.window.createOutputChannel("Quatrain", { log: true });
  const status = new StatusBar();
  const client = new Client(context, log, status);
  context.subscriptions.push(log, status, client);
  registerCommands(context, client, log);

  const startUnlessOff = async (): Promise<void> => {
    if (!client.running && !paused(undefined) && !(await client.start())) void offer();
  };
  const offer = async (): Promise<void> => {
    if (await offerInstall()) await install(context, client, log);
  };
  context.subscriptions.push(
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (!event.affectsConfiguration("quatrain")) return;
      if (event.affectsConfiguration("quatrain.server.path")) void client.start();
      else if (client.running) client.sendSettings();
      else if (event.affectsConfiguration("quatrain.enabled")) void startUnlessOff();
    }),
    vscode.workspace.onDidGrantWorkspaceTrust(() => void client.start()),
  );
  await startUnlessOff();
}
