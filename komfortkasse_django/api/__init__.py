"""How an answer of Komfortkasse is got and read. ``client`` is the way in."""
