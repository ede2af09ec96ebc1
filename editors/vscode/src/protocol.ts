// The messages that go beyond the Language Server Protocol, as `editors/PROTOCOL.md` describes them.

import type { Range } from "vscode-languageclient";

export const DID_CHANGE_STATUS = "didChangeStatus";
export const STATUS = "quatrain/status";
export const INLINE_COMPLETION = "textDocument/inlineCompletion";
export const DID_SHOW = "textDocument/didShowCompletion";
export const DID_PARTIALLY_ACCEPT = "textDocument/didPartiallyAcceptCompletion";

export interface ServerStatus {
  kind: "Normal" | "Warning" | "Error" | "Inactive";
  busy: boolean;
  message: string;
  state: "starting" | "loading" | "ready" | "error";
  percentage: number | null;
}

export interface Refusal {
  reason: string;
  path: string;
  time: string;
}

export interface Report extends ServerStatus {
  engine: Record<string, string | number | boolean>;
  offered: number;
  accepted: number;
  partlyAccepted: number;
  reasons: Record<string, number>;
  recent: Refusal[];
  medianMs: number | null;
  p95Ms: number | null;
}

/** One suggestion as the server sends it. `safe` holds offsets into `insertText` in UTF-16 units. */
export interface OfferedItem {
  insertText: string;
  range: Range;
  data?: { safe?: [number, string][]; reason?: string; source?: string };
}
