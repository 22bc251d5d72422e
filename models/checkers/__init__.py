"""What holds the models to their properties: one transition function, several engines.

`universe` says which small worlds there are; `explore` exhausts them, `walk` goes deep at random, `histories` lets Hypothesis shrink;
`relation` is the transition written once more, over integers, evaluated on every step that those take; `prove` shows by induction what
follows from it; `contracts` has the kernels confirmed by CrossHair. `main` runs them all and prints what was found, in numbers.
"""
