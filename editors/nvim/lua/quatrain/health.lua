--- :checkhealth quatrain

local M = {}

local function check_neovim()
  local version = tostring(vim.version())
  if vim.fn.has('nvim-0.10') == 0 then
    vim.health.error('Neovim ' .. version .. ' is too old', { 'Use 0.10 or newer' })
  elseif require('quatrain.config').builtin() then
    vim.health.ok('Neovim ' .. version .. ', shown by vim.lsp.inline_completion')
  else
    vim.health.ok('Neovim ' .. version .. ', shown by the plugin')
  end
end

local function check_server()
  local client = require('quatrain.client')
  local missing = client.missing()
  if missing then
    return vim.health.error(missing)
  end
  local cmd = require('quatrain.config').options.cmd
  vim.health.ok('server: ' .. table.concat(cmd, ' ') .. ' (' .. vim.fn.exepath(cmd[1]) .. ')')
  local now = require('quatrain.status').now
  local said = now.state .. (now.message ~= '' and ': ' .. now.message or '')
  if now.state == 'error' then
    vim.health.error(said, { ':Quatrain log', ':Quatrain restart' })
  elseif now.state == 'off' then
    vim.health.info('not started: it starts with the first buffer that is enabled')
  else
    vim.health.ok(said)
  end
end

local function check_keys()
  local keys = require('quatrain.config').options.keys
  if not keys then
    return vim.health.info('no keys are mapped (keys = false)')
  end
  for name, key in vim.spairs(keys) do
    if key then
      local map = vim.fn.maparg(key, 'i', false, true)
      if (map.desc or ''):find('^Quatrain') then
        vim.health.ok(('%s: %s'):format(name, key))
      else
        local advice = { 'Call setup() after it, or choose another key in `keys`' }
        vim.health.warn(('%s: %s is mapped by something else'):format(name, key), advice)
      end
    end
  end
end

function M.check()
  vim.health.start('Quatrain')
  check_neovim()
  for _, problem in ipairs(require('quatrain.config').problems) do
    vim.health.warn(problem)
  end
  check_server()
  vim.health.start('Quatrain: keys')
  check_keys()
end

return M
