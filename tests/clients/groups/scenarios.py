"""What a group goes through, as data: who is there at first, and what then happens, step by step.

What happens in one step happens at once; before the next the group is given time to become stable. Which member it happens to is drawn when it
happens, by the scenario's seed, and told.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from random import Random

MEMBERS_MAX = 8


class Happening(Enum):
    """What can happen."""

    JOIN = "a member joins"
    LEAVE = "a member leaves"
    KILL = "a member is killed"
    PAUSE = "a member sleeps until the others have shared what it had, and wakes"
    RETURN = "a member is killed, and is back before it is missed"
    BROKER = "the broker is killed, and starts again"


JOIN, LEAVE, KILL, PAUSE, RETURN, BROKER = Happening


@dataclass(frozen=True)
class Scenario:
    """A group's story, to be."""

    name: str
    seed: int
    first: int
    steps: tuple[tuple[Happening, ...], ...]


#: Each thing by itself, as a reader would try it.
EACH_IN_TURN = Scenario("each in turn", 1, 1, ((JOIN,), (JOIN, JOIN), (LEAVE,), (PAUSE,), (BROKER,), (KILL,)))
#: As large as groups get here; and things that happen at once.
MANY_AT_ONCE = Scenario("many at once", 2, 3, ((JOIN,) * 5, (KILL, LEAVE), (JOIN, BROKER), (LEAVE, LEAVE, KILL)))
#: Nobody else is to notice when a static member comes back.
STATIC = Scenario("static", 3, 3, ((RETURN,), (JOIN,), (RETURN,), (BROKER,), (RETURN,)))
SCENARIOS = (EACH_IN_TURN, MANY_AT_ONCE, STATIC)


def drawn(seed: int, *, is_static: bool) -> Scenario:
    """Any story."""
    random = Random(seed)
    kinds = [RETURN, JOIN, BROKER] if is_static else [JOIN, JOIN, LEAVE, KILL, PAUSE, BROKER]
    first = count = random.randint(1, 4)
    steps = []
    for _ in range(random.randint(4, 8)):
        step: list[Happening] = []
        awake = count
        for happening in random.choices(kinds, k=1 if is_static else random.choice((1, 1, 2, 3))):
            leaves_somebody = happening not in (LEAVE, KILL, PAUSE) or awake > 1
            has_room = happening is not JOIN or awake + (PAUSE in step) < MEMBERS_MAX
            if leaves_somebody and has_room and (happening not in step or happening is JOIN):
                step.append(happening)
                awake += {JOIN: 1, LEAVE: -1, KILL: -1, PAUSE: -1}.get(happening, 0)
        count = awake + (PAUSE in step)
        steps.append(tuple(step))
    return Scenario(f"drawn {seed}", seed, first, tuple(step for step in steps if step))
