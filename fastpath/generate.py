"""Writes the codec: `python fastpath/generate.py LAYOUTS_DIR`, where the layouts are Kafka's message files (`*Request.json`, `*Response.json`).

And the tables of the conformance suite's codec. The output is kept with the source, the layouts are not.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fiducial.fastpath.codec_generator import layouts, objects, structs, tables

HERE = Path(__file__).parent
#: The APIs whose requests and responses are C structs: Produce, Fetch, ListOffsets.
HOT = {0, 1, 2}


def generated(folder: Path) -> dict[str, str]:
    """What each generated file holds, by its path from this folder."""
    every = layouts.messages(folder)
    hot = [message for message in every if message.api.key in HOT]
    return {
        "codec_objects.pyx": objects.source(every),
        "codec_structs.pxd": structs.contract(hot),
        "codec_structs.pyx": structs.source(hot),
        "../tests/conformance/layouts.py": tables.source(every),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Write the codec of the fast path.")
    parser.add_argument("layouts", type=Path, metavar="LAYOUTS_DIR", help="the folder with Kafka's message layouts")
    for name, text in generated(parser.parse_args().layouts).items():
        (HERE / name).write_text(text)
        print(f"{HERE / name}: {text.count(chr(10))} lines")


if __name__ == "__main__":
    main()
