"""`python -m fiducial`."""

from fiducial.cli import main

raise SystemExit(main())
