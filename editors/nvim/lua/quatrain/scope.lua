--- Where completion is switched on: everywhere, by filetype, by buffer. Knows no server.

local config = require('quatrain.config')

local M = {}

---@type boolean
M.everywhere = true

--- Whether the buffer may have suggestions.
---@param buf integer
---@return boolean
function M.enabled(buf)
  if not M.everywhere or vim.bo[buf].buftype ~= '' or not vim.bo[buf].modifiable then
    return false
  end
  local own = vim.b[buf].quatrain_enabled
  if own ~= nil then
    return own
  end
  local filetypes = config.options.filetypes
  local chosen = filetypes[vim.bo[buf].filetype]
  if chosen == nil then
    chosen = filetypes['*'] ~= false
  end
  return chosen
end

--- Switch one scope over.
---@param what 'buffer'|'filetype'|'global'
---@param buf integer
---@return string said to the user
function M.toggle(what, buf)
  if what == 'global' then
    M.everywhere = not M.everywhere
    return 'everywhere: ' .. (M.everywhere and 'on' or 'off')
  end
  local on = not M.enabled(buf)
  if what == 'filetype' then
    local filetype = vim.bo[buf].filetype
    config.options.filetypes[filetype] = on
    vim.b[buf].quatrain_enabled = nil
    return ('filetype %s: %s'):format(filetype == '' and '(none)' or filetype, on and 'on' or 'off')
  end
  vim.b[buf].quatrain_enabled = on
  return 'this buffer: ' .. (on and 'on' or 'off')
end

return M
