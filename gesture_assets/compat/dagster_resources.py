"""The resources of a Dagster run, put together once for all that ask for the same ones.

Why: for every output, and again for its type check, Dagster makes a class whose fields are the resources that may be
used there. A night has 380 outputs, nearly all of them those of checks, which use none: 770 classes, and what Python
has to do for each that comes and goes, are a tenth of a night with nothing changed. Versions: dagster 1.13, and every
one before it. Upstream: none is open. Goes: when Dagster keeps these classes.

Belongs here: the patch. Does not belong here: any resource (`defs/resource.py`).
"""

import functools
import sys
from collections.abc import Set
from typing import Any

MODULE = "dagster._core.definitions.scoped_resources_builder"


@functools.cache
def keep_resources() -> None:
    """Let Dagster hand out again what it has put together for the same names in the same run; nobody can change it.

    Nothing of Dagster's is imported: were it to change, a night would be slower and no more.
    """
    builder: Any = getattr(sys.modules.get(MODULE), "ScopedResourcesBuilder", None)
    if builder is None:
        return
    build = builder.build

    @functools.wraps(build)
    def kept_or_new(self: Any, required_resource_keys: Set[str] | None) -> Any:
        kept = vars(self).setdefault("kept", {})
        names = frozenset(required_resource_keys or ())
        if names not in kept:
            kept[names] = build(self, required_resource_keys)
        return kept[names]

    builder.build = kept_or_new
