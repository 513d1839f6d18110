"""How an answer of Komfortkasse is fetched and read. Only ``client`` and its users need it."""
