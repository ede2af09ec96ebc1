--- From typing to what is shown: when to ask, which answers still count, accepting.
---
--- While the shown suggestion fits what is typed, nothing is asked and what is left of it stays. A newer request
--- cancels the older one; a late answer is used if the text still fits it, and dropped otherwise.

local config = require('quatrain.config')
local offer = require('quatrain.offer')
local scope = require('quatrain.scope')

local M = {}

local METHOD = 'textDocument/inlineCompletion'
local INVOKED, AUTOMATIC = 1, 2

---@class quatrain.Session What is going on in one buffer.
---@field offers quatrain.Offer[]
---@field index integer
---@field pending integer? id of the request on its way
---@field serial integer counts requests; only the answer to the last one counts
---@field asked string? the state of the buffer that was asked about last
---@field timer uv.uv_timer_t?

---@type table<integer, quatrain.Session>
local sessions = {}

---@param buf integer
---@return quatrain.Session
local function session(buf)
  sessions[buf] = sessions[buf] or { offers = {}, index = 1, serial = 0 }
  return sessions[buf]
end

local function display()
  return config.builtin() and require('quatrain.builtin') or require('quatrain.ghost')
end

local function inserting()
  return vim.startswith(vim.api.nvim_get_mode().mode, 'i')
end

--- What can be accepted in the current buffer now.
---@return quatrain.View?
function M.current()
  local buf = vim.api.nvim_get_current_buf()
  local mine = sessions[buf]
  local chosen = mine and mine.offers[mine.index]
  if not chosen or (vim.fn.pumvisible() == 1 and not config.options.show_with_menu) then
    return nil
  end
  return offer.view(chosen, buf)
end

---@param mine quatrain.Session
local function stop_timer(mine)
  if mine.timer and not mine.timer:is_closing() then
    mine.timer:stop()
    mine.timer:close()
  end
  mine.timer = nil
end

---@param mine quatrain.Session
local function cancel(mine)
  stop_timer(mine)
  mine.serial = mine.serial + 1
  if mine.pending then
    require('quatrain.client').cancel(mine.pending)
    mine.pending = nil
  end
end

--- Forget everything about a buffer and show nothing.
---@param buf integer
function M.clear(buf)
  local mine = sessions[buf]
  if mine then
    cancel(mine)
    mine.offers, mine.asked = {}, nil
    display().hide(buf)
  end
end

--- Show what is left of the chosen offer; forget it if it does not fit.
---@param buf integer
---@return boolean whether something fits
local function refresh(buf)
  local mine = session(buf)
  local chosen = mine.offers[mine.index]
  local view = chosen and offer.view(chosen, buf)
  if not view then
    mine.offers = {}
    display().hide(buf)
    return false
  elseif vim.fn.pumvisible() == 1 and not config.options.show_with_menu then
    display().hide(buf)
  else
    display().show(buf, view)
  end
  return true
end

---@param buf integer
---@param origin quatrain.Origin
---@param result any
local function answered(buf, origin, result)
  if result == nil or result == vim.NIL then
    return -- superseded on the server: what is shown stays
  end
  local client = require('quatrain.client').get(buf)
  if not client or vim.api.nvim_get_current_buf() ~= buf or not inserting() then
    return
  end
  local offers = {}
  for _, item in ipairs(result.items or result) do
    local one = offer.new(item, origin, client.offset_encoding)
    if one and offer.view(one, buf) then
      table.insert(offers, one)
    end
  end
  local mine = session(buf)
  mine.offers, mine.index = offers, 1
  if refresh(buf) then
    require('quatrain.client').notify(buf, 'textDocument/didShowCompletion', { item = offers[1].item })
  end
end

---@param buf integer
---@param kind integer
local function ask(buf, kind)
  local client = require('quatrain.client').get(buf)
  if not client or vim.api.nvim_get_current_buf() ~= buf or not inserting() or not scope.enabled(buf) then
    return
  end
  local mine = session(buf)
  local origin = offer.origin(buf)
  local state = ('%d:%d:%d'):format(vim.b[buf].changedtick, origin.row, origin.col)
  if kind == AUTOMATIC and mine.asked == state then
    return
  end
  cancel(mine)
  mine.asked = state
  local serial = mine.serial
  local params = {
    textDocument = { uri = vim.uri_from_bufnr(buf) },
    position = {
      line = origin.row,
      character = offer.units(origin.before .. origin.after, origin.col, client.offset_encoding),
    },
    context = { triggerKind = kind },
  }
  mine.pending = require('quatrain.client').request(buf, METHOD, params, function(err, result)
    if serial == mine.serial then
      mine.pending = nil
      if not err then
        answered(buf, origin, result)
      end
    end
    require('quatrain.status').changed()
  end)
  require('quatrain.status').changed()
