"""`python -m gesture_assets.cli` is the `gesture` command.

Belongs here: the call. Does not belong here: anything else.
"""

from gesture_assets.cli import main

main()
