"""The rules that no case shows: what stands in the way.

Some shows only after what nobody does to a cluster that others use; some not to a client at all. `tests/models`, `tests/faults` and
`tests/differential` hold our own brokers against them.
"""

from __future__ import annotations

from collections.abc import Mapping

A_RESTART = "shows only after a restart of the broker"
A_CRASH = "shows only after the broker was killed, or the machine lost its power"
FOLLOWERS = "with one replica everything is committed at once: shows only beside a follower that lags behind"
DELETION_OFF = "where deletion is switched off, what the stories make could not be removed"
RECORDS = "how a broker keeps its groups is its own affair, and shows only after a restart"
FAULTY_LOG = "takes a log that cannot be written to"
BEFORE_GROUPS = "shows only where nobody has asked for a coordinator yet"
TURNS = "how the threads of a broker take turns is its own affair, and shows by chance alone"
INTERNAL_TOPICS = "which internal topics there are is the broker's affair; one that did not keep the rule would be harmed by asking"

UNSEEN: Mapping[str, str] = {
    "LOG-PRODUCE-4": INTERNAL_TOPICS,
    "LOG-ROLL-4": "takes 2^31 records",
    "LOG-HW-2": FOLLOWERS,
    "LOG-FETCH-7": FOLLOWERS,
    "LOG-SESSION-8": "takes every session that the broker has room for, from those who use it, and two minutes",
    "LOG-DELETE-6": INTERNAL_TOPICS,
    "LOG-RETAIN-2": FOLLOWERS,
    "LOG-RESTART-1": A_RESTART,
    "LOG-RESTART-2": A_RESTART,
    "LOG-RESTART-3": A_CRASH,
    "LOG-RESTART-4": A_CRASH,
    "LOG-RESTART-5": A_CRASH,
    "LOG-RESTART-6": A_CRASH,
    "LOG-RESTART-7": A_RESTART,
    "LOG-RESTART-8": A_CRASH,
    "LOG-RESTART-9": "shows only after files were damaged, and a restart",
    "LOG-RESTART-10": A_RESTART,
    "LOG-RESTART-11": A_RESTART,
    "LOG-RESTART-12": "takes a disk that fails",
    "LOG-RESTART-13": "shows only where brokers are started",
    "LOG-RESTART-14": "takes a disk that fails",
    "IDEM-ID-2": A_RESTART,
    "WIRE-FRAME-13": "takes as long as a broker keeps a silent connection: ten minutes, mostly",
    "WIRE-FRAME-14": "what a broker holds for a client that does not read, no client sees; and how much that may be, no rule says",
    "WIRE-VERSIONS-6": "a broker that has groups and transactions announces the features that they need",
    "WIRE-META-15": "where clients find a broker is for its network to say",
    "WIRE-META-16": "one listener is judged, and the broker by no other",
    "WIRE-META-17": "shows only where brokers are started",
    "WIRE-TOPIC-1": A_RESTART,
    "WIRE-TOPIC-20": DELETION_OFF,
    "WIRE-TOPIC-21": DELETION_OFF,
    "WIRE-TOPIC-44": "that ids cannot be reckoned, no ids show",
    "WIRE-TOPIC-45": "one id in 64 of those that do not keep the rule shows that they do not",
    "WIRE-CONFIG-7": "shows only where brokers are started",
    "WIRE-CONFIG-8": "shows only where brokers are started",
    "WIRE-CLUSTER-5": "a broker that has coordinators names them",
    "WIRE-CLUSTER-7": "a broker that has transactions coordinates them",
    "GROUP-SYNC-8": FAULTY_LOG,
    "GROUP-STATE-5": "would need the clock of the broker's machine to be set",
    "GROUP-OFFSET-4": "a topic that is deleted takes its offsets along, so that none are left for another of its name",
    **{f"GROUP-RECORD-{number}": RECORDS for number in range(1, 15)},
    "GROUP-RECORD-5": FAULTY_LOG,
    "GROUP-RECORD-6": FAULTY_LOG,
    "GROUP-FIND-1": "one broker is judged, and leads every partition that it is asked about",
    "GROUP-FIND-3": BEFORE_GROUPS,
    "GROUP-FIND-4": BEFORE_GROUPS,
    "GROUP-FIND-5": "takes every group from those who use it",
    **{f"THREAD-LOCK-{number}": TURNS for number in range(1, 5)},
    **{f"THREAD-WAIT-{number}": TURNS for number in range(1, 8)},
    **{f"THREAD-COMMIT-{number}": TURNS for number in range(1, 5)},
    **{f"THREAD-{of}-{number}": TURNS for of in ("FILE", "INBOX", "CONN") for number in (1, 2)},
    **{f"THREAD-ROOM-{number}": TURNS for number in range(1, 4)},
}
