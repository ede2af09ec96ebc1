--- Shows views through Neovim 0.12's vim.lsp.inline_completion, which draws them and lets its get() accept them.
---
--- Neovim waits 200 ms before it asks, never cancels, and shows late answers and answers that no longer fit. So its
--- requests stop at our client (`claim`): the function it would have the answer given to is kept, and is given each
--- view as an answer, as soon as there is one, and an empty answer when there is nothing to show.

local ghost = require('quatrain.ghost')
local offer = require('quatrain.offer')

local M = {}

---@type table<integer, { client: vim.lsp.Client, answer: fun(err: any, result: any, ctx: table) }>
local takers = {}

---@type table<integer, quatrain.View>
local shown = {}

--- Let the built-in feature handle the buffer.
---@param buf integer
function M.attach(buf)
  if not vim.lsp.inline_completion.is_enabled({ bufnr = buf }) then
    vim.lsp.inline_completion.enable(true, { bufnr = buf })
  end
end

--- Whether a request comes from the built-in feature; then it is kept from the server.
---@param client vim.lsp.Client
---@param method string
---@param handler function?
---@param buf integer?
---@return boolean
function M.claim(client, method, handler, buf)
  if method ~= 'textDocument/inlineCompletion' or not handler then
    return false
  end
  buf = (buf == nil or buf == 0) and vim.api.nvim_get_current_buf() or buf
  takers[buf] = { client = client, answer = handler }
  if shown[buf] then -- drawn by us until now
    ghost.hide(buf)
    M.show(buf, shown[buf])
  end
  return true
end

--- Hand items to the built-in feature.
---@param buf integer
---@param items table[]
---@return boolean whether it took them
local function give(buf, items)
  local taker = takers[buf]
  if not taker or not vim.lsp.inline_completion.is_enabled({ bufnr = buf }) then
    return false
  end
  local context = { client_id = taker.client.id, bufnr = buf, method = 'textDocument/inlineCompletion' }
  local ok = pcall(taker.answer, nil, items, context)
  if not ok then -- switched off and on again, or the client is another
    takers[buf] = nil
  end
  return ok
end

--- What is left of a suggestion as an item. It draws a range over the text, which hides what follows; so brackets
--- at the end that are there already are left out instead of replaced.
---@param view quatrain.View
---@param encoding string
---@return table
local function item(view, encoding)
  local line = vim.api.nvim_get_current_line()
  local text, last = view.text, view.col + #view.replaced
  if view.replaced ~= '' and vim.endswith(text, view.replaced) then
    text, last = text:sub(1, -#view.replaced - 1), view.col
  end
  return {
    insertText = text,
    range = {
      start = { line = view.row, character = offer.units(line, view.col, encoding) },
      ['end'] = { line = view.row, character = offer.units(line, last, encoding) },
    },
    command = view.offer.item.command,
  }
end

--- Show a view instead of what was shown.
---@param buf integer
---@param view quatrain.View
function M.show(buf, view)
  shown[buf] = view
  local taker = takers[buf]
  if not (taker and give(buf, { item(view, taker.client.offset_encoding) })) then
    ghost.show(buf, view) -- until Neovim has asked for the first time
  end
end

--- Show nothing.
---@param buf integer
function M.hide(buf)
  ghost.hide(buf)
  if shown[buf] then
    shown[buf] = nil
    give(buf, {})
  end
end

return M
