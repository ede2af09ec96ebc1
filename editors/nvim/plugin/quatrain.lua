-- The :Quatrain command. Nothing else happens before require('quatrain').setup().
if vim.g.loaded_quatrain then
  return
end
vim.g.loaded_quatrain = true

vim.api.nvim_create_user_command('Quatrain', function(call)
  require('quatrain.commands').run(call.fargs)
end, {
  nargs = '+',
  desc = 'Quatrain code completion',
  complete = function(_, line)
    return require('quatrain.commands').complete(line)
  end,
})
