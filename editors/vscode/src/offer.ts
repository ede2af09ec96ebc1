// Remembers the suggestion that the server offered last, with the places up to which it may be accepted.

import * as vscode from "vscode";
import type { InlineCompletionParams } from "vscode-languageclient";
import type { OfferedItem } from "./protocol";

export interface Piece {
  text: string;
  /** Nothing of the suggestion is left after this piece. */
  whole: boolean;
}

interface Offer {
  uri: string;
  start: vscode.Position;
  text: string;
  safe: number[];
}

export class Offers {
  private last: Offer | undefined;

  /** Take note of an answer to `textDocument/inlineCompletion`. */
  remember(params: InlineCompletionParams, answer: unknown): void {
    const item = Array.isArray(answer) ? (answer[0] as OfferedItem | undefined) : undefined;
    if (!item) return;
    const { line, character } = item.range.start;
    this.last = {
      uri: params.textDocument.uri,
      start: new vscode.Position(line, character),
      text: item.insertText,
      safe: (item.data?.safe ?? []).map(([offset]) => offset).sort((a, b) => a - b),
    };
  }

  /** From the cursor up to the next safe place; undefined if what is shown is not known or has no such places. */
  nextPiece(document: vscode.TextDocument, uri: string, cursor: vscode.Position): Piece | undefined {
    const offer = this.last;
    if (!offer || offer.uri !== uri || cursor.isBefore(offer.start)) return undefined;
    const typed = document.getText(new vscode.Range(offer.start, cursor));
    if (!offer.text.startsWith(typed)) return undefined;
    const end = offer.safe.find((offset) => offset > typed.length);
    if (end === undefined) return undefined;
    return { text: offer.text.slice(typed.length, end), whole: end >= offer.text.length };
  }
}
