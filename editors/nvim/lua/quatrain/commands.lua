--- The :Quatrain command: toggle, status, why, log, restart.

local M = {}

--- The server's reasons for an empty answer, for people.
local REASONS = {
  disabled = 'completion is switched off in the server settings (`enabled`)',
  unknown_document = 'the server was not told about this file',
  manual_only = 'the server is set to answer only when asked (`trigger = "manual"`); press the `next` key',
  language_disabled = 'this language is switched off in the server settings (`disabled_languages`)',
  excluded_file = 'this file is excluded (`exclude`), as secrets are',
  file_too_large = 'the file is too large',
  model_failed = 'the model could not be loaded; see :Quatrain log',
  model_loading = 'the model was still being loaded',
  superseded = 'typing went on before the answer was ready',
  cancelled = 'typing went on before the answer was ready',
  internal_error = 'an error in the server; see :Quatrain log',
  end_token = 'the model had nothing to add',
  deadline = 'the time limit ran out (`time_limit_ms`)',
}

---@param text string
local function say(text)
  vim.api.nvim_echo({ { text } }, true, {})
end

--- Ask the server how it is.
---@param then_do fun(report: table)
local function report(then_do)
  local buf = vim.api.nvim_get_current_buf()
  local client = require('quatrain.client')
  local asked = client.request(buf, 'quatrain/status', vim.empty_dict(), function(err, result)
    if err then
      say('Quatrain: ' .. (err.message or vim.inspect(err)))
    else
      then_do(result)
    end
  end)
  if not asked then
    local status = require('quatrain.status').now
    local why = client.missing() or (status.message ~= '' and status.message) or 'the server is not attached'
    local off = not require('quatrain.scope').enabled(buf) and 'completion is off in this buffer; ' or ''
    say(('Quatrain: %s%s (%s)'):format(off, why, status.state))
  end
end

local function why()
  if not require('quatrain.scope').enabled(vim.api.nvim_get_current_buf()) then
    return say('Quatrain: completion is off in this buffer (:Quatrain toggle switches it on).')
  end
  report(function(status)
    local last = status.recent and status.recent[#status.recent]
    if not last then
      return say('Quatrain: no empty answer so far.')
    end
    local reason = REASONS[last.reason] or last.reason:gsub('_', ' ')
    say(('Quatrain: at %s %s.'):format(last.time, reason))
  end)
end

local function status()
  report(function(now)
    local engine = now.engine and now.engine.model or 'no model yet'
    local lines = {
      ('Quatrain: %s, %s'):format(now.state, now.message ~= '' and now.message or engine),
      ('offered %d, accepted %d, in part %d'):format(now.offered, now.accepted, now.partlyAccepted),
    }
    if type(now.medianMs) == 'number' then
      table.insert(lines, ('server time: median %.0f ms, 95th percentile %.0f ms'):format(now.medianMs, now.p95Ms))
    end
    local empty = {}
    for reason, count in vim.spairs(now.reasons or {}) do
      table.insert(empty, ('%s %d'):format(reason, count))
    end
    if #empty > 0 then
      table.insert(lines, 'nothing offered: ' .. table.concat(empty, ', '))
    end
    say(table.concat(lines, '\n'))
  end)
end

---@param what string?
local function toggle(what)
  what = what or 'buffer'
  if not vim.tbl_contains(M.scopes, what) then
    return say(('Quatrain: toggle buffer, filetype or global, not %q'):format(what))
  end
  local buf = vim.api.nvim_get_current_buf()
  local said = require('quatrain.scope').toggle(what, buf)
  require('quatrain').attach(buf)
  require('quatrain.suggest').update(buf)
  require('quatrain.status').changed()
  say('Quatrain: ' .. said)
end

local function log()
  local path = vim.lsp.log and vim.lsp.log.get_filename and vim.lsp.log.get_filename() or vim.lsp.get_log_path()
  vim.cmd.tabnew(vim.fn.fnameescape(path))
  vim.cmd.normal({ 'G', bang = true })
end

M.scopes = { 'buffer', 'filetype', 'global' }

local commands = {
  toggle = toggle,
  status = status,
  why = why,
  log = log,
  restart = function()
    require('quatrain.client').restart()
    require('quatrain').attach(vim.api.nvim_get_current_buf())
  end,
}

---@param arguments string[]
function M.run(arguments)
  local command = commands[arguments[1]]
  if not command then
    local names = table.concat(vim.tbl_keys(commands), ', ')
    return say(('Quatrain: no command %q; there are %s'):format(arguments[1], names))
  end
  command(arguments[2])
end

---@param line string
---@return string[]
function M.complete(line)
  local words = vim.split(line, '%s+')
  local among = #words == 2 and vim.tbl_keys(commands) or (words[2] == 'toggle' and #words == 3 and M.scopes or {})
  table.sort(among)
  return vim.tbl_filter(function(name)
    return vim.startswith(name, words[#words])
  end, among)
end

return M
