"""`python -m quatrain.lsp_server`."""

import sys

from quatrain.lsp_server.cli import main

sys.exit(main())
