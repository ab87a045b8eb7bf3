"""``python -m glitchtrace``: the console command without an installed script."""

from glitchtrace.command import main

raise SystemExit(main())
