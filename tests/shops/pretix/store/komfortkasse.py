from tests.support.manual import recipe

recipe("pretix").run(globals(), "store/komfortkasse.py")
