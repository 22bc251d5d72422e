"""The conformance suite: any broker that speaks Kafka's protocol, held against the rules over TCP.

`cases` says what a case is, `suite` has them, `running` asks a broker and compares. What is expected is never typed in: the `oracle`, which is the
models and nothing else, is asked the same, and a `script` keeps what it says. All that touches bytes is this package's own (`codec` by the tables of
`layouts`, `batches`, `client`), so that a broker of ours cannot pass by a fault that it shares with its judge.
"""
