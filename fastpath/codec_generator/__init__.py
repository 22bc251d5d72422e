"""What makes the codec from Kafka's message layouts: `layouts` is the form in between, `objects` and `structs` the two back ends.

`cython` holds what both write alike. The command is `fastpath/generate.py`.
"""
