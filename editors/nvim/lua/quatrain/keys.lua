--- Insert-mode keys that do what they did before when there is no suggestion.

local config = require('quatrain.config')
local suggest = require('quatrain.suggest')

local M = {}

---@type table<string, { part: quatrain.Part?, run: (fun(): boolean)?, always: boolean?, desc: string }>
local actions = {
  accept = { part = 'all', desc = 'Quatrain: accept the suggestion' },
  accept_word = { part = 'word', desc = 'Quatrain: accept a word' },
  accept_line = { part = 'line', desc = 'Quatrain: accept a line' },
  accept_node = { part = 'node', desc = 'Quatrain: accept a syntax node' },
  next = { run = suggest.next, always = true, desc = 'Quatrain: another suggestion, or ask now' },
  dismiss = { run = suggest.dismiss, desc = 'Quatrain: dismiss the suggestion' },
}

---@type table<string, { key: string, before: table }> what each action's key did before
local mapped = {}

--- Do an action. Called from a <Cmd> mapping, where the text may be changed.
---@param name string
function M.run(name)
  local action = actions[name]
  if action.part then
    suggest.accept(action.part)
  else
    action.run()
  end
end

--- Call the Lua function that a key was mapped to before.
---@param name string
function M.call_before(name)
  mapped[name].before.callback()
end

--- What the key did before, as keys to be typed.
---@param name string
---@return string
local function fall_through(name)
  local key, before = mapped[name].key, mapped[name].before
  local function typed(keys)
    return vim.api.nvim_replace_termcodes(keys, true, true, true)
  end
  if not before or vim.tbl_isempty(before) then
    return typed(key)
  elseif before.callback and before.expr == 1 then
    local keys = before.callback() or ''
    return before.replace_keycodes == 1 and typed(keys) or keys
  elseif before.callback then
    return typed(("<Cmd>lua require('quatrain.keys').call_before(%q)<CR>"):format(name))
  elseif before.expr == 1 then
    local keys = vim.api.nvim_eval(before.rhs)
    return before.replace_keycodes == 1 and typed(keys) or keys
  end
  return typed(before.rhs)
end

--- The keys that an expression mapping gives: the action in an undo step of its own, or what was there before.
---@param name string
---@return string
function M.expression(name)
  local action = actions[name]
  if not action.always and not suggest.current() then
    return fall_through(name)
  end
  local command = ("<Cmd>lua require('quatrain.keys').run(%q)<CR>"):format(name)
  if action.part then
    command = '<C-g>u' .. command .. '<C-g>u'
  end
  return vim.api.nvim_replace_termcodes(command, true, true, true)
end

--- Map the keys of the configuration, and unmap those of the one before.
function M.map()
  for name, old in pairs(mapped) do
    pcall(vim.keymap.del, 'i', old.key)
    if old.before and not vim.tbl_isempty(old.before) then
      vim.fn.mapset('i', false, old.before)
    end
    mapped[name] = nil
  end
  for name, action in pairs(actions) do
    local key = config.options.keys and config.options.keys[name]
    if key then
      local before = vim.fn.maparg(key, 'i', false, true)
      mapped[name] = { key = key, before = before }
      vim.keymap.set('i', key, function()
        return M.expression(name)
      end, { expr = true, replace_keycodes = false, desc = action.desc, remap = before.noremap == 0 })
    end
  end
end

return M