end

--- The text or the cursor changed: keep what fits, otherwise ask after a short pause.
---@param buf integer
function M.update(buf)
  local mine = session(buf)
  stop_timer(mine)
  if not scope.enabled(buf) then
    return M.clear(buf)
  elseif refresh(buf) or not config.options.automatic then
    return
  end
  mine.timer = vim.defer_fn(function()
    if vim.api.nvim_buf_is_valid(buf) then
      ask(buf, AUTOMATIC)
    end
  end, config.options.debounce_ms)
end

--- Whether an answer is awaited.
---@param buf integer
---@return boolean
function M.busy(buf)
  return sessions[buf] ~= nil and sessions[buf].pending ~= nil
end

--- Insert the suggestion, or a part of it.
---@param part quatrain.Part
---@return boolean
function M.accept(part)
  local view, buf = M.current(), vim.api.nvim_get_current_buf()
  if not view then
    return false
  end
  local length = offer.length(view, part)
  local lines = vim.split(view.text:sub(1, length), '\n', { plain = true })
  local last = view.col + offer.eaten(view, length)
  vim.api.nvim_buf_set_text(buf, view.row, view.col, view.row, last, lines)
  vim.api.nvim_win_set_cursor(0, { view.row + #lines, (#lines == 1 and view.col or 0) + #lines[#lines] })
  local client, item = require('quatrain.client'), view.offer.item
  if length < #view.text then
    refresh(buf)
    local accepted = #view.offer.text - #view.text + length
    local params = { item = item, acceptedLength = offer.units(view.offer.text, accepted, 'utf-16') }
    client.notify(buf, 'textDocument/didPartiallyAcceptCompletion', params)
  else
    M.clear(buf)
    if type(item.command) == 'table' then
      client.request(buf, 'workspace/executeCommand', {
        command = item.command.command,
        arguments = item.command.arguments,
      }, function() end)
    end
    M.update(buf)
  end
  return true
end

--- The next suggestion of several, or ask for one now.
---@return boolean
function M.next()
  local buf = vim.api.nvim_get_current_buf()
  local mine = session(buf)
  if #mine.offers > 1 then
    mine.index = mine.index % #mine.offers + 1
    refresh(buf)
  else
    ask(buf, INVOKED)
  end
  return true
end

--- Show nothing until something is typed.
---@return boolean
function M.dismiss()
  local buf = vim.api.nvim_get_current_buf()
  if not M.current() then
    return false
  end
  local asked = sessions[buf].asked
  M.clear(buf)
  sessions[buf].asked = asked
  return true
end

--- Follow a buffer.
---@param buf integer
function M.attach(buf)
  local group = vim.api.nvim_create_augroup('quatrain.' .. buf, { clear = true })
  local function on(events, action)
    vim.api.nvim_create_autocmd(events, {
      group = group,
      buffer = buf,
      callback = function()
        action(buf)
      end,
    })
  end
  on({ 'InsertEnter', 'TextChangedI', 'TextChangedP' }, M.update)
  on('CursorMovedI', function()
    if session(buf).offers[1] then
      M.update(buf)
    end
  end)
  on({ 'InsertLeave', 'BufLeave' }, M.clear)
  on('CompleteDone', function()
    vim.schedule(function()
      if vim.api.nvim_buf_is_valid(buf) and inserting() and vim.api.nvim_get_current_buf() == buf then
        M.update(buf)
      end
    end)
  end)
  on({ 'BufUnload', 'BufWipeout' }, function()
    M.clear(buf)
    sessions[buf] = nil
  end)
  if config.builtin() then
    require('quatrain.builtin').attach(buf)
  end
  if inserting() and vim.api.nvim_get_current_buf() == buf then
    M.update(buf)
  end
end

return M
