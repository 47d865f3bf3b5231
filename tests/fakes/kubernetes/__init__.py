"""A cluster behind its API, in the tests' process.

Each list of pods or workloads is one step, and so are a few moments of watching them: controllers
act on what there is, the scheduler places pods, each pod comes one state further. What happens is
told by a scenario:

``pods``: a list of rules, the first that matches wins. ``match`` is a part of an image, or the
name of a workload or container; ``behaviour`` is one of :data:`.behaviours.BEHAVIOURS`;
``looks``, ``logs``, ``exit`` and ``message`` are optional; ``heals`` is the number of looks after
which an image can be pulled, ``grace`` how many a pod takes to end; ``needs`` is a workload without
which it crashes. A container that crashes again and again is in back-off until its pod is deleted,
or for ``back_off`` steps. Servers that pull an image get the ``message`` of ``image-pull``, the
first ``times`` only. A second of ``minReadySeconds`` is a look.
``logins``: registry → ``user:password`` without which nodes get none of its images.
``addresses``: Service → ``[clusterIP, port]`` that is answered instead.
``fail``: verb, or verb and kind as in ``get pods`` → ``{"times": n, "after": n}``: the connection
is dropped; with ``status``, ``reason`` and ``message`` it is refused.
``exec``: a list of ``{"match": part of the command, "stdout", "stderr", "exit"}``.
``cut-lines``: the number of lines after which who follows a container is cut off, once.
"""
