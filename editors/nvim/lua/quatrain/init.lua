--- Quatrain: code completion by a model on your own machine. Start with require('quatrain').setup().

local M = {}

--- Start. May be called again with other options; server settings then take effect at once.
---@param options quatrain.Config|table|nil see |quatrain-options|
function M.setup(options)
  local config = require('quatrain.config')
  config.set(options)
  require('quatrain.ghost').colour()
  require('quatrain.keys').map()
  require('quatrain.client').configure()
  local group = vim.api.nvim_create_augroup('quatrain', { clear = true })
  vim.api.nvim_create_autocmd({ 'FileType', 'BufWinEnter', 'InsertEnter' }, {
    group = group,
    callback = function(event)
      M.attach(event.buf)
    end,
  })
  vim.api.nvim_create_autocmd('ColorScheme', { group = group, callback = require('quatrain.ghost').colour })
  if vim.v.vim_did_enter == 1 then
    M.attach(vim.api.nvim_get_current_buf())
  end
end

--- Give a buffer suggestions, if it is one for text and completion is on there.
---@param buf integer
function M.attach(buf)
  local client = require('quatrain.client')
  if vim.api.nvim_buf_is_loaded(buf) and require('quatrain.scope').enabled(buf) and not client.get(buf) then
    client.start(buf)
  end
end

--- Accept the suggestion or a part of it; for your own <Cmd> mappings. False when there is none.
---@param part quatrain.Part?
---@return boolean
function M.accept(part)
  return require('quatrain.suggest').accept(part or 'all')
end

--- Whether a suggestion can be accepted here now.
---@return boolean
function M.visible()
  return require('quatrain.suggest').current() ~= nil
end

--- Another suggestion, or ask for one now.
---@return boolean
function M.next()
  return require('quatrain.suggest').next()
end

--- Dismiss the suggestion. False when there is none.
---@return boolean
function M.dismiss()
  return require('quatrain.suggest').dismiss()
end

--- A short text for a status line.
---@return string
function M.statusline()
  return require('quatrain.status').component()
end

return M
