// What the server's reasons for an empty answer mean, in a sentence each. A test compares the names with the server's.

export const REASONS: Record<string, string> = {
  disabled: "completions are turned off",
  language_disabled: "completions are turned off for this language",
  manual_only: "completions come only when you ask for them (quatrain.trigger is “manual”)",
  excluded_file: "the file is excluded by quatrain.exclude",
  file_too_large: "the file is too large",
  unknown_document: "the server does not know this document",
  model_loading: "the model was still loading",
  model_failed: "the model could not be loaded; the log says why",
  internal_error: "the server failed on this request; the log says how",
  superseded: "you typed on before the answer was ready",
  cancelled: "the editor withdrew the request",
  deadline: "nothing was complete when the time limit (quatrain.timeLimitMs) ran out",
  length: "nothing was complete within the length limit (quatrain.maxTokens)",
  end_token: "the model had nothing to add",
  line: "the model had nothing to add on this line",
  block: "the model had nothing to add to this block",
  statement: "the model had nothing to add to this statement",
  suffix: "the model repeated what stands after the cursor",
  syntax: "what the model said does not fit the syntax here",
  loop: "the model repeated itself",
  filtered_empty: "the model had nothing to add",
  filtered_whitespace: "the model added only blanks",
  filtered_repeats_above: "the model repeated the line above",
  filtered_repeats_below: "the model repeated the lines below",
  filtered_loop: "the model repeated itself",
  filtered_confidence: "the model was not sure enough",
};

export function sentence(reason: string): string {
  return REASONS[reason] ?? reason.replaceAll("_", " ");
}
