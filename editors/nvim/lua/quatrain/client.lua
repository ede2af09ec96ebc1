--- The server process: started once for all buffers, restarted when it dies, asked and told things.

local config = require('quatrain.config')
local status = require('quatrain.status')

local M = {}

local NAME = 'quatrain'
local CRASHES, WITHIN_MS = 4, 60000

---@type integer?
local client_id

---@type table<integer, true> buffers that want the server
local buffers = {}

---@type integer[] when the server died by itself
local crashes = {}

local modern = vim.fn.has('nvim-0.11') == 1

---@return vim.lsp.Client?
local function running()
  local client = client_id and vim.lsp.get_client_by_id(client_id)
  if not client then
    return nil
  end
  local stopped = modern and client:is_stopped() or not modern and client.is_stopped()
  return not stopped and client or nil
end

--- The client of a buffer, when it is ready for requests.
---@param buf integer
---@return vim.lsp.Client?
function M.get(buf)
  local client = running()
  return client and client.initialized and client.attached_buffers[buf] and client or nil
end

--- Send a request; returns its id.
---@param buf integer
---@param method string
---@param params any
---@param handler fun(err: any, result: any)
---@return integer?
function M.request(buf, method, params, handler)
  local client = M.get(buf)
  if not client then
    return nil
  end
  local ask = rawget(client, 'quatrain_request') or client.request
  local ok, id
  if modern then
    ok, id = ask(client, method, params, handler, buf)
  else
    ok, id = client.request(method, params, handler, buf)
  end
  return ok and id or nil
end

---@param buf integer
---@param method string
---@param params any
function M.notify(buf, method, params)
  local client = M.get(buf)
  if client and modern then
    client:notify(method, params)
  elseif client then
    client.notify(method, params)
  end
end

---@param id integer
function M.cancel(id)
  local client = running()
  if client and modern then
    client:cancel_request(id)
  elseif client then
    client.cancel_request(id)
  end
end

--- Keep the built-in feature's own requests from the server.
---@param client vim.lsp.Client
local function guard(client)
  local request = client.request
  rawset(client, 'quatrain_request', request)
  rawset(client, 'request', function(self, method, params, handler, buf)
    if require('quatrain.builtin').claim(self, method, handler, buf) then
      return true
    end
    return request(self, method, params, handler, buf)
  end)
end

local function capabilities()
  local all = vim.lsp.protocol.make_client_capabilities()
  all.textDocument.inlineCompletion = { dynamicRegistration = false }
  -- 0.10 confuses buffers whose servers count columns differently, and most count in UTF-16.
  all.general.positionEncodings = { modern and 'utf-8' or 'utf-16' }
  return all
end

---@param code integer
---@param signal integer
---@param id integer
local function on_exit(code, signal, id)
  if id ~= client_id or vim.v.exiting ~= vim.NIL then
    return -- ended on purpose
  end
  client_id = nil
  local now = vim.uv.now()
  table.insert(crashes, now)
  crashes = vim.tbl_filter(function(at)
    return now - at < WITHIN_MS
  end, crashes)
  local how = signal ~= 0 and ('signal %d'):format(signal) or ('status %d'):format(code)
  for buf in pairs(buffers) do
    require('quatrain.suggest').clear(buf)
  end
  if #crashes >= CRASHES then
    status.set('error', 'the server keeps ending')
    local text = 'Quatrain: the server ended %d times in a minute (%s). See :Quatrain log; start it with :Quatrain restart.'
    vim.notify(text:format(#crashes, how), vim.log.levels.ERROR)
    return
  end
  status.set('starting', 'restarting')
  vim.notify(('Quatrain: the server ended (%s); starting it again.'):format(how), vim.log.levels.WARN)
  vim.defer_fn(M.start_all, 200 * #crashes)
end

local handlers = {
  ['didChangeStatus'] = function(_, params)
    status.set(params.state or 'ready', params.message, type(params.percentage) == 'number' and params.percentage or nil)
  end,
}

---@param buf integer
---@return table
local function launch(buf)
  local root = vim.fs.find('.git', { path = vim.api.nvim_buf_get_name(buf), upward = true })[1]
  return {
    name = NAME,
    cmd = config.options.cmd,
    cmd_env = config.options.cmd_env,
    root_dir = root and vim.fs.dirname(root) or vim.uv.cwd(),
    init_options = next(config.options.settings) and config.options.settings or vim.empty_dict(),
    capabilities = capabilities(),
    handlers = handlers,
    flags = { debounce_text_changes = 50 },
    on_init = function(client)
      if config.builtin() then
        guard(client)
      end
    end,
    on_attach = function(_, attached)
      require('quatrain.suggest').attach(attached)
    end,
    on_exit = vim.schedule_wrap(on_exit),
  }
end

--- Why the server cannot be started; nil if it can.
---@return string?
function M.missing()
  local program = config.options.cmd[1]
  if vim.fn.executable(program) == 1 then
    return nil
  end
  return ('%q is not an executable file. Install the server (see :help quatrain) '):format(program)
    .. "or set its path: require('quatrain').setup({ cmd = { '/path/to/quatrain', 'serve' } })"
end

local complained = false

--- Attach the server to a buffer, starting it if need be.
---@param buf integer
function M.start(buf)
  local missing = M.missing()
  if missing then
    status.set('error', 'no server')
    if not complained then
      complained = true
      vim.notify('Quatrain: ' .. missing, vim.log.levels.ERROR)
    end
    return
  end
  buffers[buf] = true
  if not running() then
    status.set('starting')
  end
  client_id = vim.lsp.start(launch(buf), {
    bufnr = buf,
    reuse_client = function(client)
      return client.id == client_id and running() ~= nil
    end,
  }) or client_id
end

--- Attach the server to all buffers that had it.
function M.start_all()
  for buf in pairs(buffers) do
    if vim.api.nvim_buf_is_loaded(buf) then
      M.start(buf)
    else
      buffers[buf] = nil
    end
  end
end

--- End the server and start it again.
function M.restart()
  crashes, complained = {}, false
  local client = running()
  for buf in pairs(buffers) do
    require('quatrain.suggest').clear(buf)
  end
  client_id = nil
  if client and modern then
    client:stop(true)
  elseif client then
    client.stop(true)
  end
  M.start_all()
end

--- Give changed settings to the running server.
function M.configure()
  local client = running()
  local params = { settings = { quatrain = config.options.settings } }
  if client and modern then
    client:notify('workspace/didChangeConfiguration', params)
  elseif client then
    client.notify('workspace/didChangeConfiguration', params)
  end
end

return M
