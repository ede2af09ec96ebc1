// Accepts a suggestion up to the end of its next syntax node: an argument, an expression, a statement.

import * as vscode from "vscode";
import type { Client } from "./client";

/** Without known places, a word is accepted instead. */
export async function acceptNode(client: Client): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (!editor) return;
  const cursor = editor.selection.active;
  const piece = client.nextPiece(editor.document, cursor);
  if (!piece) {
    await vscode.commands.executeCommand("editor.action.inlineSuggest.acceptNextWord");
    client.partlyAccepted();
    return;
  }
  if (piece.whole) {
    await vscode.commands.executeCommand("editor.action.inlineSuggest.commit");
    return;
  }
  const inserted = await editor.edit((edit) => edit.insert(cursor, piece.text), { undoStopBefore: true, undoStopAfter: true });
  if (!inserted) return;
  const end = after(cursor, piece.text);
  if (!editor.selection.active.isEqual(end)) editor.selection = new vscode.Selection(end, end);
  client.partlyAccepted();
  await vscode.commands.executeCommand("editor.action.inlineSuggest.trigger");
}

function after(start: vscode.Position, text: string): vscode.Position {
  const lines = text.split(/\r\n|\r|\n/);
  const last = lines[lines.length - 1] ?? "";
  return lines.length === 1 ? start.translate(0, last.length) : new vscode.Position(start.line + lines.length - 1, last.length);
}
