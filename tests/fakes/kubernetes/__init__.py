"""A cluster as ``kubectl`` sees it, in files: no clock, no process of its own.

Each ``get`` of pods or workloads is one step: controllers act on what there is, the scheduler
places pods, each pod comes one state further. What a workload's pods do is told by
``scenario.json``:

``pods``: a list of rules, the first that matches wins. ``match`` is a part of an image, or the
name of a workload or container; ``behaviour`` is one of :data:`.behaviours.BEHAVIOURS`;
``looks``, ``logs``, ``exit`` and ``message`` are optional.
``addresses``: Service → ``[clusterIP, port]`` that ``get`` shows instead.
``fail``: verb → ``{"times": n, "after": n, "stderr": "…", "exit": n}``.
``api-down``: true, or the number of calls for which there is nobody to answer.
``exec``: a list of ``{"match": part of the command, "stdout", "stderr", "exit"}``.

It starts at each call of a test: only what needs no time to import is imported.
"""
