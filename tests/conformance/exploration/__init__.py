"""The history machine: random requests, each answer held against what the models allow; a difference is shrunk to a short story.

`steps` says what is asked, `histories` and `group_histories` make it up, `targets` are those who answer, `pairs` asks two of them the same, `shrinking` leaves out
of a history that ended in a difference whatever can be left out.
"""
