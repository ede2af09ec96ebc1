--- What the server says about itself, and the text for a status line.

local M = {}

---@class quatrain.Status
---@field state 'off'|'starting'|'loading'|'ready'|'error'
---@field message string
---@field percentage integer?

---@type quatrain.Status
M.now = { state = 'off', message = '' }

--- Redraw status lines, and tell whoever listens (User QuatrainStatus).
function M.changed()
  vim.schedule(function()
    vim.cmd.redrawstatus({ bang = true })
    vim.api.nvim_exec_autocmds('User', { pattern = 'QuatrainStatus', modeline = false })
  end)
end

---@param state string
---@param message string?
---@param percentage integer?
function M.set(state, message, percentage)
  M.now = { state = state, message = message or '', percentage = percentage }
  M.changed()
end

--- A short text for a status line: empty where there is no server.
---@return string
function M.component()
  local buf = vim.api.nvim_get_current_buf()
  local now = M.now
  if now.state == 'off' then
    return ''
  elseif now.state == 'error' then
    return 'quatrain: ' .. (now.message ~= '' and now.message:gsub('%%', '') or 'error')
  elseif not require('quatrain.scope').enabled(buf) then
    return 'quatrain off'
  elseif now.state ~= 'ready' then
    return now.percentage and ('quatrain loading %d/100'):format(now.percentage) or 'quatrain loading'
  end
  return require('quatrain.suggest').busy(buf) and 'quatrain …' or 'quatrain'
end

return M
