--- What the user chose. Defaults here and nowhere else.

local M = {}

---@class quatrain.Keys Insert-mode keys; false for none. Each does what it did before when there is no suggestion.
---@field accept string|false
---@field accept_word string|false
---@field accept_line string|false
---@field accept_node string|false up to the end of the next whole piece of syntax
---@field next string|false another suggestion, or ask for one now
---@field dismiss string|false

---@class quatrain.Config
---@field cmd string[] how to start the server
---@field cmd_env table<string, string>? environment of the server
---@field settings table<string, any> settings of the server, see `quatrain serve` and the help
---@field display 'auto'|'builtin'|'own' who draws: Neovim's vim.lsp.inline_completion (0.12) or this plugin
---@field automatic boolean ask while typing; false: only when the `next` key is pressed
---@field debounce_ms integer pause in typing before the server is asked
---@field show_with_menu boolean keep the suggestion visible while the completion menu is open
---@field filetypes table<string, boolean> switched on or off by filetype; '*' is for those not named
---@field keys quatrain.Keys|false
local defaults = {
  cmd = { 'quatrain', 'serve' },
  cmd_env = nil,
  settings = {},
  display = 'auto',
  automatic = true,
  debounce_ms = 30,
  show_with_menu = true,
  filetypes = { ['*'] = true },
  keys = {
    accept = '<C-l>',
    accept_word = '<M-w>',
    accept_line = '<M-e>',
    accept_node = '<M-n>',
    next = '<M-]>',
    dismiss = '<C-]>',
  },
}

local types = {
  cmd = { 'table' },
  cmd_env = { 'table', 'nil' },
  settings = { 'table' },
  display = { 'string' },
  automatic = { 'boolean' },
  debounce_ms = { 'number' },
  show_with_menu = { 'boolean' },
  filetypes = { 'table' },
  keys = { 'table', 'boolean' },
}

---@type quatrain.Config
M.options = vim.deepcopy(defaults)

---@type string[] what was wrong with the options given to setup()
M.problems = {}

--- Take options over the defaults; a wrong one is reported once and its default used.
---@param given table?
function M.set(given)
  M.problems = {}
  local sound = {}
  for name, value in pairs(given or {}) do
    if not types[name] then
      table.insert(M.problems, ('unknown option %q is ignored'):format(name))
    elseif not vim.tbl_contains(types[name], type(value)) then
      local wanted = table.concat(types[name], ' or ')
      table.insert(M.problems, ('option %q must be a %s, not %s'):format(name, wanted, type(value)))
    elseif name == 'display' and not vim.tbl_contains({ 'auto', 'builtin', 'own' }, value) then
      table.insert(M.problems, ("option 'display' must be auto, builtin or own, not %q"):format(value))
    else
      sound[name] = value
    end
  end
  if sound.keys == true then
    sound.keys = nil
  end
  M.options = vim.tbl_deep_extend('force', vim.deepcopy(defaults), sound)
  M.options.cmd = sound.cmd or defaults.cmd
  if #M.problems > 0 then
    vim.notify('Quatrain: ' .. table.concat(M.problems, '; '), vim.log.levels.WARN)
  end
end

--- Whether this Neovim draws inline completions itself and may do so.
---@return boolean
function M.builtin()
  return M.options.display ~= 'own' and vim.lsp.inline_completion ~= nil
end

return M
