--- Draws what is left of a suggestion as virtual text. Knows views, no server.

local M = {}

local namespace = vim.api.nvim_create_namespace('quatrain')
M.highlight = 'QuatrainGhost'

--- Define the colour: Neovim's own for completion hints where it has one.
function M.colour()
  local target = vim.fn.hlexists('ComplHint') == 1 and 'ComplHint' or 'NonText'
  vim.api.nvim_set_hl(0, M.highlight, { link = target, default = true })
end

--- A text with its tabs as spaces, when it starts at a screen column.
---@param text string
---@param column integer
---@param buf integer
---@return string
local function expanded(text, column, buf)
  if not text:find('\t', 1, true) then
    return text
  end
  local width = vim.bo[buf].tabstop
  local out = {}
  for piece, tab in text:gmatch('([^\t]*)(\t?)') do
    column = column + vim.fn.strdisplaywidth(piece)
    table.insert(out, piece)
    if tab ~= '' then
      local spaces = width - column % width
      column = column + spaces
      table.insert(out, (' '):rep(spaces))
    end
  end
  return table.concat(out)
end

--- Part the first line at the characters that stand right of the cursor already: `x, y)` before `)` shows `x, y`.
---@param line string
---@param replaced string
---@return string[]? pieces the i-th stands before the i-th replaced byte, the last after all of them
local function pieces_around(line, replaced)
  local pieces, from = {}, 1
  for i = 1, #replaced do
    local at = line:find(replaced:sub(i, i), from, true)
    if not at then
      return nil
    end
    table.insert(pieces, line:sub(from, at - 1))
    from = at + 1
  end
  table.insert(pieces, line:sub(from))
  return pieces
end

--- Show a view instead of what was shown.
---@param buf integer
---@param view quatrain.View
function M.show(buf, view)
  M.hide(buf)
  local lines = vim.split(view.text, '\n', { plain = true })
  local column = math.max(vim.fn.virtcol('.') - 1, 0)
  local below = {}
  for i = 2, #lines do
    table.insert(below, { { expanded(lines[i], 0, buf), M.highlight } })
  end
  local pieces = pieces_around(lines[1], view.replaced)
  local function mark(col, text, position, virt_lines)
    vim.api.nvim_buf_set_extmark(buf, namespace, view.row, col, {
      virt_text = { { expanded(text, column, buf), M.highlight } },
      virt_text_pos = position,
      virt_lines = virt_lines,
      hl_mode = 'combine',
    })
  end
  if not pieces then -- what gives way is covered
    local width = vim.fn.strdisplaywidth(view.replaced) - vim.fn.strdisplaywidth(lines[1])
    mark(view.col, lines[1] .. (' '):rep(width), view.after == '' and 'overlay' or 'inline', below)
    return
  end
  for i, piece in ipairs(pieces) do
    local last = i == #pieces
    if piece ~= '' or last then
      mark(view.col + i - 1, piece, 'inline', last and below or nil)
    end
  end
end

--- Show nothing.
---@param buf integer
function M.hide(buf)
  if vim.api.nvim_buf_is_valid(buf) then
    vim.api.nvim_buf_clear_namespace(buf, namespace, 0, -1)
  end
end

return M
