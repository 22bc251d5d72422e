"""What makes the codec from Kafka's message layouts: `layouts` is the form in between, `objects`, `structs` and `tables` the back ends.

`cython` holds what the first two write alike. The command is `fastpath/generate.py`.
"""
