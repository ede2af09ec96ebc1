--- One suggestion, and what is left of it after the text around the cursor has moved on.
---
--- An offer never changes: what is left (its view) is computed from where it was asked for and from the buffer as it
--- is now, so that typing, deleting again, accepting a part and closing brackets that another plugin inserts all
--- come to the same thing. Columns are bytes from zero. Knows no server and no display.

local M = {}

---@class quatrain.Origin Where a suggestion was asked for.
---@field row integer
---@field col integer
---@field before string the line up to the cursor
---@field after string the line from the cursor on
---@field lines integer lines of the buffer

---@class quatrain.Offer
---@field origin quatrain.Origin
---@field text string
---@field replace integer bytes after the cursor that give way to the text
---@field safe integer[] offsets in bytes where a syntax node ends
---@field item table what the server sent

---@class quatrain.View What is left of an offer.
---@field row integer
---@field col integer
---@field text string to be inserted
---@field replaced string the text right of the cursor that gives way
---@field after string the rest of the line
---@field safe integer[]
---@field offer quatrain.Offer

--- The place of the cursor, to compute a view later.
---@param buf integer
---@return quatrain.Origin
function M.origin(buf)
  local row, col = unpack(vim.api.nvim_win_get_cursor(0))
  local line = vim.api.nvim_buf_get_lines(buf, row - 1, row, false)[1] or ''
  return {
    row = row - 1,
    col = col,
    before = line:sub(1, col),
    after = line:sub(col + 1),
    lines = vim.api.nvim_buf_line_count(buf),
  }
end

--- Bytes in which `units` of the encoding end.
---@param text string
---@param units integer
---@param encoding string
---@return integer
function M.bytes(text, units, encoding)
  if encoding == 'utf-8' then
    return math.min(units, #text)
  elseif vim.fn.has('nvim-0.11') == 1 then
    return vim.str_byteindex(text, encoding, units, false)
  end
  local ok, index = pcall(vim.str_byteindex, text, units, encoding == 'utf-16')
  return ok and index or #text
end

--- Units of the encoding in the first `bytes` of a text.
---@param text string
---@param bytes integer
---@param encoding string
---@return integer
function M.units(text, bytes, encoding)
  if encoding == 'utf-8' then
    return bytes
  elseif vim.fn.has('nvim-0.11') == 1 then
    return vim.str_utfindex(text, encoding, bytes, false)
  end
  local utf32, utf16 = vim.str_utfindex(text, bytes)
  return encoding == 'utf-16' and utf16 or utf32
end

--- An offer from an item of the server's answer; nil if it cannot be shown.
---@param item table lsp.InlineCompletionItem
---@param origin quatrain.Origin
---@param encoding string
---@return quatrain.Offer?
function M.new(item, origin, encoding)
  local raw = item.insertText
  if type(raw) ~= 'string' then
    return nil
  end
  local line = origin.before .. origin.after
  local first, last = origin.col, origin.col
  if item.range then
    local from, to = item.range.start, item.range['end']
    if from.line ~= origin.row or to.line ~= origin.row then
      return nil
    end
    first, last = M.bytes(line, from.character, encoding), M.bytes(line, to.character, encoding)
  end
  local head = line:sub(first + 1, origin.col)
  if first > origin.col or last < origin.col or not vim.startswith(raw, head) then
    return nil
  end
  local safe = {}
  for _, pair in ipairs(type(item.data) == 'table' and item.data.safe or {}) do
    local at = M.bytes(raw, pair[1], encoding)
    local _, carriages = raw:sub(1, at):gsub('\r', '')
    table.insert(safe, at - carriages - #head)
  end
  return {
    origin = origin,
    text = raw:gsub('\r', ''):sub(#head + 1),
    replace = last - origin.col,
    safe = safe,
    item = item,
  }
end

--- Whether the characters of `few` occur in `many` in this order.
---@param few string
---@param many string
---@return boolean
local function within(few, many)
  local at = 0
  for i = 1, #few do
    at = many:find(few:sub(i, i), at + 1, true)
    if not at then
      return false
    end
  end
  return true
end

--- The text right of the cursor that the rest of the suggestion replaces; nil when the line has become another.
--- Closing brackets and quotes may have come (a plugin paired them) or gone (they were typed over).
---@param offer quatrain.Offer
---@param after string the line from the cursor on
---@param rest string
---@return string?
local function replaced(offer, after, rest)
  local wanted = offer.origin.after:sub(1, offer.replace)
  local tail = offer.origin.after:sub(offer.replace + 1)
  if not vim.endswith(after, tail) then
    return nil
  end
  local here = after:sub(1, #after - #tail)
  if here == wanted or (here:find('^[%)%]}>"\'`]*$') and within(here, rest)) then
    return here
  end
  return nil
end

--- What is left of the offer at the cursor; nil if it does not fit any more.
---@param offer quatrain.Offer
---@param buf integer
---@return quatrain.View?
function M.view(offer, buf)
  local origin, api = offer.origin, vim.api
  local row, col = unpack(api.nvim_win_get_cursor(0))
  row = row - 1
  if row < origin.row or (row == origin.row and col < origin.col) then
    return nil
  end
  local lines = api.nvim_buf_get_lines(buf, origin.row, row + 1, false)
  if api.nvim_buf_line_count(buf) ~= origin.lines + row - origin.row then
    return nil
  elseif #lines == 0 or not vim.startswith(lines[1], origin.before) then
    return nil
  end
  local after = lines[#lines]:sub(col + 1)
  lines[#lines] = lines[#lines]:sub(1, col)
  lines[1] = lines[1]:sub(origin.col + 1)
  local typed = table.concat(lines, '\n')
  local rest = offer.text:sub(#typed + 1)
  if rest == '' or not vim.startswith(offer.text, typed) then
    return nil
  end
  local gives_way = replaced(offer, after, rest)
  if not gives_way or gives_way == rest then
    return nil
  end
  local safe = {}
  for _, at in ipairs(offer.safe) do
    if at > #typed then
      table.insert(safe, at - #typed)
    end
  end
  return {
    row = row,
    col = col,
    text = rest,
    replaced = gives_way,
    after = after:sub(#gives_way + 1),
    safe = safe,
    offer = offer,
  }
end

---@alias quatrain.Part 'all'|'word'|'line'|'node'

--- How many bytes of the view a key accepts.
---@param view quatrain.View
---@param part quatrain.Part
---@return integer
function M.length(view, part)
  local text = view.text
  if part == 'node' and view.safe[1] then
    return math.min(view.safe[1], #text)
  elseif part == 'word' then
    local _, last = text:find('^%s*[%w_\128-\255]+')
    if not last then
      _, last = text:find('^%s*[^%w%s_\128-\255]+')
    end
    return last or #text
  elseif part == 'line' or part == 'node' then
    local newline = text:find('\n', text:find('[^\n]') or 1, true)
    return newline and newline - 1 or #text
  end
  return #text
end

--- How many bytes right of the cursor give way when the first `length` bytes of the view are inserted.
---@param view quatrain.View
---@param length integer
---@return integer
function M.eaten(view, length)
  if length == #view.text then
    return #view.replaced
  elseif not within(view.replaced, view.text) then
    return 0
  end
  local count, at = 0, 0
  for i = 1, #view.replaced do
    at = view.text:find(view.replaced:sub(i, i), at + 1, true) --[[@as integer]]
    if at > length then
      break
    end
    count = i
  end
  return count
end

return M
