// Made by scripts/settings.py from the server's settings. Do not edit.

export const SERVER_SETTINGS = [
  "enabled",
  "trigger",
  "disabledLanguages",
  "exclude",
  "lines",
  "maxTokens",
  "timeLimitMs",
  "confidence",
  "contextTokens",
  "suggestInMenu",
  "model",
  "arithmetic",
  "speculate",
  "head",
  "adapter",
  "logLevel",
];
