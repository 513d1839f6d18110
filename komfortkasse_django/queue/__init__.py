"""The queue: removals on their way to Komfortkasse."""
