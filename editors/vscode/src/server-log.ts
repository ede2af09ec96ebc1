// Passes the server's log lines to the editor's log, each at its own level.

import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { LogOutputChannel } from "vscode";

const LINE = /^[\d-]+ [\d:,]+ (DEBUG|INFO|WARNING|ERROR|CRITICAL) (.*)$/;

/**
 * Write every line of `input` to `log`; `each` sees it too. Lines without a level, such as tracebacks, are errors.
 * Resolves after the last line.
 */
export function passOn(input: Readable, log: LogOutputChannel, each: (line: string) => void): Promise<void> {
  const lines = createInterface({ input, crlfDelay: Infinity });
  lines.on("line", (line) => {
    const [, level, text = line] = LINE.exec(line) ?? [];
    if (level === "DEBUG") log.debug(text);
    else if (level === "INFO") log.info(text);
    else if (level === "WARNING") log.warn(text);
    else log.error(text);
    if (text.trim()) each(text.trim());
  });
  return new Promise((resolve) => lines.once("close", resolve));
}
