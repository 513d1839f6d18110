"""Each shop has settings and a virtual environment of its own: script/test-shops runs them."""

collect_ignore_glob = ["*"]
