from tests.support.readme import recipe

recipe("pretix").run(globals(), "store/komfortkasse.py")
